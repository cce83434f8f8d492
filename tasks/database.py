"""The database, reached only by one-off tasks inside its network: asked first, migrated forward, and asked again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import Permanent, Refused
from core.history import State
from core.migration import MigrationFile, MigrationPlan, Reading, TableRow, digest_of, missing_in, plan_migrations
from core.migration import refuse_disagreement as refuse
from core.record import DatabaseReading, EnvironmentRecord
from core.version import Version
from core.words import counted
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.log import run_logger
from systems.migrations import engine_of
from systems.migrations.command import Command
from systems.migrations.engine import Expectation, MigrationEngine, TaskReport
from systems.one_off import OneOff, OneOffTask
from tasks.checkout import Checkout

__all__ = ["migrate_database"]

# Whatever calls the tool finds it in the image or fails: npm's `npx`, and `uv run`.
_FETCH_NOTHING = {"npm_config_yes": "false", "npm_config_update_notifier": "false", "UV_NO_SYNC": "1"}


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
    table does not say in the end that every migration is applied. A command without a table of ours is run, and what it
    and its status command exit with is the truth.
    """
    engine = engine_of(operation.settings)
    if engine is None:
        ended = skipped("migrations are disabled for this environment")
    elif isinstance(engine, Command):
        ended = _run_command(operation, engine, Wanted(source.version, source.migrations, newer_allowed))
    else:
        ended = _migrate(operation, engine, Wanted(source.version, source.migrations, newer_allowed))
    operation.journal.advance(State.MIGRATED)
    return ended


def _migrate(operation: Operation, engine: MigrationEngine, wanted: Wanted) -> Done[None]:
    database = Database(operation, engine, wanted.files, _remembered(operation.record, engine))
    asked = database.ask(_expected(operation.record, engine, wanted))
    before = database.read(asked)
    plan = _judge(operation, engine, wanted, database.interpret(before))
    if plan.pending and not asked.migrated:
        _raise_floor(operation, plan)
        asked = database.ask(Expectation(_digest(wanted.files), before.table_digest, judged=True))
    _see_applied(operation, engine, wanted, asked, database.interpret(database.end(asked)))
    head = database.interpret(before).head
    operation.journal.change(lambda a: a.migrated(head, plan.head, plan.names))
    says = f"according to its table the database is at {plan.head or 'no migration'}"
    if plan.pending:
        return done(f"{says}; {counted(len(plan.pending), 'migration')} applied")
    return skipped(f"{says}; nothing was pending")


def _run_command(operation: Operation, engine: Command, wanted: Wanted) -> Done[None]:
    """Run what migrates, on each release; which files are new is known from the record, and matters to floors alone."""
    plan = plan_migrations(wanted.files, wanted.version, operation.record)
    _raise_floor(operation, plan)
    command, status = operation.settings.migration.command, operation.settings.migration.status
    _run_to_success(operation, "migration", (), command)  # the definition's own
    if status:
        _run_to_success(operation, "status", status, status)
    reading = DatabaseReading(at=now(), table=digest_of(plan.names), engine=engine.name)
    operation.records.change_environment(lambda r: r.with_reading(plan.names, reading))
    before = next((name for name in reversed(plan.names) if name not in plan.pending), None)
    operation.journal.change(lambda a: a.migrated(before, plan.head, plan.names))
    return done(f"`{shlex.join(command)}` exited with 0{', and so did its status command' if status else ''}")


def _run_to_success(operation: Operation, what: str, override: Sequence[str], shown: Sequence[str]) -> None:
    logger = run_logger()

    def heard(line: str) -> bool:
        logger.info(line)
        return False

    task = OneOffTask(
        of=operation.candidate.migration,
        task_definition=_definition(operation),
        timeout=operation.settings.migration.timeout_seconds,
        command=override,
        environment=_FETCH_NOTHING,
    )
    ended = operation.one_offs.run(task, operation.owner.attempt, heard)
    if ended.exit_code == 0:
        return
    code = "did not start" if ended.exit_code is None else f"exited with {ended.exit_code}"
    output = " / ".join(ended.lines[-5:])
    raise Permanent(
        f"The {what} command of {operation.release.version} {code}: `{shlex.join(shown)}`",
        why="; ".join(part for part in (output, ended.reason) if part) or "the task logged nothing",
        do="Fix the cause, then release a new version; what the command did before it failed stays.",
    )


