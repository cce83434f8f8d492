"""A run's journal: each step's intent before and its outcome after, where the attempt keeps them, and its observers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused, redact
from core.history import Attempt, Failure, State, StepOutcome, StepRecord, VersionRecord
from core.record import Owner
from core.release import Release
from core.tag_pattern import ANY_VERSION, TagPattern
from core.version import Version
from operation.lease import Lease, now
from systems.log import run_logger
from systems.records import RecordStore

__all__ = ["EndedAttempt", "Entry", "HistoryEntry", "Journal", "Observer", "RollbackEntry", "Step"]


class Step:
    """A step under way; what it says ends up in the record, the log and the summary."""

    def __init__(self, record: StepRecord) -> None:
        self.record = record
        self.outcome: StepOutcome = "done"
        self.detail = ""

    def done(self, detail: str) -> None:
        """Say in a sentence what happened."""
        self.outcome, self.detail = "done", detail

    def skip(self, reason: str) -> None:
        """Say why there was nothing to do."""
        self.outcome, self.detail = "skipped", reason


class Entry(Protocol):
    """Where an attempt is kept."""

    version: str
    commit: str

    @property
    def attempt(self) -> Attempt:
        """The attempt as it was written last."""

    @property
    def keeps_slot(self) -> bool:
        """Whether the slot stays as it is if the run ends badly."""

    def change(self, change: Callable[[Attempt], Attempt]) -> None:
        """Apply a transition to the attempt and write it."""

    def advance(self, to: State) -> None:
        """Move the attempt on; nothing where it is already there."""


class HistoryEntry:
    """A release's attempt, kept in the history of its version."""

    keeps_slot = False

    def __init__(self, records: RecordStore, version: str, commit: str, attempt: Attempt) -> None:
        self._records, self.version, self.commit = records, version, commit
        self._attempt = attempt

    @property
    def attempt(self) -> Attempt:
        """The attempt as it was written last."""
        return self._attempt

    def change(self, change: Callable[[Attempt], Attempt]) -> None:
        """Apply a transition to the attempt in its version's history."""

        def change_history(history: VersionRecord) -> VersionRecord:
            return history.with_attempt(change(history.attempt(self._attempt.id) or self._attempt))

        history = self._records.change_version(self.version, self.commit, change_history)
        self._attempt = history.attempt(self._attempt.id) or self._attempt

    def advance(self, to: State) -> None:
        """Move the attempt on; nothing where it is already there."""
        self.change(lambda a: a if a.state is to else a.moved(to))


@dataclass
class RollbackEntry:
    """A release that was healthy before and is returned to: no attempt at a version, so no history is written.

    In the environment's record its intent represents it (`RollbackIntent`).
    """

    version: str
    commit: str
    attempt: Attempt
    keeps_slot: bool = False

    def change(self, change: Callable[[Attempt], Attempt]) -> None:
        """Apply a transition in this process alone."""
        self.attempt = change(self.attempt)

    def advance(self, to: State) -> None:
        """Do nothing: a rollback has no states to go through."""


@dataclass(frozen=True)
class EndedAttempt:
    """What an observer learns of an attempt that ended."""

    environment: str
    version: str
    commit: str
    attempt: Attempt
    steps: tuple[StepRecord, ...] = field(default=())


class Observer(Protocol):
    """Learns how attempts end, from whoever ends them: their own run, or the one that takes over."""

    def attempt_ended(self, ended: EndedAttempt) -> None:
        """Hear of the end of an attempt."""


