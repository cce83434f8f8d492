"""What becomes of an operation whose process is gone: settled by whoever finds it, in the direction it had."""

from __future__ import annotations

from prefect.logging import get_run_logger

from core.colour import Weights
from core.errors import Transient
from core.hold import HoldVerdict, judge_hold
from core.record import Attempt, EnvironmentRecord, Hold, State, VersionRecord
from core.version import Version
from flows.settlement import Ending, settle_attempt
from tasks.operation import Operation, now
from tasks.process import process_is_dead
from tasks.terraform_lock import release_dead_lock

__all__ = ["settle_orphan"]


def settle_orphan(
    operation: Operation, *, superseded_by: Version | None = None, even_parked: bool = False
) -> str | None:
    """Take over an abandoned hold (a parked one too, for a newer version or if so asked), settle it, and free it.

    Returns what was done, or None where there was nothing to do any more. Weight moves only away from a release's
    candidate; going forward is Retry's.
    """
    taken: list[Hold] = []

    def still_abandoned(record: EnvironmentRecord) -> None:
        hold = record.hold
        if hold is None:
            raise Transient("There is nothing to settle any more")
        verdict = judge_hold(record, operation.owner, now(), owner_dead=process_is_dead(hold.owner))
        wanted = (
            (HoldVerdict.ABANDONED, HoldVerdict.PARKED) if superseded_by or even_parked else (HoldVerdict.ABANDONED,)
        )
        if verdict not in wanted:
            raise Transient("It is not abandoned any more")
        taken[:] = [hold]

    try:
        record = operation.take_hold(None, still_abandoned)
    except Transient:
        return None
    hold = taken[0]
    logger = get_run_logger()
    logger.warning("Settling what %s of run %s left at %s", hold.owner.flow, hold.owner.flow_run_id, hold.stage)
    try:
        return _settle(operation, record, hold, superseded_by)
    finally:
        operation.version, operation.commit = None, ""
        operation.free()


def _settle(operation: Operation, record: EnvironmentRecord, hold: Hold, superseded_by: Version | None) -> str:
    if hold.owner.flow == "rollback":
        return _complete(operation, record, hold)
    history = operation.store.version(hold.version) if hold.version else None
    attempt = history.attempt(hold.owner.attempt) if history else None
    if hold.version is None or history is None or attempt is None:
        traffic = settle_attempt(operation, None, Ending(State.ABORTED, hold.stage, "its process died"), hold.owner)
        return f"{hold.owner.flow} died at {hold.stage}. Traffic: {traffic}"
    operation.version, operation.commit = hold.version, history.commit
    if _went_live(record, history, attempt.id):
        operation.store.change_version(
            hold.version,
            history.commit,
            lambda r: r.with_attempt(_finished(r, attempt.id)),
        )
        return f"{hold.version} was live already; its record was completed."
    if superseded_by is not None:
        ending = Ending(State.SUPERSEDED, hold.stage, f"{superseded_by} took its place while it waited for approval")
    elif hold.stop is not None:
        ending = Ending(State.ABORTED, hold.stage, f"{hold.stop.by} asked it to stop: {hold.stop.reason}")
    else:
        ending = Ending(State.FAILED, hold.stage, "its process died")
    if attempt.state in (State.SHIFTING, State.BAKING) and ending.state is State.SUPERSEDED:
        ending = Ending(State.ABORTED, ending.step, ending.reason)
    operation.weights_at_start = None if record.live else _weights_before(record)
    traffic = settle_attempt(operation, attempt, ending, hold.owner)
    ended = f"{hold.version} → {operation.environment} ended {ending.state} at {hold.stage}"
    return f"{ended}: {ending.reason}. Traffic: {traffic}"


def _complete(operation: Operation, record: EnvironmentRecord, hold: Hold) -> str:
    """Complete a rollback whose process died: it is never undone, since it was a human's wish for safety."""
    from flows.rollback import complete_rollback

    if record.rollback is None:
        return "A rollback died before it changed anything."
    colour = record.rollback.leaving.colour.other
    release_dead_lock(operation, hold.owner, colour, since=hold.acquired_at)
    return complete_rollback(operation, record.rollback)


def _weights_before(record: EnvironmentRecord) -> Weights | None:
    return record.weights


def _went_live(record: EnvironmentRecord, history: VersionRecord, attempt_id: str) -> bool:
    attempt = history.attempt(attempt_id)
    return bool(
        attempt
        and attempt.release
        and record.live
        and record.live.release.revision == attempt.release.revision
        and record.live.colour is attempt.colour
        and attempt.state is State.BAKING
    )


def _finished(record: VersionRecord, attempt_id: str) -> Attempt:
    attempt = record.attempt(attempt_id)
    assert attempt is not None
    if attempt.state is State.HEALTHY:
        return attempt
    return attempt.moved(State.HEALTHY).model_copy(update={"ended_at": now()})
