"""The release record: what is live in an environment, what was, and who holds it; each transition has a name.

Two kinds of object in the state bucket: `releases/<environment>/environment.json`, small, says what is live and who
holds the environment; `releases/<environment>/<version>.json` is the history of one version.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field

from core.colour import Colour, Weights
from core.history import SlotOutputs
from core.release import Release
from core.stored import Stored
from core.version import Version

__all__ = [
    "CommandRun",
    "DatabaseReading",
    "EnvironmentRecord",
    "Frozen",
    "Infrastructure",
    "LeaseRecord",
    "Live",
    "NamedRelease",
    "Owner",
    "QueuedRelease",
    "RollbackIntent",
    "StopRequest",
]

HEALTHY_KEPT = 20
COMMANDS_KEPT = 50


class NamedRelease(Stored):
    """The release that a task definition names."""

    image: str
    version: str
    revision: str


class Live(Stored):
    """A release that baked healthy, and where."""

    release: Release
    colour: Colour
    since: datetime
    migrations: tuple[str, ...] = ()
    slot: SlotOutputs | None = Field(default=None, description="What its apply put out; unknown in older records.")
    adopted: str | None = Field(default=None, description="A foreign task definition that a human kept in its place.")

    @property
    def definition(self) -> str | None:
        """The task definition by which ECS knows it; None in a record that does not say."""
        return self.adopted or (self.slot.task_definition_arn if self.slot else None)

    def is_named(self, named: NamedRelease) -> bool:
        """Whether a task definition names this release, for records that know no definition."""
        return named == NamedRelease(
            image=self.release.image, version=self.release.version, revision=self.release.revision
        )

    def adopting(self, definition: str) -> Live:
        """Return it with a foreign task definition in its place, as a human decided."""
        own = self.slot is not None and self.slot.task_definition_arn == definition
        return self._with(adopted=None if own else definition)

    def moved_to(self, colour: Colour, since: datetime, slot: SlotOutputs | None) -> Live:
        """Return the release live in `colour` since then; without an apply of its own it keeps its definitions."""
        return self._with(colour=colour, since=since, slot=slot or self.slot)


class Owner(Stored):
    """The process that holds an environment."""

    flow: str
    flow_run_id: str
    attempt: str
    host: str = Field(description="Boot id of the machine, or the container's.")
    pid: int
    process_started: str = Field(description="The process's start time in clock ticks, since pids are reused.")


class StopRequest(Stored):
    """Somebody's wish that the holder stop."""

    by: str
    at: datetime
    reason: str


class LeaseRecord(Stored):
    """Who may change an environment, until when."""

    owner: Owner
    fencing_token: int
    version: str | None = None
    step: str = "starting"
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
    parked_until: datetime | None = Field(default=None, description="Set while a release waits for approval.")
    stop: StopRequest | None = None
    takes_over: LeaseRecord | None = Field(default=None, description="The dead holder's, while somebody cleans up.")

    def renewed(self, at: datetime, expires_at: datetime, step: str | None) -> LeaseRecord:
        """Return the lease as renewed, at the step that its holder is at."""
        return self._with(renewed_at=at, expires_at=expires_at, step=step or self.step)

    def parked(self, until: datetime) -> LeaseRecord:
        """Return the lease of a release that waits for its approval, and has no process meanwhile."""
        return self._with(parked_until=until, step="approve")

    def asked_to_stop(self, stop: StopRequest) -> LeaseRecord:
        """Return the lease with somebody's wish that its holder stop; the first wish stays."""
        return self if self.stop else self._with(stop=stop)

    def without_takeover(self) -> LeaseRecord:
        """Return the lease once what a dead holder left is cleaned up."""
        return self._with(takes_over=None)


class QueuedRelease(Stored):
    """A release that waits for its turn."""

    version: str
    flow_run_id: str
    queued_at: datetime
    seen_at: datetime

    def seen(self, at: datetime) -> QueuedRelease:
        """Return it as seen to be alive at that time."""
        return self._with(seen_at=at)

    def queued(self, at: datetime) -> QueuedRelease:
        """Return it as queued since then."""
        return self._with(queued_at=at)


class Frozen(Stored):
    """Why nobody may write weights."""

    reason: str
    observed: Weights
    expected: Weights | None
    at: datetime
    seen: str = Field(default="", description="What was seen, in words, where it is more than weights.")
    definition: str | None = Field(default=None, description="The foreign task definition of the live service.")


class DatabaseReading(Stored):
    """What the database's own migrations table said when it was read last."""

    at: datetime
    table: str = Field(description="Digest of its rows, which tells this state of it from any other.")
    engine: str = Field(default="prisma", description="The tool whose table that was; its names are the record's.")


class CommandRun(Stored):
    """A command that an operator ran as a one-off task."""

    at: datetime
    by: str
    version: str
    command: str
    exit_code: int | None = Field(default=None, description="None while it runs, or where its end was not seen.")

    def ended(self, exit_code: int | None) -> CommandRun:
        """Return the entry with the command's exit code."""
        return self._with(exit_code=exit_code)


