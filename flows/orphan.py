"""What becomes of an operation whose process is gone: settled by whoever finds it, in the direction it had."""

from __future__ import annotations

from prefect.logging import get_run_logger

from core.errors import Transient, UnknownOutcome
from core.hold import HoldVerdict
from core.record import Attempt, EnvironmentRecord, Hold, State
from core.version import Version
from flows.completion import complete_rollback
from flows.settlement import Ending, settle_attempt
from systems.processes import same_host
from tasks.operation import Operation, remove_scratch
from tasks.terraform_lock import end_orphans, release_dead_lock

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
        verdict = operation.judge(record)
        wanted = (
            (HoldVerdict.ABANDONED, HoldVerdict.PARKED) if superseded_by or even_parked else (HoldVerdict.ABANDONED,)
        )
        if verdict not in wanted:
            raise Transient("It is not abandoned any more")
        taken[:] = [hold]

    try:
        record = operation.take_hold(None, still_abandoned, settling=True)
    except Transient:
        return None
    last = taken[0]
    hold = last.settles or last
    if last is not hold and same_host(last.owner):
        # Those of whoever died over settling it; the run's own are ended with its lock, once traffic is home.
        end_orphans(last.owner.attempt, grace=operation.settings.timing.vacate)
    logger = get_run_logger()
    logger.warning("Settling what %s of run %s left at %s", hold.owner.flow, hold.owner.flow_run_id, hold.stage)
    done = _complete(operation, record, hold) if record.rollback else _settle(operation, record, hold, superseded_by)
    remove_scratch(hold.owner.attempt)
    # Not reached where it could not be settled: then our hold runs out, and the next look tries again.
    operation.free()
    operation.forget()
    return done


def _settle(operation: Operation, record: EnvironmentRecord, hold: Hold, superseded_by: Version | None) -> str:
    history = operation.store.version(hold.version) if hold.version else None
    attempt = history.attempt(hold.owner.attempt) if history else None
    if history is not None and attempt is not None:
        operation.version, operation.commit = history.version, history.commit
    if record.live is None:
        operation.weights_at_start = record.weights_before
    ending = _ending(hold, _stage(hold, attempt), superseded_by)
    settled = settle_attempt(operation, attempt, ending, hold)
    if not settled.complete:
        raise UnknownOutcome(
            f"What {hold.version or hold.owner.flow} left could not be settled",
            why=settled.traffic,
            do="It is tried again; look at AWS if it stays so.",
        )
    subject = f"{hold.version} → {operation.environment}" if hold.version else hold.owner.flow
    return f"{subject} ended {ending.state} at {ending.step}: {ending.reason}. Traffic: {settled.traffic}"


def _stage(hold: Hold, attempt: Attempt | None) -> str:
    """Return the step that never ended; the hold only knows the steps that write."""
    open_steps = [step.name for step in attempt.steps if step.outcome is None] if attempt else []
    return open_steps[-1] if open_steps else hold.stage


def _ending(hold: Hold, stage: str, superseded_by: Version | None) -> Ending:
    if superseded_by is not None:
        return Ending(State.SUPERSEDED, stage, f"{superseded_by} took its place while it waited for approval")
    if hold.parked_until is not None:
        return Ending(State.ABORTED, stage, "nobody approved it in time, or its run was ended")
    if hold.stop is not None:
        return Ending(State.ABORTED, stage, f"{hold.stop.by} asked it to stop: {hold.stop.reason}")
    return Ending(State.FAILED, stage, "its process died")


def _complete(operation: Operation, record: EnvironmentRecord, hold: Hold) -> str:
    """Complete a rollback whose process died: it is never undone, since it was a human's wish for safety."""
    assert record.rollback is not None
    colour = record.rollback.leaving.colour.other
    release_dead_lock(operation, hold.owner, colour.value, since=hold.acquired_at)
    return complete_rollback(operation, record.rollback, insists=True)
