"""The lease on an environment as this process has it: one conditional write, a heartbeat, a look before each write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from core import lease as leases
from core.errors import PointsmanError, Refused
from core.lease import LeaseVerdict, judge_lease
from core.record import EnvironmentRecord, Owner
from core.settings import Timing
from systems.processes import process_is_dead
from systems.records import RecordStore

__all__ = ["Lease", "now"]


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


class Lease:
    """One environment's lease, and this process's share in it while it has one.

    The heartbeat is a thread beside the run; what both touch is a step's name and two flags, each set in one go.
    """

    def __init__(self, records: RecordStore, owner: Owner, timing: Timing) -> None:
        self._records, self._owner, self._timing = records, owner, timing
        self.step = "starting"
        self.fencing_token = 0
        self.held = False
        self._stop: str | None = None
        self._heeds_stop = True
        self._lost: str | None = None
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def judge(self, record: EnvironmentRecord) -> LeaseVerdict:
        """Return what a record's lease means for us, with what this machine knows of the holder's process."""
        dead = record.lease is not None and process_is_dead(record.lease.owner)
        return judge_lease(record, self._owner, now(), owner_dead=dead)

    # --- taking and giving back

    def take(
        self, version: str | None, judged: Callable[[EnvironmentRecord], None], *, taking_over: bool = False
    ) -> EnvironmentRecord:
        """Take the environment in one conditional write, once `judged` raises nothing on the record at hand.

        With `taking_over`, what the holder before us was about stays in the lease: we may die over it as well, and then
        whoever finds us must know what it was.
        """

        def change(record: EnvironmentRecord) -> EnvironmentRecord:
            judged(record)
            dead = (record.lease.takes_over or record.lease) if taking_over and record.lease else None
            about = dead.version if dead else version
            expiry = self._timing.lease_expiry
            return leases.take(record, self._owner, now(), expiry=expiry, version=about, takes_over=dead)

        record = self._records.change_environment(change)
        self.stop_heartbeat()  # of an earlier taking, whose token has just ended
        self.fencing_token = record.fencing_token
        self.held = True
        self._stop = self._lost = None
        self._heeds_stop = True
        self._ended.clear()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        return record

    def clear_takeover(self) -> None:
        """Write that what a dead holder left is cleaned up."""
        self._records.change_environment(lambda r: leases.clear_takeover(r, self._owner))

    def park(self, until: datetime) -> None:
        """Park the lease while no process works, until an approval's deadline."""
        self.stop_heartbeat()
        self._records.change_environment(lambda r: leases.park(r, self._owner, self.fencing_token, until))
        self.held = False

    def drop(self) -> None:
        """Give the environment back, if it is still ours."""
        self.stop_heartbeat()
        self._records.change_environment(lambda r: leases.drop(r, self._owner, self.fencing_token))
        self.held = False

    # --- keeping

    def stop_heartbeat(self) -> None:
        """End the heartbeat without touching the record: for a process that is about to go."""
        self._ended.set()
        if self._heart is not None and self._heart is not threading.current_thread():
            self._heart.join(self._timing.longest_call)

    def _beat(self) -> None:
        while not self._ended.wait(self._timing.heartbeat):
            try:
                self._renew()
            except Refused as error:
                self._lost = str(error)
                return
            except PointsmanError:
                continue  # the next beat may get through; `check` watches the time that is left

    def _renew(self) -> EnvironmentRecord:
        expiry = self._timing.lease_expiry
        record = self._records.change_environment(
            lambda r: leases.renew(r, self._owner, self.fencing_token, now(), expiry=expiry, step=self.step)
        )
        if self._heeds_stop and record.lease and record.lease.stop:
            self._stop = f"{record.lease.stop.by} asked it to: {record.lease.stop.reason}"
        return record

    def assert_held(self, *, tolerate_unwritten_record: bool = False) -> EnvironmentRecord:
        """Renew the lease and return the record: the last look before a side effect.

        AWS cannot compare our fencing token. The conditional write proves that the environment is ours now, and its
        new expiry outlasts the longest AWS call (settings refuse anything else), so no write of ours lands after it.
        Where traffic goes home, a record that cannot be written stops nothing while the lease lasts.
        """
        try:
            record = self._renew()
        except Refused:
            raise
        except PointsmanError:
            if not tolerate_unwritten_record:
                raise
            record = self._records.newest
        self.check()
        return record

    def check(self) -> None:
        """Raise `Refused` if the lease was lost or somebody asked us to stop; costs nothing, for use in waits."""
        environment = self._records.environment_name
        lease = self._records.newest.lease
        if self._lost:
            raise Refused(f"The lease on {environment} was lost", why=self._lost)
        if self.held and lease is not None and leases.time_left(lease, now()) <= 0:
            raise Refused(
                f"The lease on {environment} expired",
                why="the record could not be written for too long",
                do="This run writes nothing more; `reconcile` cleans up.",
            )
        if self._stop:
            version = lease.version if lease else None
            raise Refused(f"{version or 'The run'} was asked to stop", why=self._stop)

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody wants this run to end."""
        return self._stop is not None

    @property
    def lost(self) -> bool:
        """Whether somebody else took the environment over: then nothing more may be written."""
        return self._lost is not None

    def disregard_stop(self) -> None:
        """Go on in spite of a wish to stop, which stays on record: what is left to do is what was wished for."""
        self._heeds_stop, self._stop = False, None
