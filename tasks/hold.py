"""An environment held by this process: taken in one conditional write, kept by a heartbeat, looked at before writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from blocks.environment import ReleaseEnvironment
from core import hold as holding
from core.admission import refuse_if_frozen
from core.errors import PointsmanError, Refused
from core.hold import HoldVerdict, judge_hold
from core.infrastructure import refuse_foreign_infrastructure
from core.record import EnvironmentRecord, Hold, Infrastructure, Owner
from core.settings import EnvironmentSettings
from systems.aws import AwsClients
from systems.processes import process_is_dead
from systems.records import RecordStore

__all__ = ["HeldEnvironment", "now"]


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


class HeldEnvironment:
    """One environment, and this process's hold on it while it has one."""

    def __init__(self, block: ReleaseEnvironment, aws: AwsClients, store: RecordStore, owner: Owner) -> None:
        self.block, self.aws, self.store, self.owner = block, aws, store, owner
        self.last_seen = EnvironmentRecord(environment=store.environment_name)
        self.stage = "starting"
        self.version: str | None = None
        self.fence = 0
        self.holds = False
        self._stop: str | None = None
        self._heeds_stop = True
        self._lost: str | None = None
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    @property
    def settings(self) -> EnvironmentSettings:
        """The environment's settings."""
        return self.block.settings

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.store.environment_name

    @property
    def infrastructure(self) -> Infrastructure:
        """What `provision` made; raises `Refused` before it did, and where the record names what is not ours."""
        found = self.last_seen.infrastructure
        if found is None:
            raise Refused(
                f"{self.environment} has no infrastructure yet",
                do=f"Run `prefect deployment run provision/{self.environment}` first.",
            )
        refuse_foreign_infrastructure(found, self.settings)
        return found

    def judge(self, record: EnvironmentRecord) -> HoldVerdict:
        """Return what a record's hold means for us, with what this machine knows of the holder's process."""
        dead = record.hold is not None and process_is_dead(record.hold.owner)
        return judge_hold(record, self.owner, now(), owner_dead=dead)

    def take_hold(
        self, version: str | None, judged: Callable[[EnvironmentRecord], None], *, settling: bool = False
    ) -> EnvironmentRecord:
        """Take the environment in one conditional write, once `judged` raises nothing on the record at hand.

        With `settling`, what the holder before us was about stays in the hold.
        """
        expiry = self.settings.timing.hold_expiry

        def change(record: EnvironmentRecord) -> EnvironmentRecord:
            judged(record)
            dead = (record.hold.settles or record.hold) if settling and record.hold else None
            about = dead.version if dead else version
            return holding.take(record, self.owner, now(), expiry=expiry, version=about, settles=dead)

        record = self.last_seen = self.store.change_environment(change)
        self.fence = record.fence
        self.holds = True
        self._stop = self._lost = None
        self._heeds_stop = True
        self._ended.clear()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        return record

    def take_if_free(self, *, even_frozen: bool = False) -> EnvironmentRecord:
        """Take the environment if nobody holds it and it is not frozen; raise `Refused` otherwise."""

        def judged(record: EnvironmentRecord) -> None:
            if not even_frozen:
                refuse_if_frozen(record)
            if record.hold is not None and record.hold.owner != self.owner:
                raise _held(record, record.hold)

        return self.take_hold(None, judged)

    def take_from_the_dead(self) -> Hold | None:
        """Take what needs no settling, from a holder that is gone too, else raise `Refused`; return what is left to do.

        That is what the dead one held, and it stays in our hold until `nothing_left`: we may die over it as well.
        """

        def judged(record: EnvironmentRecord) -> None:
            if record.hold is None or record.hold.owner == self.owner:
                return
            if self.judge(record) is not HoldVerdict.ABANDONED:
                raise _held(record, record.hold)

        taken = self.take_hold(None, judged, settling=True)
        return taken.hold.settles if taken.hold else None

    def nothing_left(self) -> None:
        """Write that what a dead holder left is done."""

        def change(record: EnvironmentRecord) -> EnvironmentRecord:
            if record.hold is None or record.hold.owner != self.owner:
                return record
            return record.model_copy(update={"hold": record.hold.model_copy(update={"settles": None})})

        self.last_seen = self.store.change_environment(change)

    def _beat(self) -> None:
        timing = self.settings.timing
        while not self._ended.wait(timing.heartbeat):
            try:
                self._prolong()
            except Refused as error:
                self._lost = str(error)
                return
            except PointsmanError:
                continue  # the next beat may get through; `check` watches the time that is left

    def _prolong(self) -> EnvironmentRecord:
        expiry = self.settings.timing.hold_expiry
        record = self.store.change_environment(
            lambda r: holding.beat(r, self.owner, self.fence, now(), expiry=expiry, stage=self.stage)
        )
        self.last_seen = record
        if self._heeds_stop and record.hold and record.hold.stop:
            self._stop = f"{record.hold.stop.by} asked it to: {record.hold.stop.reason}"
        return record

    def ensure_ours(self) -> EnvironmentRecord:
        """Prolong the hold and return the record: the last look before a side effect.

        AWS cannot compare our fencing number. The conditional write proves that the environment is ours now, and its
        new end outlasts the longest AWS call (settings refuse anything else), so no write of ours lands after it.
        """
        record = self._prolong()
        self.check()
        return record

    def last_look(self, *, homeward: bool = False) -> EnvironmentRecord:
        """Look as `ensure_ours` does; on the way home a record that cannot be written stops nothing while we hold."""
        try:
            return self.ensure_ours()
        except Refused:
            raise
        except PointsmanError:
            if not homeward:
                raise
            self.check()
            return self.last_seen

    def check(self) -> None:
        """Raise `Refused` if the hold was lost or somebody asked us to stop; costs nothing, for use in waits."""
        if self._lost:
            raise Refused(f"The hold on {self.environment} was lost", why=self._lost)
        hold = self.last_seen.hold
        if self.holds and hold is not None and holding.time_left(hold, now()) <= 0:
            raise Refused(
                f"The hold on {self.environment} ran out",
                why="the record could not be written for too long",
                do="Nothing more is written by this run; `reconcile` settles the environment.",
            )
        if self._stop:
            raise Refused(f"{self.version or 'The run'} was asked to stop", why=self._stop)

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

    def park(self, until: datetime) -> None:
        """Park the hold while no process works, until an approval's deadline."""
        self.stop_heartbeat()
        self.store.change_environment(lambda r: holding.park(r, self.owner, self.fence, until))
        self.holds = False

    def free(self) -> None:
        """Give the environment back, if it is still ours."""
        self.stop_heartbeat()
        self.last_seen = self.store.change_environment(lambda r: holding.free(r, self.owner, self.fence))
        self.holds = False

    def stop_heartbeat(self) -> None:
        """End the heartbeat without touching the record: for a process that is about to go."""
        self._ended.set()
        if self._heart is not None and self._heart is not threading.current_thread():
            self._heart.join(self.settings.timing.longest_call)


def _held(record: EnvironmentRecord, hold: Hold) -> Refused:
    holder = f"{hold.owner.flow} {hold.version or ''}".strip()
    return Refused(
        f"{record.environment} is held by {holder}",
        why=f"it is at {hold.stage}",
        do="Wait until it ends; if it died, `reconcile` settles it.",
    )
