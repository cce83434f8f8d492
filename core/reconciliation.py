"""What is left to do in an environment: the watch that starts `reconcile` and the flow itself decide by this.

Facts in, work out. Who looks has read the record and seen what stands beside it; nothing here asks anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from core.lease import LeaseVerdict, judge_lease
from core.record import EnvironmentRecord, Owner, QueuedRelease

__all__ = ["Beside", "Work", "forgotten_runs", "is_waiting", "looks_for_foreign_hands", "pending_work", "stale_waiters"]

# Whoever reconciles holds nothing yet: no lease is its own.
_NOBODY = Owner(flow="reconcile", flow_run_id="", attempt="", host="", pid=0, process_started="")


class Work(StrEnum):
    """One thing that `reconcile` has to do."""

    DROP_WAITERS = "drop waiters"  # releases in the queue whose processes are dead
    TAKE_OVER = "take over"  # a lease whose holder is dead
    FREEZE = "freeze"  # what Pointsman did not write on the listener or the live service
    CLOSE_RUNS = "close runs"  # runs of which the record knows nothing, dead in all but Prefect's state


@dataclass(frozen=True)
class Beside:
    """What was seen beside the record, at one moment."""

    now: datetime
    owner_dead: bool = False
    """The holder's process is proven dead."""
    run_over: bool = False
    """Prefect says that the holder's run has ended; of interest where the lease is parked."""
    foreign: bool = False
    """The listener or the live service is not as the record says."""
    dead_runs: frozenset[str] = field(default_factory=frozenset)
    """Runs that Prefect believes alive although their processes are dead."""


def pending_work(record: EnvironmentRecord, seen: Beside, *, expiry: float) -> frozenset[Work]:
    """Return what is to be done; `expiry` is for how many seconds a sign of life counts (`timing.lease_expiry`)."""
    work = {
        Work.DROP_WAITERS: bool(stale_waiters(record, seen.now, expiry)),
        Work.TAKE_OVER: _is_abandoned(record, seen),
        Work.FREEZE: seen.foreign and looks_for_foreign_hands(record),
        Work.CLOSE_RUNS: bool(forgotten_runs(record, seen.dead_runs)),
    }
    return frozenset(kind for kind, due in work.items() if due)


def is_waiting(waiter: QueuedRelease, now: datetime, expiry: float) -> bool:
    """Whether a release in the queue was seen within `expiry` seconds; if not, its process is dead."""
    return waiter.seen_at >= now - timedelta(seconds=expiry)


def stale_waiters(record: EnvironmentRecord, now: datetime, expiry: float) -> tuple[QueuedRelease, ...]:
    """Return the releases in the queue whose processes are dead."""
    return tuple(w for w in record.queue if not is_waiting(w, now, expiry))


def looks_for_foreign_hands(record: EnvironmentRecord) -> bool:
    """Whether what is in AWS can be compared with the record.

    Not while somebody works on it, not before anything of ours stands nor while it is being destroyed, and a freeze is
    a human's to end.
    """
    written = record.infrastructure is not None and record.weights is not None
    return record.lease is None and record.frozen is None and record.destroying is None and written


def forgotten_runs(record: EnvironmentRecord, dead: frozenset[str]) -> frozenset[str]:
    """Return the dead runs of which the record knows nothing.

    They died before they held the environment or waited for it, or when all was done but to tell Prefect so.
    """
    known = {waiter.flow_run_id for waiter in record.queue}
    for lease in (record.lease, record.lease and record.lease.takes_over):
        if lease is not None:
            known.add(lease.owner.flow_run_id)
    return dead - known


def _is_abandoned(record: EnvironmentRecord, seen: Beside) -> bool:
    verdict = judge_lease(record, _NOBODY, seen.now, owner_dead=seen.owner_dead)
    return verdict is LeaseVerdict.ABANDONED or (verdict is LeaseVerdict.PARKED and seen.run_over)