class Journal:
    """What one operation is about and what it does; written into an attempt as soon as there is one."""

    def __init__(self, owner: Owner, records: RecordStore, lease: Lease, observers: Sequence[Observer] = ()) -> None:
        self._owner, self._records, self._lease, self._observers = owner, records, lease, tuple(observers)
        self.subject: str | None = None
        """What the run was asked for, as it was written: it may be no version."""
        self._named: str | None = None
        self.entry: Entry | None = None
        self.ending = False
        self._steps: tuple[StepRecord, ...] = ()
        self._lock = threading.Lock()  # `terraform init` runs beside the build

    # --- what it is about

    def name_version(self, tag: str, pattern: TagPattern = ANY_VERSION) -> Version:
        """Say which tag this run is about, before anything of it is known; return its version, or raise `Refused`."""
        self.subject = tag
        version = pattern.version_of(tag)
        self._named = version.tag
        self._lease.step = "checkout"
        return version

    @property
    def attempt(self) -> Attempt:
        """The attempt as it was written last; raises `Permanent` where this run has none."""
        if self.entry is None:
            raise Permanent("This run has no attempt", why="it is not a release")
        return self.entry.attempt

    @property
    def is_rollback(self) -> bool:
        """Whether a rollback is written here."""
        return isinstance(self.entry, RollbackEntry)

    @property
    def version(self) -> str | None:
        """The tag of the version that this run is about, if it is about one."""
        return self.entry.version if self.entry else self._named

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The steps so far, those of this attempt's earlier processes among them."""
        return self._steps

    def begin_attempt(self, version: str, commit: str, colour: Colour) -> Attempt:
        """Write that an attempt begins, or take up the one that this very run began before it was suspended."""
        fresh = Attempt(
            id=self._owner.attempt,
            flow_run_id=self._owner.flow_run_id,
            started_at=now(),
            colour=colour,
            steps=self._steps,
        )

        def begin(history: VersionRecord) -> VersionRecord:
            if history.attempt(fresh.id):
                return history
            return history.at_commit(commit).closing_the_last(now()).with_attempt(fresh)

        history = self._records.change_version(version, commit, begin)
        return self.take_up(version, commit, history.attempt(fresh.id) or fresh)

    def take_up(self, version: str, commit: str, attempt: Attempt) -> Attempt:
        """Go on with an attempt whose history is written already; return it."""
        self.subject, self.entry = version, HistoryEntry(self._records, version, commit, attempt)
        self._steps = attempt.steps
        return attempt

    def begin_rollback(self, release: Release, colour: Colour) -> None:
        """Take up a release that was healthy before."""
        attempt = Attempt(
            id=self._owner.attempt,
            flow_run_id=self._owner.flow_run_id,
            started_at=now(),
            release=release,
            colour=colour,
        )
        self.subject = release.version
        self.entry = RollbackEntry(release.version, release.commit, attempt)

    def keep_slot(self) -> None:
        """Leave the slot of a rollback as it is if the run ends badly: it ran before."""
        if isinstance(self.entry, RollbackEntry):
            self.entry.keeps_slot = True

    def change(self, change: Callable[[Attempt], Attempt]) -> None:
        """Apply a transition to the attempt."""
        if self.entry is None:
            raise Permanent("This run has no attempt", why="it is not a release")
        self.entry.change(change)

    def advance(self, to: State) -> None:
        """Move the attempt on; nothing where it is already there, or where a rollback has no states to go through."""
        if self.entry is None:
            raise Permanent("This run has no attempt", why="it is not a release")
        self.entry.advance(to)

    def record_early_failure(self, version: str, commit: str, state: State, failure: Failure) -> None:
        """Write an attempt that ended before the environment was ours: its tag was wrong, or it was refused."""
        attempt = Attempt(
            id=self._owner.attempt,
            flow_run_id=self._owner.flow_run_id,
            started_at=now(),
            ended_at=now(),
            steps=self._steps,
            state=state,
            failure=failure,
        )
        self._records.change_version(version, commit, lambda h: h.with_early_failure(attempt, commit))

    # --- steps

    @contextmanager
    def step(
        self, name: str, intent: str, *, writes: bool = True, tolerate_unwritten_record: bool = False
    ) -> Iterator[Step]:
        """A step: its intent in the record and the environment seen to be ours before, its outcome after.

        With `writes=False` the step changes nothing in the account, and the renewal of the lease is left out. With
        `tolerate_unwritten_record`, which is for traffic that goes home, nothing waits for the record.
        """
        logger = run_logger()
        began, cleans_up = time.monotonic(), self.ending
        step = Step(StepRecord(name=name, intent=intent, started_at=now()))
        self._lease.step = name
        if writes:
            self._lease.assert_held(tolerate_unwritten_record=tolerate_unwritten_record)
        else:
            self._lease.check()
        unwritten = (PointsmanError,) if tolerate_unwritten_record else ()
        with suppress(*unwritten):
            self._write(step.record, begin=True)
        logger.info("%s: %s", name, intent)
        try:
            yield step
        except BaseException as error:
            raised = self._as_raised(error, name, interrupted=self.ending and not cleans_up)
            failed = step.record.ended("failed", redact(str(raised) or type(raised).__name__), time.monotonic() - began)
            with suppress(PointsmanError):  # the cause counts, not that it could not be written down
                self._write(failed, begin=False)
            if raised is error:
                raise
            raise raised from error
        ended = step.record.ended(step.outcome, redact(step.detail), time.monotonic() - began)
        with suppress(*unwritten):
            self._write(ended, begin=False)
        logger.info("%s: %s (%.1f s)", name, step.detail or "done", ended.seconds or 0.0)

    def _as_raised(self, error: BaseException, step: str, *, interrupted: bool) -> BaseException:
        """Return a step's error as it leaves: what ran beside a failed step was interrupted, and is not a cause."""
        if not isinstance(error, PointsmanError):
            return error
        raised = Refused(f"{step} was interrupted", why="another step failed") if interrupted else error
        raised.step = step
        return raised

    def _write(self, record: StepRecord, *, begin: bool) -> None:
        with self._lock:
            self._steps = (*(s for s in self._steps if s.name != record.name), record)
        if self.entry is not None:
            self.entry.change(lambda a: a.begun(record) if begin else a.concluded(record))

    # --- observers

    def tell_ended(self) -> None:
        """Tell the observers how the attempt ended; whatever one of them meets, the attempt is what it is."""
        if self.entry is None:
            return
        ended = EndedAttempt(
            self._records.environment_name, self.entry.version, self.entry.commit, self.entry.attempt, self._steps
        )
        for observer in self._observers:
            try:
                observer.attempt_ended(ended)
            except Exception:  # noqa: BLE001 - a boundary: no observer decides about a release
                run_logger().exception("An observer failed at the end of %s", ended.version)
