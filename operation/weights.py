"""The one door to live traffic: intent, last look, write, and the read that proves it.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyListener.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused, UnknownOutcome
from core.listener import ListenerView
from core.record import EnvironmentRecord, Infrastructure
from operation.foreign_hands import refuse_foreign_hands
from operation.lease import now
from operation.operation import Operation
from systems.aws import aws_errors
from systems.log import run_logger
from systems.polling import read_twice, write_until_seen

__all__ = ["move_weights", "refuse_weighted", "see_winner", "see_winner_if_recent"]

_ATTEMPTS = 5


def move_weights(
    operation: Operation, to: Weights, *, tolerate_unwritten_record: bool = False, answered: ListenerView | None = None
) -> None:
    """Give the production listener the weights `to` and read them back.

    The intent is written first, and a foreign hand freezes the environment instead. A lost answer leads to a read, and
    the same weights are written again if need be: setting them twice is setting them once. With
    `tolerate_unwritten_record`, which is for traffic that goes home, failing to write the record stops nothing.
    `answered` is a listener that is not ours and that a human decided about.
    """
    infrastructure = operation.infrastructure
    observed = answered or refuse_foreign_hands(operation, tolerate_unwritten_record=tolerate_unwritten_record)
    operation.lease.assert_held(tolerate_unwritten_record=tolerate_unwritten_record)
    if observed == ListenerView(to):
        _record(operation, tolerate_unwritten_record, lambda r: r.carrying(to))
        return
    _record(operation, tolerate_unwritten_record, lambda r: r.intending(to))
    # While HTTPS is being set up, port 80 forwards as well and must not lag behind.
    for listener in (infrastructure.http_forward_listener_arn, infrastructure.production_listener_arn):
        if listener:
            _write(operation, Change(listener, observed, to, tolerate_unwritten_record))
    run_logger().info("Production listener: %s (before: %s)", to, observed)
    _record(operation, tolerate_unwritten_record, lambda r: r.carrying(to, since=now()))


def _record(
    operation: Operation,
    tolerate_unwritten_record: bool,
    change: Callable[[EnvironmentRecord], EnvironmentRecord],
) -> None:
    try:
        operation.records.change_environment(change)
    except Refused:
        raise
    except PointsmanError:
        if not tolerate_unwritten_record:
            raise


@dataclass(frozen=True)
class Change:
    """Which listener, what it did before, its weights after, and whether they bring traffic home."""

    listener: str
    was: ListenerView
    to: Weights
    tolerate_unwritten_record: bool

    def action(self, infrastructure: Infrastructure) -> dict[str, object]:
        """Return the listener's default action."""
        groups = [{"TargetGroupArn": infrastructure.target_group_arns[c], "Weight": self.to.of(c)} for c in Colour]
        return {
            "Type": "forward",
            "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": False}},
        }


def _write(operation: Operation, change: Change) -> None:
    def write() -> None:
        with aws_errors(f"setting the production listener to {change.to}", writes=True):
            operation.aws("elbv2").modify_listener(
                ListenerArn=change.listener, DefaultActions=[change.action(operation.infrastructure)]
            )

    def look() -> Weights | None:
        found = operation.load_balancer.listener(change.listener, rules=False)
        if found == ListenerView(change.to):
            return change.to
        if found != change.was:
            refuse_foreign_hands(operation, tolerate_unwritten_record=change.tolerate_unwritten_record)
        return None

    def before_again(attempt: int) -> None:
        time.sleep(min(2.0, 0.2 * 2**attempt))
        operation.lease.assert_held(tolerate_unwritten_record=change.tolerate_unwritten_record)

    def unseen(failure: PointsmanError | None) -> PointsmanError:
        return UnknownOutcome(
            f"The production listener could not be set to {change.to}",
            why=str(failure or "it still reports other weights"),
            do="Check the listener; `reconcile` cleans up.",
        )

    write_until_seen(write, look, unseen=unseen, before_again=before_again, tries=_ATTEMPTS)


def refuse_weighted(operation: Operation, colour: Colour) -> None:
    """Raise `Refused` if a slot carries weight; where the record says otherwise than the listener, it is read again."""
    weights = read_twice(
        operation.load_balancer.weights,
        believed=lambda seen: seen == operation.record.weights,
        after=operation.settings.timing.consistency,
    )
    if weights.of(colour) > 0:
        raise Refused(
            f"The {colour} slot carries traffic",
            why=f"the listener has {weights}, and only a slot at weight 0 may be changed",
            do="Nothing was stopped. Let `reconcile` clean up, then try again.",
        )


# What lost its weight is stopped only after every node of the load balancer was seen to send its requests elsewhere: a
# change of a listener takes some seconds to reach all of them, and a group without targets answers 503.
# https://github.com/argoproj/argo-rollouts/issues/4595


def see_winner_if_recent(operation: Operation, winner: Colour) -> None:
    """See the winner answer if the listener was written so short a time ago that not every node may know."""
    since = operation.record.weights_since
    if since is not None and (now() - since).total_seconds() < operation.settings.timing.weights_settle:
        see_winner(operation, winner)


def see_winner(operation: Operation, winner: Colour) -> None:
    """Wait until each address of the production listener answered from `winner` alone for a while.

    Raises `Permanent` if one goes on answering wrongly: then nothing may be stopped. Where nothing is known to be live
    in `winner`, or a human adopted it, there is no release to recognise, and only the time is waited for.
    """
    live = operation.record.live
    if live is None or live.adopted or live.colour is not winner:
        operation.prober.wait_for_weights()
    else:
        operation.prober.see_settled(operation.deployed_as(live.release, winner, live.definition))
