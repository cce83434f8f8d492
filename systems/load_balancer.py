"""What the load balancer says: the listener's weights, its rules, and the health of each colour's targets.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeListeners.html
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from core.colour import Weights
from core.errors import Permanent, PointsmanError, UnknownOutcome
from core.health_check import HealthCheck
from core.listener import ListenerView, SeenListener, describe_rules, judge_listener
from core.record import Infrastructure
from core.serving import Target
from core.slot import Service
from systems.aws import AwsClients, aws_errors, has_code
from systems.polling import write_until_seen

__all__ = ["LoadBalancer", "TargetHealth", "find_load_balancer", "lift_deletion_protection"]

_PROTECTION = "deletion_protection.enabled"


@dataclass(frozen=True)
class TargetHealth:
    """The targets of one target group, counted by state, with the reasons of those that are not healthy."""

    states: Counter[str]
    reasons: tuple[str, ...]

    @property
    def healthy(self) -> int:
        """How many are healthy."""
        return self.states["healthy"]

    def __str__(self) -> str:
        counted = ", ".join(f"{n} {state}" for state, n in sorted(self.states.items())) or "no targets"
        return counted + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def find_load_balancer(elbv2: Any, name: str) -> str | None:
    """Return the ARN of the load balancer of that name, or None where there is none."""
    try:
        with aws_errors(f"looking for the load balancer {name}"):
            found = elbv2.describe_load_balancers(Names=[name])["LoadBalancers"]
    except Permanent as error:
        if has_code(error, "LoadBalancerNotFound"):
            return None
        raise
    return next((str(balancer["LoadBalancerArn"]) for balancer in found), None)


def lift_deletion_protection(elbv2: Any, balancer: str) -> bool:
    """Let a load balancer be deleted, and see it written; return whether it was protected.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#deletion-protection
    """
    if not _is_protected(elbv2, balancer):
        return False
    attribute = {"Key": _PROTECTION, "Value": "false"}
    with aws_errors("lifting the load balancer's deletion protection", writes=True):
        elbv2.modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=[attribute])
    if _is_protected(elbv2, balancer):
        raise UnknownOutcome("The load balancer is still protected from deletion", do="Run `destroy` again.")
    return True


def _is_protected(elbv2: Any, balancer: str) -> bool:
    with aws_errors("reading the load balancer's attributes"):
        found = elbv2.describe_load_balancer_attributes(LoadBalancerArn=balancer)["Attributes"]
    return any(attribute["Key"] == _PROTECTION and attribute["Value"] == "true" for attribute in found)


class LoadBalancer:
    """One environment's load balancer, to read."""

    def __init__(self, aws: AwsClients, infrastructure: Infrastructure) -> None:
        self._elbv2, self._infrastructure = aws("elbv2"), infrastructure

    def health(self, service: Service) -> TargetHealth:
        """Return the health of a service's targets."""
        with aws_errors(f"reading the {service.colour} targets' health"):
            found = self._elbv2.describe_target_health(TargetGroupArn=service.target_group)
        states: Counter[str] = Counter()
        reasons = []
        for target in found["TargetHealthDescriptions"]:
            health = target["TargetHealth"]
            states[health["State"]] += 1
            if health["State"] != "healthy" and health.get("Reason"):
                reasons.append(f"{target['Target']['Id']}: {health['Reason']} {health.get('Description', '')}".strip())
        return TargetHealth(states, tuple(reasons))

    def targets(self, service: Service) -> tuple[Target, ...]:
        """Return a service's targets, each with its address and state."""
        with aws_errors(f"reading the {service.colour} targets"):
            found = self._elbv2.describe_target_health(TargetGroupArn=service.target_group)
        return tuple(
            Target(str(described["Target"]["Id"]), str(described["TargetHealth"]["State"]))
            for described in found["TargetHealthDescriptions"]
        )

    def listener(self, arn: str | None = None, *, rules: bool = True) -> ListenerView:
        """Return what the production listener (or the one named) does now; its rules are left out if so asked."""
        arn = arn or self._infrastructure.production_listener_arn
        with aws_errors("reading the production listener"):
            found = self._elbv2.describe_listeners(ListenerArns=[arn])["Listeners"]
        if not found:
            raise Permanent("The production listener was not found", why=arn, do="Run `provision` to repair it.")
        listed = self._rules(arn) if rules else []
        return judge_listener(found[0]["DefaultActions"], listed, self._infrastructure.target_group_arns)

    def _rules(self, arn: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        with aws_errors("reading the production listener's rules"):
            for page in self._elbv2.get_paginator("describe_rules").paginate(ListenerArn=arn):
                listed += page["Rules"]
        return listed

    def listeners(self) -> list[SeenListener]:
        """Return every listener of the load balancer, with the rules that each has beside its default action."""
        with aws_errors("reading the load balancer's listeners"):
            [ours] = self._elbv2.describe_listeners(ListenerArns=[self._infrastructure.production_listener_arn])[
                "Listeners"
            ]
            pages = self._elbv2.get_paginator("describe_listeners").paginate(LoadBalancerArn=ours["LoadBalancerArn"])
            found = [listener for page in pages for listener in page["Listeners"]]
        return [
            SeenListener(one["ListenerArn"], one["Port"], tuple(describe_rules(self._rules(one["ListenerArn"]))))
            for one in found
        ]

    def weights(self) -> Weights:
        """Return the weights that the production listener has now."""
        return self.listener(rules=False).weights

    def health_check(self, service: Service) -> HealthCheck:
        """Return what a service's targets are asked."""
        with aws_errors(f"reading the health check of {service.colour}"):
            found = self._elbv2.describe_target_groups(TargetGroupArns=[service.target_group])
        group = found["TargetGroups"][0]
        return HealthCheck(str(group["HealthCheckPath"]), str(group["Matcher"]["HttpCode"]))

    def set_health_check(self, service: Service, check: HealthCheck) -> None:
        """Have a service's targets asked otherwise, and see it written whatever became of the answer.

        Raises `UnknownOutcome` where AWS does not show it. The caller has seen that nobody uses the slot.
        """

        def write() -> None:
            with aws_errors(f"setting the health check of {service.colour}", writes=True):
                self._elbv2.modify_target_group(
                    TargetGroupArn=service.target_group,
                    HealthCheckPath=check.path,
                    Matcher={"HttpCode": check.matcher},
                )

        def unseen(failure: PointsmanError | None) -> PointsmanError:
            return UnknownOutcome(
                f"The {service.colour} targets are checked at {self.health_check(service)}, not at {check}",
                why=str(failure or "AWS accepted the change but does not show it"),
                do="Press Retry.",
            )

        write_until_seen(
            write,
            lambda: check if self.health_check(service) == check else None,
            unseen=unseen,
            before_again=lambda _: None,
            tries=1,
        )
