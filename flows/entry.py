"""How a release enters: admitted by the record, in its turn, holding the environment."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta

from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed

from core import hold as holding
from core.admission import Admission, Turn, WantedRelease, admit, whose_turn
from core.colour import Colour, Weights
from core.errors import PointsmanError, Transient
from core.hold import HoldVerdict
from core.record import EnvironmentRecord, State, Waiter
from core.release import Configuration
from core.version import Version
from flows.boundary import Outcome
from flows.orphan import settle_orphan
from flows.scale import count_is_wrong, scale_to_settings
from tasks.git import Checkout
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["enter"]


def enter(operation: Operation, source: Checkout, *, allow_downgrade: bool) -> Outcome | None:
    """Wait for our turn and take the hold; return a final state where there is nothing to do or no place for us.

    Raises `Refused` where the release may not be made (see `admit`).
    """
    try:
        return _wait_for_turn(operation, source, allow_downgrade)
    finally:
        if not operation.holds:
            with suppress(PointsmanError):
                operation.store.change_environment(lambda r: holding.leave_queue(r, operation.owner.flow_run_id))


def _wait_for_turn(operation: Operation, source: Checkout, allow_downgrade: bool) -> Outcome | None:
    logger = get_run_logger()
    timing = operation.settings.timing
    waiter = Waiter(version=source.version.tag, flow_run_id=operation.owner.flow_run_id, queued_at=now(), seen_at=now())
    told = ""
    while True:
        record = operation.store.environment()
        wanted = _wanted(operation, source, record, allow_downgrade)
        miscounted = False
        if admit(record, operation.store.version(source.version.tag), wanted) is Admission.ALREADY_LIVE:
            miscounted = count_is_wrong(operation, record)
            if not miscounted:
                return Completed(
                    message=f"{source.version} is live in {operation.environment} already; nothing was changed."
                )
        verdict = operation.judge(record)
        turn = whose_turn(_fresh(record, timing.hold_expiry), waiter, in_order=operation.settings.queue == "in-order")
        if turn is Turn.SUPERSEDED:
            return _superseded(operation, source)
        if verdict in (HoldVerdict.FREE, HoldVerdict.RESUMED, HoldVerdict.OURS) and turn is Turn.GO:
            if miscounted:
                return scale_to_settings(operation, source.version)
            if _take(operation, source, allow_downgrade):
                return None
            continue
        if verdict is HoldVerdict.ABANDONED or (
            verdict is HoldVerdict.PARKED and _newer_than_parked(source.version, record)
        ):
            settle_orphan(operation, superseded_by=source.version if verdict is HoldVerdict.PARKED else None)
            operation.name_version(source.version.tag)
            continue
        holder = record.hold.version or record.hold.owner.flow if record.hold else "an earlier release"
        if holder != told:
            logger.info("%s waits: %s holds %s", source.version, holder, operation.environment)
            told = holder
        _stand_in_queue(operation, waiter)
        time.sleep(timing.queue_poll)


def _stand_in_queue(operation: Operation, waiter: Waiter) -> None:
    seen = waiter.model_copy(update={"seen_at": now()})
    stale = now() - timedelta(seconds=operation.settings.timing.hold_expiry)
    operation.store.change_environment(lambda r: holding.enqueue(r, seen, stale_before=stale))


def _wanted(operation: Operation, source: Checkout, record: EnvironmentRecord, allow_downgrade: bool) -> WantedRelease:
    arns = record.infrastructure.secret_arns if record.infrastructure else {}
    digest = Configuration.of(operation.settings, arns).digest if record.infrastructure else ""
    return WantedRelease(
        source.version, source.commit, digest, operation.owner.flow_run_id, allow_downgrade, source.announced
    )


def _fresh(record: EnvironmentRecord, expiry: float) -> list[Waiter]:
    return [w for w in record.queue if w.seen_at >= now() - timedelta(seconds=expiry)]


def _newer_than_parked(version: Version, record: EnvironmentRecord) -> bool:
    parked = record.hold.version if record.hold else None
    return parked is not None and Version.parse(parked) < version


def _superseded(operation: Operation, source: Checkout) -> Outcome:
    operation.version, operation.commit = source.version.tag, source.commit
    operation.record_early_failure(State.SUPERSEDED, "queue", "a newer version waited as well")
    return Cancelled(
        message=f"{source.version} → {operation.environment} was superseded by a newer version while it waited.",
        name="Superseded",
    )


def _take(operation: Operation, source: Checkout, allow_downgrade: bool) -> bool:
    """Take the hold if it still is to be had; return whether it is ours."""

    def still_to_be_had(record: EnvironmentRecord) -> None:
        if operation.judge(record) not in (HoldVerdict.FREE, HoldVerdict.RESUMED, HoldVerdict.OURS):
            raise Transient("Somebody else took the environment a moment ago")
        admit(
            record,
            operation.store.version(source.version.tag),
            _wanted(operation, source, record, allow_downgrade),
        )

    try:
        record = operation.take_hold(source.version.tag, still_to_be_had)
    except Transient:
        return False
    operation.remember_weights()
    operation.begin_attempt(source.version.tag, source.commit, _candidate(record))
    return True


def _candidate(record: EnvironmentRecord) -> Colour:
    """Return the slot that a release may touch: not the live one; before the first release, the one at weight 0."""
    if record.live is not None:
        return record.live.colour.other
    return Colour.BLUE if record.weights == Weights.all_on(Colour.GREEN) else Colour.GREEN