def _remembered(record: EnvironmentRecord, engine: MigrationEngine) -> tuple[str, ...]:
    return record.migrations if record.has_read_with(engine.name) else ()


def _expected(record: EnvironmentRecord, engine: MigrationEngine, wanted: Wanted) -> Expectation | None:
    """Return what lets the first task migrate at once: the table as it was read last, and no floor to raise before.

    What the tool itself would make of that table is asked before too: a task that migrates at once is judged too late.
    """
    if record.database is None or not record.has_read_with(engine.name):
        return None
    known = {file.name: file.checksum for file in wanted.files}
    rows = tuple(TableRow(name, known.get(name, ""), finished=True, rolled_back=False) for name in record.migrations)
    try:
        engine.refuse(wanted.files, Reading(image=None, rows=rows))
    except Refused:
        return None
    plan = plan_migrations(wanted.files, wanted.version, record, record.migrations)
    if not plan.pending or plan.raises_floor:
        return None
    return Expectation(_digest(wanted.files), record.database.table)


def _digest(files: tuple[MigrationFile, ...]) -> str:
    return digest_of([[file.name, file.checksum] for file in sorted(files, key=lambda file: file.name)])


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
    files: tuple[MigrationFile, ...]
    remembered: tuple[str, ...]

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
            task_definition=_definition(operation),
            timeout=operation.settings.migration.timeout_seconds,
            command=script.command,
            environment={**script.environment, **_FETCH_NOTHING},
            says_its_end=True,
        )
        ended = operation.one_offs.run(task, operation.owner.attempt, heard)
        lines = tuple(line for line in ended.lines if not script.speaks(line))
        asked = Asked(script.report(ended.lines), ended, lines)
        self._remember(asked.report)
        return asked

    def interpret(self, reading: Reading) -> Reading:
        """Return what the tool's rows mean: one for each migration, in the order of application."""
        return self.engine.interpret(reading, self.files, self.remembered)

    def read(self, asked: Asked) -> Reading:
        """Return what a task read before it did anything; raise `Permanent` where it could not read."""
        found = asked.report.before
        if found is None:
            output = asked.report.unreadable or " / ".join(asked.lines[-5:])
            raise Permanent(
                "Could not read which migrations the database has, so "
                f"{self.operation.release.version} was not migrated",
                why="; ".join(part for part in (output, asked.ended.reason) if part) or "the task logged nothing",
                do=f"{self.engine.needs}, and that the task can reach the database.",
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
        remembered = DatabaseReading(at=now(), table=reading.table_digest, engine=self.engine.name)
        applied = tuple(sorted(self.interpret(reading).applied))
        self.operation.records.change_environment(lambda r: r.with_reading(applied, remembered))


def _definition(operation: Operation) -> str:
    """Return the migration's definition that this release's apply put out, seen to run this release's image."""
    slot = operation.journal.attempt.slot
    if slot is None:
        raise Permanent(
            "The migration's task definition is unknown", why="the apply did not output one", do="Press Retry."
        )
    arn, release = slot.migration_task_definition_arn, operation.release
    image = operation.ecs.names(arn).image
    if image != release.image:
        raise Permanent(
            f"The task definition {arn.rpartition('/')[2]} would migrate with a different image",
            why=f"it runs {image}, and {release} is {release.image}",
            do="Press Retry; if this persists, find out who registered it.",
        )
    return arn


def _judge(operation: Operation, engine: MigrationEngine, wanted: Wanted, reading: Reading) -> MigrationPlan:
    refuse(wanted.files, reading, tool=engine.tool(operation.environment), newer_allowed=wanted.newer_allowed)
    engine.refuse(wanted.files, reading)
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
    tool = engine.tool(operation.environment)
    said = engine.failure(asked.lines) or " / ".join(asked.lines[-5:]) or asked.ended.reason
    if asked.exit_code == 0:
        said = f"the task reported success, but the table lacks {', '.join(missing)}; {said}".rstrip("; ")
    raise Permanent(
        f"The migration of {wanted.version} failed",
        why=said or f"the table lacks {', '.join(missing)}",
        do=tool.after_failure(reading.failed[0].name if reading.failed else None, missing[0]),
    )
