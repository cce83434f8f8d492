"""One flow run's work on an environment that it holds: each step's intent and outcome in the record."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging import Logger, LoggerAdapter
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.client.schemas.objects import TaskRun
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused, Transient, redact
from core.record import (
    Attempt,
    Failure,
    Owner,
    State,
    StepRecord,
    VersionRecord,
)
from core.release import Configuration, Release
from core.settings import ACCOUNT
from core.version import Version
from systems.aws import AwsClients
from systems.records import RecordStore
from tasks.hold import HeldEnvironment, now

__all__ = ["Operation", "Step", "open_account", "open_records", "remove_scratch", "run_logger", "step_task"]

P = ParamSpec("P")
R = TypeVar("R")


def step_task(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Return the decorator of a step's task: never served from a cache, run again only after a `Transient` error.

    Its result is kept in memory alone, whatever Prefect is told: it may hold what a child process is given.
    """
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[1, 3],
        retry_condition_fn=_is_transient,
    )


def _is_transient(_task: Task[..., object], _run: TaskRun, state: PrefectState[object]) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)


def run_logger() -> Logger | LoggerAdapter[Logger]:
    """Return the run's log, or that of an operator's command, which is no run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("pointsman")


def open_records(environment: ReleaseEnvironment, aws: AwsClients) -> RecordStore:
    """Return the store of an environment's records."""
    settings = environment.settings
    return RecordStore(aws("s3"), settings.state_bucket, environment.stage, settings.aws_account_number)


def open_account(operation: Operation) -> Operation:
    """Return an operation, by the same process, on what all environments of the account share: its hold is its own."""
    settings = operation.settings
    store = RecordStore(operation.aws("s3"), settings.state_bucket, ACCOUNT, settings.aws_account_number)
    return Operation(operation.block, operation.aws, store, operation.owner)


class Step:
    """A step under way; what it says ends up in the record, the log and the summary."""

    def __init__(self, record: StepRecord) -> None:
        self.record = record
        self.skipped = False
        self.detail = ""

    def done(self, detail: str) -> None:
        """Say in a sentence what happened."""
        self.detail = detail

    def skip(self, reason: str) -> None:
        """Say why there was nothing to do."""
        self.skipped, self.detail = True, reason


