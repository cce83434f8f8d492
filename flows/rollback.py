"""`rollback`: traffic back on the last healthy version. Warm, only weights move; cold, its release is started again."""

from __future__ import annotations

import time

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed

from core import hold as holding
from core.colour import Weights
from core.errors import Refused, Transient
from core.hold import HoldVerdict
from core.record import EnvironmentRecord, Hold, Live, RollbackIntent, State
from core.rollback import choose_target, may_interrupt
from core.warm import Warmth
from flows.boundary import Outcome, conduct
from flows.completion import complete_rollback, warmth_of
from flows.orphan import settle_orphan
from systems.ecr import image_exists
from tasks.foreign import refuse_foreign_hands
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["rollback"]

_OURS_TO_TAKE = (HoldVerdict.FREE, HoldVerdict.OURS, HoldVerdict.RESUMED)


@flow(name="rollback", flow_run_name="rollback {environment}")
def rollback(environment: str, to_version: str | None = None, abort_in_flight: bool | None = None) -> Outcome:
    """Return traffic to the last healthy version.

    Warm, where that version still runs: only the load balancer's weights move. Cold: its recorded image and
    configuration are started in the other slot, smoke-tested, and get the traffic. The database is never migrated
    down.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
        to_version: A version that was healthy here before; the last one if left out.
        abort_in_flight: Ask a release that is in flight to stop, and wait for it. Left out, that is done while it
            shifts or bakes, and refused before.
    """
    return conduct("rollback", environment, lambda op: roll_back(op, to_version, abort_in_flight))


def roll_back(operation: Operation, to_version: str | None, abort_in_flight: bool | None) -> str | Outcome:
    """Choose the target, hold the environment, and take traffic there; return the sentence of the good end."""
    stopped = _take_hold(operation, to_version, abort_in_flight)
    if stopped is not None:
        return stopped
    intent = _state_intent(operation, choose_target(operation.last_seen, to_version), named=to_version is not None)
    said = complete_rollback(operation, intent)
    operation.free()
    return said


def _take_hold(operation: Operation, to_version: str | None, abort_in_flight: bool | None) -> Outcome | None:
    timing = operation.settings.timing
    interrupted: str | None = None
    deadline = time.monotonic() + timing.hold_expiry + timing.vacate
    while True:
        record = operation.store.environment()
        hold = record.hold
        verdict = operation.judge(record)
        if verdict in _OURS_TO_TAKE:
            if interrupted and to_version is None and _was_stopped(operation, interrupted):
                return _nothing_left_to_do(operation, interrupted, record)
            try:
                operation.take_hold(to_version, lambda r: _refuse_taken(operation, r, to_version))
            except Transient:
                continue
            return None
        assert hold is not None
        if verdict in (HoldVerdict.ABANDONED, HoldVerdict.PARKED):
            settle_orphan(operation, even_parked=True)
        elif time.monotonic() > deadline:
            raise Refused(
                f"{hold.version or hold.owner.flow} did not stop",
                why=f"it still holds {operation.environment}, at {hold.stage}",
                do="`reconcile` settles it once its heartbeat ends; then roll back again.",
            )
        elif interrupted is None and hold.settles is None:
            if to_version is not None:
                choose_target(record, to_version)  # nobody is interrupted for a rollback that would be refused
            interrupted = _interrupt(operation, hold, abort_in_flight)
        else:
            time.sleep(timing.poll)


def _interrupt(operation: Operation, hold: Hold, abort_in_flight: bool | None) -> str | None:
    """Ask the holder to stop if that may be asked of it; return its version."""
    history = operation.store.version(hold.version) if hold.version else None
    may_interrupt(operation.environment, hold, history.state if history else None, abort_in_flight)
    get_run_logger().info("Asking %s to stop", hold.version)
    operation.store.change_environment(
        lambda r: holding.ask_to_stop(r, f"rollback run {operation.owner.flow_run_id}", "a rollback", now())
    )
    return hold.version


def _was_stopped(operation: Operation, version: str) -> bool:
    history = operation.store.version(version)
    return history is not None and history.state in (State.ABORTED, State.FAILED)


def _nothing_left_to_do(operation: Operation, interrupted: str, record: EnvironmentRecord) -> Outcome:
    """The last healthy version is the live one: it kept its traffic, or got it back, when the release stopped."""
    name = record.live.release.version if record.live else "nothing"
    return Completed(message=f"{interrupted} was stopped; {name} is live in {operation.environment} and carries it.")


def _refuse_taken(operation: Operation, record: EnvironmentRecord, to_version: str | None) -> None:
    if operation.judge(record) not in _OURS_TO_TAKE:
        raise Transient("Somebody else took the environment a moment ago")
    choose_target(record, to_version)


def _state_intent(operation: Operation, target: Live, *, named: bool) -> RollbackIntent:
    """Write the target before anything moves, so that whoever finds this run dead completes it."""
    leaving = operation.last_seen.live
    assert leaving is not None
    operation.weights_at_start = Weights.all_on(leaving.colour)
    refuse_foreign_hands(operation)
    gone = not image_exists(operation.aws, operation.settings.repository, target.release.image_digest)
    if gone and warmth_of(operation, target, leaving.colour.other) is Warmth.COLD:
        raise Refused(
            f"The image of {target.release.version} is gone from ECR",
            why=f"{operation.settings.repository} has no {target.release.image_digest}",
            do="Release the version's commit under a new tag, or roll back to another version.",
        )
    intent = RollbackIntent(
        target=target, leaving=leaving, flow_run_id=operation.owner.flow_run_id, at=now(), named=named
    )
    operation.last_seen = operation.store.change_environment(lambda r: r.model_copy(update={"rollback": intent}))
    return intent
