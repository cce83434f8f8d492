"""The one module that changes live traffic: intent, last look, write, and the read that proves it.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyListener.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused, Transient, UnknownOutcome
from core.listener import ListenerView
from core.record import EnvironmentRecord, Infrastructure
from systems.aws import aws_errors
from systems.load_balancer import TargetHealth, read_listener, read_target_health, read_weights
from tasks.foreign import refuse_foreign_hands
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["TargetHealth", "move_weights", "read_target_health", "read_weights"]

_ATTEMPTS = 5


def move_weights(
    operation: Operation, to: Weights, *, homeward: bool = False, answered: ListenerView | None = None
) -> None:
    """Give the production listener the weights `to` and read them back.

    The intent is written first, and a foreign hand freezes the environment instead. A lost answer leads to a read, and
    the same weights are written again if need be: setting them twice is setting them once. With `homeward`, failing to
    write the record stops nothing. `answered` is a listener that is not ours and that a human decided about.
    """
    logger = get_run_logger()
    infrastructure = operation.infrastructure
    observed = answered or refuse_foreign_hands(operation, homeward=homeward)
    operation.last_look(homeward=homeward)
    if observed != ListenerView(to):
        _record(operation, homeward, lambda r: r.intending(to))
        _write(operation, infrastructure, Change(observed, to, homeward))
        logger.info("The production listener carries %s (it carried %s)", to, observed)
        _record(operation, homeward, lambda r: r.carrying(to, since=now()))
        return
    _record(operation, homeward, lambda r: r.carrying(to))


def _record(operation: Operation, homeward: bool, change: Callable[[EnvironmentRecord], EnvironmentRecord]) -> None:
    try:
        operation.last_seen = operation.store.change_environment(change)
    except Refused:
        raise
    except PointsmanError:
        if not homeward:
            raise


def _write(operation: Operation, infrastructure: Infrastructure, change: Change) -> None:
    # While HTTPS is being set up, port 80 forwards as well and must not lag behind.
    for listener in (infrastructure.http_forward_listener_arn, infrastructure.production_listener_arn):
        if listener:
            _write_listener(operation, infrastructure, listener, change)


@dataclass(frozen=True)
class Change:
    """The listener before, its weights after, and whether they bring traffic home."""

    was: ListenerView
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
            found = read_listener(operation.aws, infrastructure, listener, rules=False)
        except Transient as error:
            failure = error
            continue
        if found == ListenerView(change.to):
            return
        if found not in (change.was, ListenerView(change.to)):
            refuse_foreign_hands(operation, homeward=change.homeward)
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
