"""The database, reached only by one-off tasks inside its network: asked first, migrated forward, and asked again."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Permanent
from core.history import State
from core.migration import MigrationFile, MigrationPlan, Reading, digest_of, missing_in, plan_migrations
from core.migration import refuse_disagreement as refuse
from core.record import DatabaseReading, EnvironmentRecord
from core.version import Version
from core.words import counted
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.log import run_logger
from systems.migrations import engine_of
from systems.migrations.engine import Expectation, MigrationEngine, TaskReport
from systems.one_off import OneOff, OneOffTask
from tasks.checkout import Checkout

__all__ = ["migrate_database"]


@dataclass(frozen=True)
class Wanted:
    """The migrations that the database shall have, for which version."""

    version: Version
    files: tuple[MigrationFile, ...]
    newer_allowed: bool


@step("migrate", "migrate the database to {source.head}")
def migrate_database(operation: Operation, source: Checkout, newer_allowed: bool = False) -> Done[None]:
    """Bring the database to the release's migrations, by what its own table says before and after.

    A task of the release's own image reads the table and, where image and table are as expected, migrates at once; else
    what it read is judged first. Raises `Refused` where repository, image and table disagree, and `Permanent` where the
    table does not say in the end that every migration is applied.
    """
    engine = engine_of(operation.settings)
    if engine is None:
        ended = skipped("migrations are disabled for this environment")
    else:
        ended = _migrate(operation, engine, Wanted(source.version, source.migrations, newer_allowed))
    operation.journal.advance(State.MIGRATED)
    return ended


def _migrate(operation: Operation, engine: MigrationEngine, wanted: Wanted) -> Done[None]:
    database = Database(operation, engine)
    asked = database.ask(_expected(operation.record, wanted))
    before = database.read(asked)
    plan = _judge(operation, engine, wanted, before)
    if plan.pending and not asked.migrated:
        _raise_floor(operation, plan)
        asked = database.ask(Expectation(_digest(wanted.files), before.table_digest, judged=True))
    _see_applied(operation, engine, wanted, asked, database.end(asked))
    head = max(before.applied, default=None)
    operation.journal.change(lambda a: a.migrated(head, plan.head, plan.names))
    says = f"according to its table the database is at {plan.head or 'no migration'}"
    if plan.pending:
        return done(f"{says}; {counted(len(plan.pending), 'migration')} applied")
    return skipped(f"{says}; nothing was pending")


def _expected(record: EnvironmentRecord, wanted: Wanted) -> Expectation | None:
    """Return what lets the first task migrate at once: the table as it was read last, and no floor to raise before."""
    if record.database is None:
        return None
    plan = plan_migrations(wanted.files, wanted.version, record, record.migrations)
    if not plan.pending or plan.raises_floor:
        return None
    return Expectation(_digest(wanted.files), record.database.table)


def _digest(files: tuple[MigrationFile, ...]) -> str:
    return digest_of([[file.name, file.checksum] for file in files])


@dataclass(frozen=True)
class Asked:
    """What a task read and did, how it ended, and the lines that were not the script's own."""

    report: TaskReport
    ended: OneOff
    lines: tuple[str, ...]

    @property
    def migrated(self) -> bool:
        """Whether it ran the migration command."""
        return self.report.migrated

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, or the container's."""
        return self.report.exit_code if self.report.exit_code is not None else self.ended.exit_code