class RollbackIntent(Stored):
    """A rollback's target, written before weights move so that it can be completed."""

    target: Live
    leaving: Live
    named: bool = Field(default=False, description="Whether a human named the target.")
    slot: SlotOutputs | None = Field(default=None, description="What a cold start's apply put out.")
    flow_run_id: str
    at: datetime

    @property
    def target_as_started(self) -> Live:
        """The target, known by the task definition that a cold start registered for it."""
        return self.target._with(slot=self.slot) if self.slot else self.target


class Infrastructure(Stored):
    """What `provision` made and a release needs: outputs of the roots `account` and `environment`."""

    ecr_repository_url: str
    alb_dns_name: str
    production_listener_arn: str
    http_forward_listener_arn: str | None = Field(default=None, description="Port 80, while HTTPS is being set up.")
    test_listener_arns: dict[Colour, str]
    target_group_arns: dict[Colour, str]
    cluster_arn: str
    private_subnet_ids: tuple[str, ...]
    task_security_group_id: str
    execution_role_arn: str
    task_role_arn: str
    log_group_name: str
    secret_arns: dict[str, str] = Field(default={}, description="ARN of each secret by its name, or by its ARN.")
    parameter_arns: dict[str, str] = Field(default={}, description="ARN of each parameter of SSM, by what names it.")

    @property
    def secret_sources(self) -> dict[str, str]:
        """The ARN of all that tasks may read, by the references' sources."""
        return {**self.secret_arns, **{f"parameter {name}": arn for name, arn in self.parameter_arns.items()}}

    @property
    def repository(self) -> str:
        """The name of the image repository that releases push to."""
        return self.ecr_repository_url.partition("/")[2]


