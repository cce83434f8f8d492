"""The load balancer: the one module that changes live traffic, and the reads that prove it may and did.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyListener.html
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused, Transient, UnknownOutcome
from core.record import EnvironmentRecord, Frozen, Infrastructure
from systems.aws import AwsClients, aws_errors
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["TargetHealth", "move_weights", "read_target_health", "read_weights", "refuse_foreign_weights"]

_ATTEMPTS = 5


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


def read_weights(aws: AwsClients, infrastructure: Infrastructure, listener: str | None = None) -> Weights:
    """Return the weights that the production listener (or the one named) has now."""
    arn = listener or infrastructure.production_listener_arn
    with aws_errors("reading the production listener"):
        found = aws("elbv2").describe_listeners(ListenerArns=[arn])["Listeners"]
    actions = found[0]["DefaultActions"] if found else []
    forward = next((a for a in actions if a["Type"] == "forward"), None)
    if forward is None:
        raise Permanent(
            "The production listener does not forward",
            why=f"{arn} has no forward action",
            do="Run `provision` to mend it.",
        )
    groups = forward.get("ForwardConfig", {}).get("TargetGroups") or [
        {"TargetGroupArn": forward["TargetGroupArn"], "Weight": 100}
    ]
    weight = {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
    return Weights(**{c.value: weight.get(infrastructure.target_group_arns[c], 0) for c in Colour})


def refuse_foreign_weights(operation: Operation, record: EnvironmentRecord, observed: Weights) -> None:
    """Freeze the environment and raise `Refused` if `observed` are weights that we did not write."""
    if record.frozen is None and record.ours(observed):
        return
    frozen = Frozen(
        reason=f"the production listener carries {observed}, which Pointsman did not write (it wrote {record.weights})",
        observed=observed,
        expected=record.weights,
        at=now(),
    )
    # Judged on the newest record again: who wrote these weights said so there first.
    newest = operation.store.change_environment(
        lambda r: r if r.frozen or r.ours(observed) else r.model_copy(update={"frozen": frozen})
    )
    if newest.frozen is None:
        return
    raise Refused(
        f"{operation.environment} is frozen",
        why=newest.frozen.reason,
        do=f"Decide with `python -m flows thaw {operation.environment} --keep blue|green`.",
    )


def move_weights(operation: Operation, to: Weights, *, homeward: bool = False) -> None:
    """Give the production listener the weights `to` and read them back.

    The intent is written first, and weights that somebody else wrote freeze the environment instead. A lost answer
    leads to a read, and the same weights are written again if need be: setting them twice is setting them once.
    With `homeward`, failing to write the record stops nothing.
    """
    logger = get_run_logger()
    infrastructure = operation.infrastructure
    observed = read_weights(operation.aws, infrastructure)
    record = operation.last_look(homeward=homeward)
    refuse_foreign_weights(operation, record, observed)
    if observed != to:
        _record(operation, homeward, weights_intent=to)
        _write(operation, infrastructure, to, was=observed, homeward=homeward)
        logger.info("The production listener carries %s (it carried %s)", to, observed)
    _record(operation, homeward, weights=to, weights_intent=None)


def _record(operation: Operation, homeward: bool, **facts: Weights | None) -> None:
    try:
        operation.last_seen = operation.store.change_environment(lambda r: r.model_copy(update=facts))
    except Refused:
        raise
    except PointsmanError:
        if not homeward:
            raise


def _write(operation: Operation, infrastructure: Infrastructure, to: Weights, *, was: Weights, homeward: bool) -> None:
    # While HTTPS is being set up, port 80 forwards as well and must not lag behind.
    for listener in (infrastructure.http_forward_listener_arn, infrastructure.production_listener_arn):
        if listener:
            _write_listener(operation, infrastructure, listener, Change(was, to, homeward))


@dataclass(frozen=True)
class Change:
    """Weights before and after, and whether they bring traffic home."""

    was: Weights
    to: Weights
    homeward: bool


def _write_listener(operation: Operation, infrastructure: Infrastructure, listener: str, change: Change) -> None:
    failure: PointsmanError | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(min(2.0, 0.2 * 2**attempt))
            operation.last_look(homeward=change.homeward)
        try:
            with aws_errors(f"setting the production listener to {change.to}", writes=True):
                operation.aws("elbv2").modify_listener(
                    ListenerArn=listener, DefaultActions=[_forward(infrastructure, change.to)]
                )
        except (Transient, UnknownOutcome) as error:
            failure = error
        try:
            found = read_weights(operation.aws, infrastructure, listener)
        except Transient as error:
            failure = error
            continue
        if found == change.to:
            return
        if found != change.was:
            refuse_foreign_weights(operation, operation.last_seen, found)
    raise UnknownOutcome(
        f"The production listener could not be set to {change.to}",
        why=str(failure or "it reads back other weights"),
        do="Look at the listener; `reconcile` settles the environment.",
    ) from failure


def _forward(infrastructure: Infrastructure, to: Weights) -> dict[str, object]:
    groups = [{"TargetGroupArn": infrastructure.target_group_arns[c], "Weight": to.of(c)} for c in Colour]
    return {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": False}},
    }
