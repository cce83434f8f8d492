"""The steps by which an attempt that failed ends: traffic home, tasks stopped, the record closed.

Each waits for no record that cannot be written: traffic comes first.
"""

from __future__ import annotations

import time
from datetime import datetime

from core.colour import Colour, Weights
from core.ending import Ending, failure_line
from core.errors import Permanent, PointsmanError
from core.history import Attempt
from core.record import LeaseRecord
from core.words import counted
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from operation.weights import move_weights, see_winner
from systems.log import run_logger
from tasks.candidate import start_live

__all__ = ["close_healthy", "close_record", "release_state_lock", "return_home", "stop_candidate", "stop_one_offs"]


@step("traffic back", "give all traffic back to what is live", writes=False, goes_home=True)
def return_home(operation: Operation) -> Done[None]:
    """Give traffic back before anything is diagnosed, after one look at whether the live colour can serve."""
    record = operation.record
    if record.infrastructure is None:
        return skipped("there is no load balancer yet")
    if record.destroying is not None:
        return skipped("it is being destroyed")
    home = Weights.all_on(record.live.colour) if record.live else record.weights_before
    if home is None:
        return skipped("nothing was live, and traffic was not moved")
    if _is_home(operation, home):
        # Nothing to move; but an intent that was written must not stay open.
        if record.weights_intent is not None:
            operation.records.change_environment(lambda r: r.carrying(home))
        return skipped(f"the listener has {home}")
    if record.live is not None:
        _ensure_serving(operation, record.live.colour)
    move_weights(operation, home, tolerate_unwritten_record=True)
    return done(f"the listener has {home}")


def _is_home(operation: Operation, home: Weights) -> bool:
    """Whether traffic is home; where we were about to write something else, one read that may lag is not enough."""
    if operation.load_balancer.weights() != home:
        return False
    if operation.record.weights_intent is None and operation.record.weights in (None, home):
        return True
    time.sleep(operation.settings.timing.consistency)
    return operation.load_balancer.weights() == home


def _ensure_serving(operation: Operation, colour: Colour) -> None:
    """Start the live colour if it has no healthy target, and keep the weights until it has one."""
    live = operation.record.live
    if live is None or operation.load_balancer.health(operation.slot(colour).service).healthy > 0:
        return
    run_logger().warning("The live %s slot has no healthy target: starting it before traffic returns", colour)
    try:
        start_live(operation, live)
    except Permanent as error:
        raise Permanent(
            f"The live {colour} slot cannot serve, so traffic was left where it is",
            why=str(error),
            do="Human intervention is needed now: neither colour is known to be healthy.",
        ) from error


@step("state lock", "release the state lock of {state} that a dead run left behind", writes=False, goes_home=True)
def release_state_lock(operation: Operation, state: str, dead: LeaseRecord, since: datetime) -> Done[None]:
    """End what is left of a dead run's Terraform, and release its lock on a state."""
    operation.state_locks.release_dead(dead.owner, state, since=since)
    return done(f"{state} is not locked by {dead.owner.attempt}")


@step("stop tasks", "stop the one-off tasks of {started_by}", writes=False, goes_home=True)
def stop_one_offs(operation: Operation, started_by: str) -> Done[None]:
    """Stop what an attempt, or an operator's command, started and did not see end."""
    stopped = operation.one_offs.stop(started_by, [operation.slot(colour).migration for colour in Colour])
    return done(f"{counted(stopped, 'task')} stopped")


@step("stop candidate", "stop the candidate in {colour}", writes=False, goes_home=True)
def stop_candidate(operation: Operation, colour: Colour, shifted: bool) -> Done[None]:
    """Stop what a failed release left, once it is seen to get no request any more if it ever had weight."""
    record = operation.record
    if record.live is not None and record.live.colour is colour:
        return skipped(f"{colour} is live")
    if operation.load_balancer.weights().of(colour) > 0:
        return skipped(f"{colour} carries traffic")
    if shifted:
        see_winner(operation, colour.other)
    stopped = [operation.ecs.scale_to_zero(service) or 0 for service in operation.slot(colour).services]
    return done(f"{counted(sum(stopped), 'task')} stopped")


@step("close record", "record that {attempt.id} became healthy", writes=False, goes_home=True)
def close_healthy(operation: Operation, attempt: Attempt) -> Done[None]:
    """Write the end of an attempt that is live by the environment's record."""
    operation.journal.change(lambda a: a.became_healthy(now()))
    return done(f"{attempt.release} is HEALTHY")


@step("close record", "record how the run ended", writes=False, goes_home=True)
def close_record(operation: Operation, ending: Ending, remains: str) -> Done[None]:
    """Write why the attempt ended and what is left; a rollback's intent goes, unless its target is live already."""
    entry = operation.journal.entry
    if entry is None or operation.journal.is_rollback:
        if operation.record.went_back:
            raise Permanent("The rollback is not fully recorded yet", do="`reconcile` completes it.")
        operation.records.change_environment(lambda r: r.without_rollback())
        return done("the rollback's intent is closed")
    operation.journal.change(lambda a: a.failed(ending.state, ending.failure(remains), now()))
    line = failure_line(entry.version, ending)
    try:
        operation.records.change_environment(lambda r: r.with_failure(entry.version, line))
    except PointsmanError as error:
        run_logger().warning("`status` will not show the failure: %s", error)
    return done(line)
