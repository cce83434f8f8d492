"""A release's wish for the environment: admitted by the record, in its turn, in place of an older one that waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from core import lease as leases
from core.admission import Admission, WantedRelease, admit, candidate_colour, newer_than_parked, whose_turn
from core.history import Failure, State
from core.next_move import Policy
from core.reconciliation import is_waiting
from core.record import EnvironmentRecord, LeaseRecord, QueuedRelease
from core.release import Configuration
from lifecycle.acquire import Ended, acquire, holder_of
from lifecycle.outcome import Outcome
from operation.lease import now
from operation.operation import Operation
from systems.log import run_logger
from tasks.candidate import wrong_count
from tasks.checkout import Checkout

__all__ = ["enter"]


def enter(operation: Operation, source: Checkout, *, allow_downgrade: bool) -> ReleaseEntry:
    """Wait for our turn and lease the environment; where there is nothing to do, the entry says how the run ends.

    Raises `Refused` where the release may not be made (see `admit`).
    """
    request = ReleaseRequest(operation, source, allow_downgrade)
    ended = acquire(operation, request)
    return ReleaseEntry(ended.outcome() if ended else None, request.miscounted)


@dataclass(frozen=True)
class ReleaseEntry:
    """How a release entered: the state that ends it already, or whether only the number of its tasks is wrong."""

    outcome: Outcome | None
    only_scale: bool


@dataclass
class ReleaseRequest:
    """One release that wants the environment."""

    operation: Operation
    source: Checkout
    allow_downgrade: bool
    miscounted: bool = False
    """Whether the version is live already, and only runs another number of tasks than it should."""
    _queued: QueuedRelease = field(init=False)
    _logged: str = ""

    def __post_init__(self) -> None:
        run = self.operation.owner.flow_run_id
        self._queued = QueuedRelease(version=self.version, flow_run_id=run, queued_at=now(), seen_at=now())

    @property
    def version(self) -> str:
        """The tag."""
        return self.source.version.tag

    @property
    def successor(self) -> str:
        """The tag: an older version that waits for its approval is superseded by it."""
        return self.version

    def examine(self, record: EnvironmentRecord) -> Ended | None:
        """Return an end where the version is live with its count; raise `Refused` where it may not be released."""
        history = self.operation.records.version(self.version)
        self.miscounted = False
        if admit(record, history, self._wanted(record)) is Admission.PROCEED:
            return None
        self.miscounted = record.live is not None and wrong_count(self.operation, record.live) is not None
        if self.miscounted:
            return None
        return Ended(f"{self.version} is already live in {self.operation.environment}; nothing was changed.")

    def _wanted(self, record: EnvironmentRecord) -> WantedRelease:
        arns = record.infrastructure.secret_sources if record.infrastructure else {}
        digest = Configuration.of(self.operation.settings, arns).digest if record.infrastructure else ""
        return WantedRelease(
            self.source.version,
            self.source.commit,
            digest,
            self.operation.owner.flow_run_id,
            self.allow_downgrade,
            self.source.announced,
        )

    def policy(self, record: EnvironmentRecord) -> Policy:
        """Return that it waits in its turn, and takes the place of the dead and of an older release that waits."""
        settings = self.operation.settings
        waiting = [q for q in record.queue if is_waiting(q, now(), settings.timing.lease_expiry)]
        turn = whose_turn(waiting, self._queued, in_order=settings.queue == "in-order")
        return Policy(
            turn=turn, takes_over=True, takes_over_parked=newer_than_parked(self.source.version, record), waits=True
        )

    def interrupt(self, lease: LeaseRecord) -> None:
        """Never: a release waits."""
        raise AssertionError("its policy interrupts nobody")

    def wait(self, record: EnvironmentRecord) -> None:
        """Stand in the queue, and say for whom once."""
        timing, holder = self.operation.settings.timing, holder_of(record)
        if holder != self._logged:
            run_logger().info("%s waits: %s holds %s", self.version, holder, self.operation.environment)
            self._logged = holder
        # Seen often enough not to count as gone; each sight is a write.
        if (now() - self._queued.seen_at).total_seconds() > timing.lease_expiry / 4 or not self._stands_in(record):
            self._queued = self._queued.seen(now())
            stale = now() - timedelta(seconds=timing.lease_expiry)
            self.operation.records.change_environment(lambda r: leases.enqueue(r, self._queued, stale_before=stale))
        time.sleep(timing.queue_poll)

    def _stands_in(self, record: EnvironmentRecord) -> bool:
        return any(q.flow_run_id == self._queued.flow_run_id for q in record.queue)

    def stop(self, record: EnvironmentRecord) -> Ended:
        """Return that a newer version took its place, and write it into the version's history."""
        reason = "a newer version was waiting too"
        self.operation.journal.record_early_failure(
            self.version, self.source.commit, State.SUPERSEDED, Failure(step="queue", reason=reason)
        )
        environment = self.operation.environment
        return Ended(
            f"{self.version} → {environment} was superseded by a newer version while it waited.", superseded=True
        )

    def taken(self, record: EnvironmentRecord) -> None:
        """Begin the attempt, in the slot that is not live."""
        if self.miscounted:
            return
        self.operation.records.change_environment(lambda r: r.beginning_first_release())
        self.operation.journal.begin_attempt(self.version, self.source.commit, candidate_colour(record))