@dataclass(frozen=True)
class Database:
    """The environment's database as a release reaches it: by one-off tasks of its own image."""

    operation: Operation
    engine: MigrationEngine

    def ask(self, expected: Expectation | None) -> Asked:
        """Run the task; what it read is remembered, and not relied on while it may be changing."""
        operation, script = self.operation, self.engine.script(expected)
        if expected is not None:
            operation.records.change_environment(lambda r: r.with_unread_database())
        logger = run_logger()

        def heard(line: str) -> bool:
            if not script.speaks(line):
                logger.info(line)
            return script.ended(line)

        task = OneOffTask(
            of=operation.candidate.migration,
            task_definition=self._definition(),
            timeout=operation.settings.migration.timeout_seconds,
            command=script.command,
            environment=script.environment,
            says_its_end=True,
        )
        ended = operation.one_offs.run(task, operation.owner.attempt, heard)
        lines = tuple(line for line in ended.lines if not script.speaks(line))
        asked = Asked(script.report(ended.lines), ended, lines)
        self._remember(asked.report)
        return asked

    def _definition(self) -> str:
        """Return the migration's definition that this release's apply put out, seen to run this release's image."""
        slot = self.operation.journal.attempt.slot
        if slot is None:
            raise Permanent(
                "The migration's task definition is unknown", why="the apply did not output one", do="Press Retry."
            )
        arn, release = slot.migration_task_definition_arn, self.operation.release
        image = self.operation.ecs.names(arn).image
        if image != release.image:
            raise Permanent(
                f"The task definition {arn.rpartition('/')[2]} would migrate with a different image",
                why=f"it runs {image}, and {release} is {release.image}",
                do="Press Retry; if this persists, find out who registered it.",
            )
        return arn

    def read(self, asked: Asked) -> Reading:
        """Return what a task read before it did anything; raise `Permanent` where it could not read."""
        found = asked.report.before
        if found is None:
            output = asked.report.unreadable or " / ".join(asked.lines[-5:])
            raise Permanent(
                "Could not read which migrations the database has, so "
                f"{self.operation.release.version} was not migrated",
                why="; ".join(part for part in (output, asked.ended.reason) if part) or "the task logged nothing",
                do="Check that the image can run `node` and Prisma's CLI, and that the task can reach the database.",
            )
        return found

    def end(self, asked: Asked) -> Reading:
        """Return the table's last reading; a task that migrated and died before it read again is followed by one."""
        reading = asked.report.after if asked.migrated else asked.report.before
        return reading or self.read(self.ask(None))

    def _remember(self, report: TaskReport) -> None:
        """Write what was read last into the record; a task that migrated and did not read again leaves it unread."""
        reading = report.after if report.migrated else report.before
        if reading is None:
            return
        remembered = DatabaseReading(at=now(), table=reading.table_digest)
        applied = tuple(sorted(reading.applied))
        self.operation.records.change_environment(lambda r: r.with_reading(applied, remembered))


def _judge(operation: Operation, engine: MigrationEngine, wanted: Wanted, reading: Reading) -> MigrationPlan:
    repair = engine.repair_command(operation.environment)
    refuse(wanted.files, reading, repair=repair, newer_allowed=wanted.newer_allowed)
    return plan_migrations(wanted.files, wanted.version, operation.record, reading.applied)


def _raise_floor(operation: Operation, plan: MigrationPlan) -> None:
    """Write the floor before the schema changes: should this run die, no rollback goes below it."""
    floor = plan.floor
    if floor is None or not plan.raises_floor:
        return
    operation.records.change_environment(lambda r: r.with_floor(floor))
    operation.journal.change(lambda a: a.raising_floor(floor))


def _see_applied(operation: Operation, engine: MigrationEngine, wanted: Wanted, asked: Asked, reading: Reading) -> None:
    """Raise `Permanent` unless the table says that every migration is applied, whatever the exit code."""
    missing = missing_in(reading, wanted.files)
    if not missing:
        if asked.exit_code:
            run_logger().warning(
                "The migration task exited with %s, but the table has every migration", asked.exit_code
            )
        return
    repair = engine.repair_command(operation.environment)
    failed = reading.failed[0].name if reading.failed else None
    said = engine.failure(asked.lines) or " / ".join(asked.lines[-5:]) or asked.ended.reason
    if asked.exit_code == 0:
        said = f"the task reported success, but the table lacks {', '.join(missing)}; {said}".rstrip("; ")
    resolve = f"Record the result with `{repair} --rolled-back {failed}`" if failed else "Fix the cause"
    raise Permanent(
        f"The migration of {wanted.version} failed",
        why=said or f"the table lacks {', '.join(missing)}",
        do=f"{resolve}, then release a new version.",
    )
