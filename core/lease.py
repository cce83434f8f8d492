"""The lease on an environment: one writer at a time. An expired lease is not permission but a duty to clean up.

Holder, renew time, expiry and fencing token as in https://kubernetes.io/docs/concepts/architecture/leases/.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from core.errors import Refused
from core.record import EnvironmentRecord, LeaseRecord, Owner, QueuedRelease, StopRequest

__all__ = [
    "HeldLease",
    "LeaseVerdict",
    "ask_to_stop",
    "clear_takeover",
    "drop",
    "enqueue",
    "is_ours",
    "judge_lease",
    "leave_queue",
    "park",
    "refuse_held",
    "renew",
    "take",
    "time_left",
]


class HeldLease(Protocol):
    """A lease as adapters need it: the look before a side effect, and the look while they wait."""

    def assert_held(self, *, tolerate_unwritten_record: bool = False) -> EnvironmentRecord:
        """Renew it and return the record; raise `Refused` where it is lost or its holder was asked to stop."""

    def check(self) -> None:
        """Raise `Refused` as `assert_held` does, by what is known without asking."""


class LeaseVerdict(StrEnum):
    """What a run that wants the environment finds."""

    FREE = "free"
    OURS = "ours"  # this very process holds it
    RESUMED = "resumed"  # our run parked it
    PARKED = "parked"  # another run waits for approval
    HELD = "held"  # another run works
    ABANDONED = "abandoned"  # its process is dead, or its heartbeat stopped


def judge_lease(record: EnvironmentRecord, me: Owner, now: datetime, *, owner_dead: bool) -> LeaseVerdict:
    """Return what the lease means for `me`; `owner_dead` is proof that the holding process no longer exists."""
    lease = record.lease
    if lease is None:
        return LeaseVerdict.FREE
    if lease.owner == me:
        return LeaseVerdict.OURS
    if lease.parked_until is not None:
        if now >= lease.parked_until:
            return LeaseVerdict.ABANDONED
        return LeaseVerdict.RESUMED if lease.owner.flow_run_id == me.flow_run_id else LeaseVerdict.PARKED
    if owner_dead or now >= lease.expires_at:
        return LeaseVerdict.ABANDONED
    return LeaseVerdict.HELD


def take(
    record: EnvironmentRecord,
    owner: Owner,
    now: datetime,
    *,
    expiry: float,
    version: str | None,
    takes_over: LeaseRecord | None = None,
) -> EnvironmentRecord:
    """Return the record leased to `owner` with the next fencing token. The caller has judged the lease before.

    `takes_over` is the dead holder's lease, so that whoever finds this holder dead in turn knows what is to be cleaned
    up.
    """
    lease = LeaseRecord(
        owner=owner,
        fencing_token=record.fencing_token + 1,
        version=version,
        acquired_at=now,
        renewed_at=now,
        expires_at=now + timedelta(seconds=expiry),
        takes_over=takes_over,
    )
    queue = (q for q in record.queue if q.flow_run_id != owner.flow_run_id)
    return record.leased(lease).queueing(queue)


def is_ours(record: EnvironmentRecord, owner: Owner, fencing_token: int) -> bool:
    """Whether the environment is still leased to `owner` under that fencing token."""
    lease = record.lease
    return lease is not None and lease.owner == owner and lease.fencing_token == fencing_token


def renew(
    record: EnvironmentRecord,
    owner: Owner,
    fencing_token: int,
    now: datetime,
    *,
    expiry: float,
    step: str | None = None,
) -> EnvironmentRecord:
    """Return the record with the lease renewed; raise `Refused` if it is no longer ours."""
    lease = _ours(record, owner, fencing_token)
    return record.leased(lease.renewed(now, now + timedelta(seconds=expiry), step))


def park(record: EnvironmentRecord, owner: Owner, fencing_token: int, until: datetime) -> EnvironmentRecord:
    """Return the record with the lease parked until an approval's deadline."""
    return record.leased(_ours(record, owner, fencing_token).parked(until))


def drop(record: EnvironmentRecord, owner: Owner, fencing_token: int) -> EnvironmentRecord:
    """Return the record without our lease; somebody else's stays."""
    return record.leased(None) if is_ours(record, owner, fencing_token) else record


def clear_takeover(record: EnvironmentRecord, owner: Owner) -> EnvironmentRecord:
    """Return the record once what a dead holder left is cleaned up; nothing where the lease is not ours."""
    lease = record.lease
    return record.leased(lease.without_takeover()) if lease is not None and lease.owner == owner else record


def ask_to_stop(record: EnvironmentRecord, by: str, reason: str, now: datetime) -> EnvironmentRecord:
    """Return the record with a wish that the holder stop; nothing where nobody holds."""
    if record.lease is None:
        return record
    return record.leased(record.lease.asked_to_stop(StopRequest(by=by, at=now, reason=reason)))


def enqueue(record: EnvironmentRecord, release: QueuedRelease, *, stale_before: datetime) -> EnvironmentRecord:
    """Return the record with `release` queued, seen now; those not seen since `stale_before` drop out."""
    known = next((q for q in record.queue if q.flow_run_id == release.flow_run_id), None)
    fresh = release.queued(known.queued_at) if known else release
    others = (q for q in record.queue if q.flow_run_id != release.flow_run_id and q.seen_at >= stale_before)
    return record.queueing(sorted((*others, fresh), key=lambda q: q.queued_at))


def leave_queue(record: EnvironmentRecord, flow_run_id: str) -> EnvironmentRecord:
    """Return the record without that queued release."""
    return record.queueing(q for q in record.queue if q.flow_run_id != flow_run_id)


def time_left(lease: LeaseRecord, now: datetime) -> float:
    """Seconds until the lease expires."""
    return (lease.expires_at - now).total_seconds()


def refuse_held(record: EnvironmentRecord, lease: LeaseRecord) -> Refused:
    """Return the refusal of whoever finds the environment leased to somebody else."""
    holder = f"{lease.owner.flow} {lease.version or ''}".strip()
    return Refused(
        f"{record.environment} is held by {holder}",
        why=f"it is at {lease.step}",
        do="Wait until it ends; if it died, `reconcile` cleans up after it.",
    )


def _ours(record: EnvironmentRecord, owner: Owner, fencing_token: int) -> LeaseRecord:
    if record.lease is None or not is_ours(record, owner, fencing_token):
        holder = record.lease.owner.flow_run_id if record.lease else "nobody"
        raise Refused(
            f"The lease on {record.environment} is no longer ours",
            why=f"it was taken over, and now belongs to {holder}",
            do="This run writes nothing more; `status` shows who holds it now.",
        )
    return record.lease
