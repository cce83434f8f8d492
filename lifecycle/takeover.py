"""What becomes of an operation whose process is dead: cleaned up by whoever finds it, in the direction it had."""

from __future__ import annotations

from core.ending import Ending, ending_of_the_dead
from core.errors import PointsmanError, Transient, UnknownOutcome
from core.history import State
from core.next_move import Move, Policy, next_move
from core.record import EnvironmentRecord, LeaseRecord
from lifecycle.abort import abort_attempt
from lifecycle.finish_rollback import finish_rollback
from operation.operation import Operation
from operation.workspace import remove_workspace
from systems.log import run_logger
from systems.processes import same_host
from systems.terraform_lock import end_orphans

__all__ = ["take_over"]


def take_over(operation: Operation, *, even_parked: bool = False, successor: str | None = None) -> str | None:
    """Take over an abandoned lease (a parked one too, if so asked), clean up after its holder, and drop it.

    Returns what was done, or None where there was nothing to do any more. Weight moves only away from a release's
    candidate; going forward is Retry's. The dead run's attempt gets an operation of its own, under our lease.
    `successor` is the version for which a release that waits for its approval makes room.
    """
    policy = Policy(takes_over=True, takes_over_parked=even_parked)
    found: list[LeaseRecord] = []

    def still_abandoned(record: EnvironmentRecord) -> None:
        if record.lease is None:
            raise Transient("There is nothing left to clean up")
        if next_move(operation.lease.judge(record), policy) is not Move.TAKE_OVER:
            raise Transient("It is no longer abandoned")
        found[:] = [record.lease]

    try:
        operation.lease.take(None, still_abandoned, taking_over=True)
    except Transient:
        return None
    last = found[0]
    dead = last.takes_over or last
    if last is not dead and same_host(last.owner):
        # Those of whoever died over cleaning up; the run's own are ended with its lock, once traffic is home.
        end_orphans(last.owner.attempt, grace=operation.settings.timing.vacate)
    run_logger().warning(
        "Cleaning up after %s run %s, which died at %s", dead.owner.flow, dead.owner.flow_run_id, dead.step
    )
    theirs = operation.with_journal_of_its_own()
    result = _complete(theirs, dead) if operation.record.rollback else _abort(theirs, dead, successor)
    remove_workspace(dead.owner.attempt)
    # Not reached where it could not be cleaned up: then our lease expires, and the next look tries again.
    operation.lease.drop()
    return result


def _abort(theirs: Operation, dead: LeaseRecord, successor: str | None) -> str:
    history = theirs.records.version(dead.version) if dead.version else None
    attempt = history.attempt(dead.owner.attempt) if history else None
    if history is not None and attempt is not None:
        theirs.journal.take_up(history.version, history.commit, attempt)
    ending = ending_of_the_dead(dead, attempt, successor)
    aborted = abort_attempt(theirs, ending, dead)
    if not aborted.complete:
        raise UnknownOutcome(
            f"Could not clean up after {dead.version or dead.owner.flow}",
            why=aborted.traffic,
            do="This is retried; check AWS if it persists.",
        )
    subject = f"{dead.version} → {theirs.environment}" if dead.version else dead.owner.flow
    return f"{subject} ended {ending.state} at {ending.step}: {ending.reason}. Traffic: {aborted.traffic}"


def _complete(theirs: Operation, dead: LeaseRecord) -> str:
    """Complete a rollback whose process died: it is never undone, since it was a human's wish for safety."""
    intent = theirs.record.rollback
    if intent is None:
        raise UnknownOutcome("The rollback's intent is no longer in the record", do="This is retried.")
    colour = intent.leaving.colour.other
    theirs.state_locks.release_dead(dead.owner, colour.value, since=dead.acquired_at)
    try:
        return finish_rollback(theirs, intent, insists=True)
    except PointsmanError as error:
        # Its journal knows that this is a rollback and what of it was begun; that of whoever takes over does not.
        ending = Ending(State.FAILED, error.step or theirs.lease.step, str(error))
        if abort_attempt(theirs, ending, dead).complete:
            theirs.lease.drop()
        raise
