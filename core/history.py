"""The history of one version in one environment, `releases/<environment>/<version>.json`: its attempts, legal moves."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from core.colour import Colour
from core.errors import Permanent
from core.image import PushedImage
from core.release import Release
from core.stored import Stored
from core.version import Version

__all__ = [
    "LEGAL_MOVES",
    "Attempt",
    "Failure",
    "SlotOutputs",
    "State",
    "StepOutcome",
    "StepRecord",
    "VersionRecord",
    "move",
]


class State(StrEnum):
    """How far an attempt at a version has got."""

    BUILDING = "BUILDING"
    PLANNED = "PLANNED"
    APPLIED = "APPLIED"
    MIGRATED = "MIGRATED"
    RUNNING = "RUNNING"
    VERIFIED = "VERIFIED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    SHIFTING = "SHIFTING"
    BAKING = "BAKING"
    HEALTHY = "HEALTHY"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    SUPERSEDED = "SUPERSEDED"
    ABORTED = "ABORTED"

    @property
    def ended(self) -> bool:
        """Whether nothing of the attempt is in flight any more."""
        return self in _ENDED


_ENDED = frozenset({State.HEALTHY, State.FAILED, State.ROLLED_BACK, State.SUPERSEDED, State.ABORTED})


_UNDONE = {State.FAILED, State.ABORTED, State.SUPERSEDED}


LEGAL_MOVES: dict[State, frozenset[State]] = {
    State.BUILDING: frozenset({State.PLANNED, *_UNDONE}),
    State.PLANNED: frozenset({State.APPLIED, *_UNDONE}),
    State.APPLIED: frozenset({State.MIGRATED, *_UNDONE}),
    State.MIGRATED: frozenset({State.RUNNING, *_UNDONE}),
    State.RUNNING: frozenset({State.VERIFIED, *_UNDONE}),
    State.VERIFIED: frozenset({State.AWAITING_APPROVAL, State.SHIFTING, *_UNDONE}),
    State.AWAITING_APPROVAL: frozenset({State.SHIFTING, *_UNDONE}),
    State.SHIFTING: frozenset({State.BAKING, State.FAILED, State.ABORTED}),
    State.BAKING: frozenset({State.HEALTHY, State.FAILED, State.ABORTED}),
    # from here on a new attempt begins, or a rollback leaves or reaches the version
    State.HEALTHY: frozenset({State.BUILDING, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset({State.BUILDING, State.HEALTHY}),
    State.FAILED: frozenset({State.BUILDING}),
    State.ABORTED: frozenset({State.BUILDING}),
    State.SUPERSEDED: frozenset({State.BUILDING}),
}


def move(current: State, to: State) -> State:
    """Return `to` if the table allows the move from `current`; raise `Permanent` otherwise."""
    if to not in LEGAL_MOVES[current]:
        allowed = ", ".join(sorted(LEGAL_MOVES[current]))
        raise Permanent(f"A release cannot move from {current} to {to}", why=f"from {current} it can go to {allowed}")
    return to


StepOutcome = Literal["done", "skipped", "failed"]


class StepRecord(Stored):
    """One step of an attempt: its intent before, its outcome after."""

    name: str
    intent: str
    started_at: datetime
    seconds: float | None = Field(default=None, description="Wall time, once the step has ended.")
    outcome: StepOutcome | None = None
    detail: str = ""

    def ended(self, outcome: StepOutcome, detail: str, seconds: float) -> StepRecord:
        """Return the step with its outcome and its wall time in seconds; a detail is cut at 1,000 characters."""
        return self._with(outcome=outcome, detail=detail[:1_000], seconds=round(seconds, 3))


class Failure(Stored):
    """Why an attempt ended without being healthy."""

    step: str
    reason: str
    remains: str = Field(default="", description="What is left in the account.")


class SlotOutputs(Stored):
    """What an apply of the slot root put out: the definitions by which ECS knows the release."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service_name: str
    task_definition_arn: str
    migration_task_definition_arn: str