class Operation(HeldEnvironment):
    """An environment in our hands. Made by `flows.boundary`; passed to every task that reads or changes it."""

    def __init__(self, block: ReleaseEnvironment, aws: AwsClients, store: RecordStore, owner: Owner) -> None:
        super().__init__(block, aws, store, owner)
        self.subject: str | None = None
        self.commit = ""
        self.steps: list[StepRecord] = []
        self._attempt: Attempt | None = None
        self.weights_at_start: Weights | None = None
        self.keeps_slot = False
        self.ending = False
        self._scratch: Path | None = None
        self._tracked = True
        self._steps_lock = threading.Lock()

    def forget(self) -> None:
        """Be about nothing any more, once somebody else's work has been settled."""
        self._attempt, self._tracked = None, True
        self.version, self.commit, self.steps, self.stage = None, "", [], "starting"
        self.keeps_slot = False

    def remember_weights(self) -> None:
        """Write what the listener carried before a first release, which is where it returns to."""
        self.weights_at_start = self.last_seen.weights
        if self.last_seen.live is None:
            self.store.change_environment(lambda r: r.model_copy(update={"weights_before": r.weights}))

    # --- the attempt

    def name_version(self, tag: str) -> Version:
        """Say which tag this run is about, before anything of it is known; return its version, or raise `Refused`."""
        self.subject = tag
        version = Version.parse(tag)
        self.version = version.tag
        self.stage = "checkout"
        return version

    @property
    def awaits_decision(self) -> bool:
        """Whether this attempt was prepared before, and only its approval was waited for."""
        return self.attempt.state is State.AWAITING_APPROVAL

    @property
    def attempt(self) -> Attempt:
        """The attempt's record as last written."""
        if self._attempt is None:
            raise Permanent("This run has no attempt", why="it is no release")
        return self._attempt

    @property
    def has_attempt(self) -> bool:
        """Whether this run is an attempt at a version, or takes one up again."""
        return self._attempt is not None

    @property
    def tracked(self) -> bool:
        """Whether the attempt is written into its version's history; a rollback's is not."""
        return self._tracked

    def begin_attempt(self, version: str, commit: str, colour: Colour) -> Attempt:
        """Write that an attempt begins, or take up the one that this very run began before it was suspended."""
        self.version, self.commit = version, commit
        fresh = Attempt(
            id=self.owner.attempt,
            flow_run_id=self.owner.flow_run_id,
            started_at=now(),
            colour=colour,
            steps=tuple(self.steps),
        )
        record = self.store.change_version(
            version, commit, lambda r: r if r.attempt(fresh.id) else _close_open(_known(r, commit)).with_attempt(fresh)
        )
        found = record.attempt(fresh.id)
        assert found is not None
        self._attempt = found
        self.steps = list(found.steps)
        return found

    def begin_rollback(self, release: Release, colour: Colour) -> None:
        """Take up a release that was healthy before. It is no attempt at a version, so no history is written."""
        self.version, self.commit = release.version, release.commit
        self._tracked = False
        self._attempt = Attempt(
            id=self.owner.attempt,
            flow_run_id=self.owner.flow_run_id,
            started_at=now(),
            release=release,
            colour=colour,
        )

    def note(self, **facts: object) -> None:
        """Write facts of the attempt, by its fields' names."""
        self._change_attempt(lambda a: a.model_copy(update=facts))

    def advance(self, to: State) -> None:
        """Move the attempt on; nothing where it is there already, or where a rollback has no states to go through."""
        if self._tracked:
            self._change_attempt(lambda a: a if a.state is to else a.moved(to))

    def _change_attempt(self, change: Callable[[Attempt], Attempt]) -> None:
        if not self._tracked:
            self._attempt = change(self.attempt)
            return
        attempt_id = self.attempt.id

        def change_record(record: VersionRecord) -> VersionRecord:
            current = record.attempt(attempt_id) or self.attempt
            return record.with_attempt(change(current))

        assert self.version is not None
        record = self.store.change_version(self.version, self.commit, change_record)
        self._attempt = record.attempt(attempt_id)

    def record_early_failure(self, state: State, step: str, reason: str) -> None:
        """Write an attempt that ended before the environment was ours: its tag was wrong, or it was refused."""
        assert self.version is not None
        failure = Failure(step=step, reason=reason)
        attempt = Attempt(
            id=self.owner.attempt,
            flow_run_id=self.owner.flow_run_id,
            started_at=now(),
            ended_at=now(),
            steps=tuple(self.steps),
            state=state,
            failure=failure,
        )

        def close(record: VersionRecord) -> VersionRecord:
            # A refusal says nothing about a release that is live, or that another run works on.
            settled = record.state is None or (record.state.ended and record.state is not State.HEALTHY)
            return record.with_attempt(attempt) if settled and not record.attempt(attempt.id) else record

        self.store.change_version(self.version, self.commit, close)

    def fix_release(self, image: str) -> Release:
        """Write which release this attempt is, now that its image is known; return it."""
        release = Release(
            version=self.attempt_version,
            commit=self.commit,
            image=image,
            configuration=Configuration.of(self.settings, self.infrastructure.secret_arns),
        )
        self.note(release=release)
        return release

    @property
    def attempt_version(self) -> str:
        """The tag of this attempt."""
        assert self.version is not None
        return self.version

    @property
    def release(self) -> Release:
        """The release of this attempt, known once its image is."""
        if self.attempt.release is None:
            raise Permanent("The release is not known yet", why="its image has not been built")
        return self.attempt.release

    @property
    def candidate(self) -> Colour:
        """The slot that this attempt may touch."""
        assert self.attempt.colour is not None
        return self.attempt.colour

    # --- steps

    @contextmanager
    def step(self, name: str, intent: str, *, writes: bool = True) -> Iterator[Step]:
        """A step: its intent in the record and the environment seen to be ours before, its outcome after.

        With `writes=False` the step changes nothing in the account, and the look at the hold is left out.
        """
        logger = get_run_logger()
        began = time.monotonic()
        step = Step(StepRecord(name=name, intent=intent, started_at=now()))
        self.stage = name
        if writes:
            self.ensure_ours()
        else:
            self.check()
        self._write_step(step.record, begin=True)
        logger.info("%s: %s", name, intent)
        try:
            yield step
        except BaseException as error:
            told = self._told(error, name)
            ended = self._ended_step(step, began, "failed", str(told) or type(told).__name__)
            with suppress(PointsmanError):  # the cause counts, not that it could not be written down
                self._write_step(ended, begin=False)
            if told is error:
                raise
            raise told from error
        ended = self._ended_step(step, began, "skipped" if step.skipped else "done", step.detail)
        self._write_step(ended, begin=False)
        logger.info("%s: %s (%.1f s)", name, step.detail or "done", ended.seconds or 0.0)

    def _told(self, error: BaseException, step: str) -> BaseException:
        """Return a step's error as it is told: what ran beside a step that failed was broken off, and is no cause."""
        if not isinstance(error, PointsmanError):
            return error
        told = Refused(f"{step} was broken off", why="another step had failed") if self.ending else error
        told.step = step
        return told

    def _ended_step(self, step: Step, began: float, outcome: str, detail: str) -> StepRecord:
        return step.record.model_copy(
            update={
                "seconds": round(time.monotonic() - began, 3),
                "outcome": outcome,
                "detail": redact(detail)[:1_000],
            }
        )

    def _write_step(self, record: StepRecord, *, begin: bool) -> None:
        with self._steps_lock:
            self.steps = [*(s for s in self.steps if s.name != record.name), record]
        if not self.has_attempt:
            return
        self._change_attempt(lambda a: a.begun(record) if begin else a.concluded(record))

    def scratch(self, name: str) -> Path:
        """Return a new folder of this run's, which goes with it."""
        if self._scratch is None:
            self._scratch = Path(mkdtemp(prefix=f"pointsman-{self.owner.attempt}-"))
        return Path(mkdtemp(prefix=f"{name}-", dir=self._scratch))

    def close(self) -> None:
        """End the heartbeat, and remove the run's folders."""
        self.stop_heartbeat()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def remove_scratch(run: str) -> None:
    """Remove the folders that a dead run left on this machine: its id, or that of one attempt."""
    for folder in Path(gettempdir()).glob(f"pointsman-{run}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _close_open(record: VersionRecord) -> VersionRecord:
    """Return the history with an attempt that never ended closed, since its run is known to be gone."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.state.ended:
        return record
    to = State.FAILED if last.state in (State.SHIFTING, State.BAKING) else State.ABORTED
    return record.with_attempt(last.moved(to).model_copy(update={"ended_at": now()}))


def _known(record: VersionRecord, commit: str) -> VersionRecord:
    """Return the history with its commit, where a first attempt failed before that was known."""
    return record if record.commit else record.model_copy(update={"commit": commit})
