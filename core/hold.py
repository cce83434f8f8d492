"""Holding an environment: one writer at a time, and an expired hold is no permission but a duty to reconcile."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from core.errors import Refused
from core.record import EnvironmentRecord, Hold, Owner, StopRequest, Waiter

__all__ = [
    "HoldVerdict",
    "ask_to_stop",
    "beat",
    "enqueue",
    "free",
    "is_ours",
    "judge_hold",
    "leave_queue",
    "park",
    "take",
    "time_left",
]


class HoldVerdict(StrEnum):
    """What somebody who wants the environment finds."""

    FREE = "free"
    OURS = "ours"  # this very process holds it
    RESUMED = "resumed"  # our run parked it
    PARKED = "parked"  # another run waits for approval
    HELD = "held"  # another run works
    ABANDONED = "abandoned"  # its process is dead, or its heartbeat stopped


def judge_hold(record: EnvironmentRecord, me: Owner, now: datetime, *, owner_dead: bool) -> HoldVerdict:
    """Return what the hold means for `me`; `owner_dead` is proof that the holding process no longer exists."""
    hold = record.hold
    if hold is None:
        return HoldVerdict.FREE
    if hold.owner == me:
        return HoldVerdict.OURS
    if hold.parked_until is not None:
        if now >= hold.parked_until:
            return HoldVerdict.ABANDONED
        return HoldVerdict.RESUMED if hold.owner.flow_run_id == me.flow_run_id else HoldVerdict.PARKED
    if owner_dead or now >= hold.expires_at:
        return HoldVerdict.ABANDONED
    return HoldVerdict.HELD


def take(
    record: EnvironmentRecord,
    owner: Owner,
    now: datetime,
    *,
    expiry: float,
    version: str | None,
    settles: Hold | None = None,
) -> EnvironmentRecord:
    """Return the record held by `owner` with the next fencing number. The caller has judged the hold.

    `settles` is the dead holder's hold, so that whoever finds this holder dead in turn knows what was being settled.
    """
    fence = record.fence + 1
    hold = Hold(
        owner=owner,
        fence=fence,
        version=version,
        acquired_at=now,
        heartbeat_at=now,
        expires_at=now + timedelta(seconds=expiry),
        settles=settles,
    )
    queue = tuple(w for w in record.queue if w.flow_run_id != owner.flow_run_id)
    return record.model_copy(update={"hold": hold, "fence": fence, "queue": queue})


def is_ours(record: EnvironmentRecord, owner: Owner, fence: int) -> bool:
    """Whether the environment is still held by `owner` under that fencing number."""
    return record.hold is not None and record.hold.owner == owner and record.hold.fence == fence


def beat(
    record: EnvironmentRecord,
    owner: Owner,
    fence: int,
    now: datetime,
    *,
    expiry: float,
    stage: str | None = None,
) -> EnvironmentRecord:
    """Return the record with the hold prolonged; raise `Refused` if it is no longer ours."""
    hold = _held(record, owner, fence)
    update = {"heartbeat_at": now, "expires_at": now + timedelta(seconds=expiry)}
    return record.model_copy(update={"hold": hold.model_copy(update=update | ({"stage": stage} if stage else {}))})


def park(record: EnvironmentRecord, owner: Owner, fence: int, until: datetime) -> EnvironmentRecord:
    """Return the record with the hold parked until an approval's deadline."""
    hold = _held(record, owner, fence)
    return record.model_copy(update={"hold": hold.model_copy(update={"parked_until": until, "stage": "approve"})})


def free(record: EnvironmentRecord, owner: Owner, fence: int) -> EnvironmentRecord:
    """Return the record without our hold; somebody else's stays."""
    return record.model_copy(update={"hold": None}) if is_ours(record, owner, fence) else record


def ask_to_stop(record: EnvironmentRecord, by: str, reason: str, now: datetime) -> EnvironmentRecord:
    """Return the record with a wish that the holder stop; nothing where nobody holds."""
    if record.hold is None or record.hold.stop is not None:
        return record
    stop = StopRequest(by=by, at=now, reason=reason)
    return record.model_copy(update={"hold": record.hold.model_copy(update={"stop": stop})})


def enqueue(record: EnvironmentRecord, waiter: Waiter, *, stale_before: datetime) -> EnvironmentRecord:
    """Return the record with `waiter` in the queue, seen now; waiters not seen since `stale_before` drop out."""
    known = next((w for w in record.queue if w.flow_run_id == waiter.flow_run_id), None)
    fresh = waiter.model_copy(update={"queued_at": known.queued_at}) if known else waiter
    others = (w for w in record.queue if w.flow_run_id != waiter.flow_run_id and w.seen_at >= stale_before)
    return record.model_copy(update={"queue": tuple(sorted((*others, fresh), key=lambda w: w.queued_at))})


def leave_queue(record: EnvironmentRecord, flow_run_id: str) -> EnvironmentRecord:
    """Return the record without that waiter."""
    return record.model_copy(update={"queue": tuple(w for w in record.queue if w.flow_run_id != flow_run_id)})


def time_left(hold: Hold, now: datetime) -> float:
    """Seconds until the hold expires."""
    return (hold.expires_at - now).total_seconds()


def _held(record: EnvironmentRecord, owner: Owner, fence: int) -> Hold:
    if record.hold is None or not is_ours(record, owner, fence):
        holder = record.hold.owner.flow_run_id if record.hold else "nobody"
        raise Refused(
            f"The hold on {record.environment} is no longer ours",
            why=f"it was taken over, and now belongs to {holder}",
            do="Nothing more is written by this run; see what `status` says.",
        )
    return record.hold
