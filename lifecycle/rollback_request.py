"""A rollback's wish for the environment: it waits for nobody but asks a release that may be asked to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from core import lease as leases
from core.errors import Refused
from core.history import State
from core.next_move import TO_TAKE, Policy
from core.record import EnvironmentRecord, LeaseRecord
from core.rollback import choose_target, may_interrupt
from lifecycle.acquire import Ended
from operation.lease import now
from operation.operation import Operation
from systems.log import run_logger

__all__ = ["RollbackRequest"]


@dataclass
class RollbackRequest:
    """One rollback that wants the environment."""

    operation: Operation
    version: str | None
    """The version to go back to; the last healthy one if it is None."""
    abort_in_flight: bool | None
    successor: None = None
    _interrupted: str | None = None
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        timing = self.operation.settings.timing
        self._deadline = time.monotonic() + timing.lease_expiry + timing.vacate

    def examine(self, record: EnvironmentRecord) -> Ended | None:
        """Return an end where the release that was asked to stop left nothing to do; raise `Refused` for no target."""
        if self.operation.lease.judge(record) not in TO_TAKE:
            return None
        if self._interrupted and self.version is None and self._was_stopped(self._interrupted):
            live = record.live.release.version if record.live else "nothing"
            environment = self.operation.environment
            return Ended(f"{self._interrupted} was stopped; {live} is live in {environment} and has all traffic.")
        choose_target(record, self.version)
        return None

    def _was_stopped(self, version: str) -> bool:
        history = self.operation.records.version(version)
        return history is not None and history.state in (State.ABORTED, State.FAILED)

    def policy(self, record: EnvironmentRecord) -> Policy:
        """Return that it takes over what is dead or parked, and interrupts a release once; then it waits for it."""
        late = time.monotonic() > self._deadline
        cleaned_up = record.lease is not None and record.lease.takes_over is not None
        asks = not late and self._interrupted is None and not cleaned_up
        return Policy(takes_over=True, takes_over_parked=True, interrupts=asks, waits=not late)

    def interrupt(self, lease: LeaseRecord) -> None:
        """Ask the holder to stop, if that may be asked of it."""
        record = self.operation.record
        if self.version is not None:
            choose_target(record, self.version)  # nobody is interrupted for a rollback that would be refused
        history = self.operation.records.version(lease.version) if lease.version else None
        state = history.state if history else None
        may_interrupt(self.operation.environment, lease, state, self.abort_in_flight)
        run_logger().info("Asking %s to stop", lease.version)
        by = f"rollback run {self.operation.owner.flow_run_id}"
        self.operation.records.change_environment(lambda r: leases.ask_to_stop(r, by, "a rollback", now()))
        self._interrupted = lease.version

    def wait(self, record: EnvironmentRecord) -> None:
        """Wait a moment for the holder's end."""
        time.sleep(self.operation.settings.timing.poll)

    def stop(self, record: EnvironmentRecord) -> Ended:
        """Refuse: the holder did not stop in time."""
        lease = record.lease
        holder = (lease.version or lease.owner.flow) if lease else "The holder"
        raise Refused(
            f"{holder} did not stop",
            why=f"it still holds {self.operation.environment}, at {lease.step if lease else 'its end'}",
            do="`reconcile` cleans up once its heartbeat stops; then roll back again.",
        )

    def taken(self, record: EnvironmentRecord) -> None:
        """Nothing begins yet: the target is chosen by the flow, from the record that is ours now."""
