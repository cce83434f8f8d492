"""What the load balancer says: the listener's weights, its rules, and the health of each colour's targets.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeListeners.html
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from core.colour import Colour, Weights
from core.errors import Permanent
from core.listener import ListenerView, judge_listener
from core.record import Infrastructure
from systems.aws import AwsClients, aws_errors

__all__ = ["TargetHealth", "read_listener", "read_target_health", "read_weights"]


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


def read_target_health(aws: AwsClients, infrastructure: Infrastructure, colour: Colour) -> TargetHealth:
    """Return the health of a colour's targets."""
    with aws_errors(f"reading the {colour} targets' health"):
        found = aws("elbv2").describe_target_health(TargetGroupArn=infrastructure.target_group_arns[colour])
    states: Counter[str] = Counter()
    reasons = []
    for target in found["TargetHealthDescriptions"]:
        health = target["TargetHealth"]
        states[health["State"]] += 1
        if health["State"] != "healthy" and health.get("Reason"):
            reasons.append(f"{target['Target']['Id']}: {health['Reason']} {health.get('Description', '')}".strip())
    return TargetHealth(states, tuple(reasons))


def read_listener(
    aws: AwsClients, infrastructure: Infrastructure, listener: str | None = None, *, rules: bool = True
) -> ListenerView:
    """Return what the production listener (or the one named) does now; its rules are left out if so asked."""
    arn = listener or infrastructure.production_listener_arn
    with aws_errors("reading the production listener"):
        found = aws("elbv2").describe_listeners(ListenerArns=[arn])["Listeners"]
    if not found:
        raise Permanent("The production listener was not found", why=arn, do="Run `provision` to repair it.")
    listed = []
    if rules:
        with aws_errors("reading the production listener's rules"):
            for page in aws("elbv2").get_paginator("describe_rules").paginate(ListenerArn=arn):
                listed += page["Rules"]
    return judge_listener(found[0]["DefaultActions"], listed, infrastructure.target_group_arns)


def read_weights(aws: AwsClients, infrastructure: Infrastructure, listener: str | None = None) -> Weights:
    """Return the weights that the production listener (or the one named) has now."""
    return read_listener(aws, infrastructure, listener, rules=False).weights