class Attempt(Stored):
    """One try at one version."""

    id: str
    flow_run_id: str
    started_at: datetime
    ended_at: datetime | None = None
    state: State = State.BUILDING
    release: Release | None = None
    colour: Colour | None = None
    plan_sha256: str | None = None
    state_version_before: str | None = Field(default=None, description="S3 version id of the slot's state.")
    state_version_after: str | None = None
    slot: SlotOutputs | None = Field(default=None, description="What the apply put out; empty before it.")
    migrations: tuple[str, ...] = ()
    schema_head_before: str | None = None
    schema_head_after: str | None = None
    rollback_floor: str | None = None
    steps: tuple[StepRecord, ...] = ()
    verdicts: tuple[str, ...] = ()
    tasks: int | None = Field(default=None, description="How many tasks were started, tested and approved.")
    approver: str | None = None
    failure: Failure | None = None

    def moved(self, to: State) -> Attempt:
        """Return the attempt in state `to`; raise `Permanent` if that is not a legal move."""
        return self._with(state=move(self.state, to))

    def reached(self, step: str) -> bool:
        """Whether a step of that name began, however it ended."""
        return any(s.name == step for s in self.steps)

    @property
    def open_step(self) -> str | None:
        """The step that began last and never ended."""
        return next((s.name for s in reversed(self.steps) if s.outcome is None), None)

    def pinned(self, release: Release) -> Attempt:
        """Return the attempt with the release that it is, once its image is known."""
        return self._with(release=release)

    def planned(self, plan_sha256: str, state_version: str | None) -> Attempt:
        """Return the attempt with its plan, and the S3 version id of the state that was planned on."""
        return self._with(plan_sha256=plan_sha256, state_version_before=state_version)

    def applied(self, slot: SlotOutputs, state_version: str | None) -> Attempt:
        """Return the attempt with what its apply put out, and the S3 version id of the state that it wrote."""
        return self._with(slot=slot, state_version_after=state_version)

    def started_as(self, slot: SlotOutputs) -> Attempt:
        """Return the attempt with what an earlier apply of its release put out."""
        return self._with(slot=slot)

    def migrated(self, before: str | None, after: str | None, names: tuple[str, ...]) -> Attempt:
        """Return the attempt with the table's head before and after, and all migrations that its release has."""
        return self._with(schema_head_before=before, schema_head_after=after, migrations=names)

    def raising_floor(self, floor: Version) -> Attempt:
        """Return the attempt with the rollback floor that its migrations set."""
        return self._with(rollback_floor=floor.tag)

    def started(self, tasks: int) -> Attempt:
        """Return the attempt with the number of tasks that were started, which is what is tested and approved."""
        return self._with(tasks=tasks)

    def judged(self, verdicts: tuple[str, ...]) -> Attempt:
        """Return the attempt with the verdicts of its smoke test."""
        return self._with(verdicts=verdicts)

    def approved_by(self, name: str) -> Attempt:
        """Return the attempt with who decided on it, as typed."""
        return self._with(approver=name)

    def ended(self, at: datetime) -> Attempt:
        """Return the attempt with the time of its end."""
        return self._with(ended_at=at)

    def failed(self, state: State, failure: Failure, at: datetime) -> Attempt:
        """Return the attempt ended in `state` for a reason; the state of one that has ended already stays."""
        ended = self if self.state.ended else self.moved(state)
        return ended._with(ended_at=at, failure=failure)

    def became_healthy(self, at: datetime) -> Attempt:
        """Return the attempt whose release is live by the environment's record."""
        return self.moved(State.HEALTHY)._with(ended_at=at)

    def begun(self, step: StepRecord) -> Attempt:
        """Return the attempt with the step's intent written."""
        kept = tuple(s for s in self.steps if s.name != step.name)
        return self._with(steps=(*kept, step))

    def concluded(self, step: StepRecord) -> Attempt:
        """Return the attempt with the step's outcome in place of its intent."""
        return self._with(steps=tuple(step if s.name == step.name else s for s in self.steps))


IMAGES_KEPT = 50


class VersionRecord(Stored):
    """The history of one version in one environment."""

    record_schema: Literal[2] = Field(default=2, alias="schema")
    nonce: str = ""
    environment: str
    version: str
    commit: str
    attempts: tuple[Attempt, ...] = ()
    images: tuple[PushedImage, ...] = Field(default=(), description="What this environment pushed of it, newest last.")

    def about_to_push(self, image: PushedImage) -> VersionRecord:
        """Return the record with the intent to push an image, unless the very same one was pushed before."""
        if any((i.tag, i.inputs, i.built) == (image.tag, image.inputs, image.built) for i in self.images):
            return self
        return self._with(images=(*self.images, image)[-IMAGES_KEPT:])

    def pushed(self, image: PushedImage, digest: str) -> VersionRecord:
        """Return the record with the digest by which the registry holds an image whose intent is in it."""
        same = (image.tag, image.inputs, image.built)
        named = tuple(i.held_as(digest) if (i.tag, i.inputs, i.built) == same else i for i in self.images)
        return self._with(images=named)

    def at_commit(self, commit: str) -> VersionRecord:
        """Return the history with its commit, where a first attempt failed before that was known."""
        return self if self.commit else self._with(commit=commit)

    def closing_the_last(self, at: datetime) -> VersionRecord:
        """Return the history with an attempt that never ended closed, since its run is known to be gone."""
        last = self.attempts[-1] if self.attempts else None
        if last is None or last.state.ended:
            return self
        to = State.FAILED if last.state in (State.SHIFTING, State.BAKING) else State.ABORTED
        return self.with_attempt(last.moved(to).ended(at))

    def with_early_failure(self, attempt: Attempt, commit: str) -> VersionRecord:
        """Return the history with an attempt that ended before the environment was its own.

        Nothing where the version is live, or another run works on it: of these a refusal says nothing.
        """
        told = self.state is None or (self.state.ended and self.state is not State.HEALTHY)
        return self.at_commit(commit).with_attempt(attempt) if told and not self.attempt(attempt.id) else self

    @property
    def state(self) -> State | None:
        """The last attempt's state."""
        return self.attempts[-1].state if self.attempts else None

    def attempt(self, attempt_id: str) -> Attempt | None:
        """Return one attempt by its id."""
        return next((a for a in self.attempts if a.id == attempt_id), None)

    @property
    def last_applied(self) -> Attempt | None:
        """The newest attempt that got so far that task definitions of it are registered."""
        return next((a for a in reversed(self.attempts) if a.slot is not None), None)

    def with_attempt(self, attempt: Attempt) -> VersionRecord:
        """Return the record with `attempt` replaced, or begun; a begun one must be a legal move from the last."""
        if self.attempt(attempt.id):
            known = self.attempt(attempt.id)
            if known is not None and known.state is not attempt.state:
                move(known.state, attempt.state)
            changed = tuple(attempt if a.id == attempt.id else a for a in self.attempts)
            return self._with(attempts=changed)
        if self.state is not None:
            move(self.state, State.BUILDING)
        return self._with(attempts=(*self.attempts, attempt))