class EnvironmentRecord(Stored):
    """What is live in an environment, what was, and who holds it."""

    record_schema: Literal[2] = Field(default=2, alias="schema")
    nonce: str = ""
    environment: str
    infrastructure: Infrastructure | None = None
    live: Live | None = None
    healthy: tuple[Live, ...] = Field(default=(), description="Releases that were live before, newest last.")
    rolled_back: tuple[str, ...] = Field(default=(), description="Revisions rolled back from: no target unless named.")
    rollback_floor: str | None = None
    migrations: tuple[str, ...] = Field(default=(), description="Migrations that the database's table had as applied.")
    database: DatabaseReading | None = Field(default=None, description="When that was read; None: not to be relied on.")
    commands: tuple[CommandRun, ...] = Field(default=(), description="What operators ran, newest last.")
    weights: Weights | None = Field(default=None, description="What we last wrote to the production listener.")
    weights_intent: Weights | None = Field(default=None, description="What we were about to write.")
    weights_before: Weights | None = Field(default=None, description="What a first release found.")
    weights_since: datetime | None = Field(default=None, description="When the listener was written last.")
    rollback: RollbackIntent | None = None
    frozen: Frozen | None = None
    lease: LeaseRecord | None = None
    fencing_token: int = 0
    queue: tuple[QueuedRelease, ...] = ()
    destroying: datetime | None = Field(default=None, description="Since when its infrastructure is being destroyed.")
    last_failure: str | None = None
    last_failed: str | None = Field(default=None, description="The version that failed last, since one went live.")

    def gone_live(self, live: Live) -> EnvironmentRecord:
        """Return the record with `live` in place of what was live, which becomes a rollback target."""
        # What a human adopted is not a release that could be started or recognised again, so no target either.
        before = (*self.healthy, self.live) if self.live and not self.live.adopted else self.healthy
        kept = tuple(h for h in before if h.release.revision != live.release.revision)[-HEALTHY_KEPT:]
        return self._with(
            live=live,
            healthy=kept,
            rolled_back=tuple(r for r in self.rolled_back if r != live.release.revision),
            rollback=None,
            last_failure=None,
            last_failed=None,
        )

    def gone_back(self, live: Live, *, named: bool = False) -> EnvironmentRecord:
        """Return the record after a rollback to `live`; its intent stays until the versions' histories say so too.

        What was left is no longer a target unless named; only a step forward that a person named keeps it one.
        """
        left = self.live.release if self.live else None
        gone = self.gone_live(live)._with(rollback=self.rollback)
        if left is None or (named and left.semver < live.release.semver):
            return gone
        behind = (*(r for r in gone.rolled_back if r != left.revision), left.revision)
        return gone._with(rolled_back=behind)

    def is_live(self, release: Release) -> bool:
        """Whether a release is live by the record."""
        return self.live is not None and self.live.release.revision == release.revision

    @property
    def went_back(self) -> bool:
        """Whether the target of a rollback is live by the record, so that only histories are behind."""
        return self.rollback is not None and self.is_live(self.rollback.target.release)

    def provisioned(self, infrastructure: Infrastructure, initial: Weights) -> EnvironmentRecord:
        """Return the record with what `provision` made; `initial` is what a new listener carries."""
        return self._with(infrastructure=infrastructure, weights=self.weights or initial, destroying=None)

    def being_destroyed(self, since: datetime) -> EnvironmentRecord:
        """Return the record of an environment that serves nothing from now on, though much of it may still stand."""
        return self._with(destroying=self.destroying or since, frozen=None, rollback=None)

    def destroyed(self) -> EnvironmentRecord:
        """Return the record once nothing of it stands: what was live was, and what the database has is to be read."""
        was = (*self.healthy, self.live) if self.live and not self.live.adopted else self.healthy
        nothing = dict.fromkeys(
            ("infrastructure", "live", "weights", "weights_intent", "weights_before", "weights_since", "destroying")
        )
        return self._with(**nothing, healthy=was[-HEALTHY_KEPT:], frozen=None, rollback=None, database=None)

    def beginning_first_release(self) -> EnvironmentRecord:
        """Return the record with what the listener carried before anything was live, which is where it returns to."""
        return self if self.live else self._with(weights_before=self.weights)

    def rolling_back(self, intent: RollbackIntent) -> EnvironmentRecord:
        """Return the record with a rollback's target, before anything moves."""
        return self._with(rollback=intent)

    def without_rollback(self) -> EnvironmentRecord:
        """Return the record whose rollback is completed, or given up."""
        return self._with(rollback=None)

    def leased(self, lease: LeaseRecord | None) -> EnvironmentRecord:
        """Return the record with that lease, and no fencing token below its own."""
        token = max(self.fencing_token, lease.fencing_token if lease else 0)
        return self._with(lease=lease, fencing_token=token)

    def queueing(self, queue: Iterable[QueuedRelease]) -> EnvironmentRecord:
        """Return the record with that queue."""
        return self._with(queue=tuple(queue))

    def with_reading(self, applied: tuple[str, ...], reading: DatabaseReading) -> EnvironmentRecord:
        """Return the record with what the database's table says."""
        return self._with(migrations=applied, database=reading)

    def has_read_with(self, engine: str) -> bool:
        """Whether what the record says of the database was read with that tool, and may be relied on."""
        return self.database is not None and self.database.engine == engine

    def with_unread_database(self) -> EnvironmentRecord:
        """Return the record for which the table has to be read before anything is believed of it."""
        return self._with(database=None)

    def with_floor(self, floor: Version) -> EnvironmentRecord:
        """Return the record with a rollback floor at least that high."""
        high = self.rollback_floor is not None and Version.parse(self.rollback_floor) >= floor
        return self if high else self._with(rollback_floor=floor.tag)

    def with_failure(self, version: str, sentence: str) -> EnvironmentRecord:
        """Return the record with why the last attempt failed."""
        return self._with(last_failure=sentence, last_failed=version)

    def with_command(self, run: CommandRun) -> EnvironmentRecord:
        """Return the record with a command that an operator began to run, or with its end in place of its begin."""
        others = tuple(c for c in self.commands if (c.at, c.by) != (run.at, run.by))
        return self._with(commands=(*others, run)[-COMMANDS_KEPT:])

    def images_needed(self, since: datetime) -> frozenset[str]:
        """Return the digests of what is live and of what was live at any moment since then."""
        line = (*self.healthy, self.live) if self.live else self.healthy
        left = (*(after.since for after in line[1:]), None)
        return frozenset(
            one.release.image_digest for one, at in zip(line, left, strict=False) if at is None or at >= since
        )

    def intending(self, to: Weights) -> EnvironmentRecord:
        """Return the record before the listener is written."""
        return self._with(weights_intent=to)

    def carrying(self, weights: Weights, *, since: datetime | None = None) -> EnvironmentRecord:
        """Return the record once the listener carries `weights`; `since` if it was written just then."""
        return self._with(weights=weights, weights_intent=None, weights_since=since or self.weights_since)

    def frozen_by(self, frozen: Frozen) -> EnvironmentRecord:
        """Return the record in which nobody may write weights."""
        return self._with(frozen=frozen)

    def unfrozen(self, observed: Weights, live: Live | None) -> EnvironmentRecord:
        """Return the record after a human's answer: `live` runs, and the weights seen are no longer foreign."""
        same = self.live is not None and live is not None and live.release == self.live.release
        gone = self.gone_live(live) if live is not None and not same else self._with(live=live)
        return gone.carrying(observed)._with(frozen=None, rollback=None)

    def restored(self, fencing_token: int) -> EnvironmentRecord:
        """Return an earlier record as the present one: nobody holds it, and no token of a former holder is valid.

        What the database's table says is read again before it is believed.
        """
        token = max(self.fencing_token, fencing_token)
        return self._with(lease=None, queue=(), fencing_token=token, database=None)

    def starting_target(self, slot: SlotOutputs) -> EnvironmentRecord:
        """Return the record in which a rollback's target is known by the definition that was registered for it."""
        started = self.rollback._with(slot=slot) if self.rollback else None
        return self._with(rollback=started)

    def ours(self, observed: Weights) -> bool:
        """Whether weights seen on the listener are ones that we wrote, were about to write, or the live colour's."""
        home = Weights.all_on(self.live.colour) if self.live else None
        return observed in (self.weights, self.weights_intent, home)
