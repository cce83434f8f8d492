"""The database, reached only by one-off tasks inside its network: asked first, migrated forward, and asked again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.errors import Permanent
from core.migration import MigrationFile, MigrationPlan, Reading, digest_of, missing_in, plan_migrations
from core.migration import refuse_disagreement as refuse
from core.record import DatabaseReading, State
from core.version import Version
from core.words import counted
from systems.aws import aws_errors
from systems.migrations.prisma import Expectation, TaskReport, TaskScript, repair_command
from tasks.git import Checkout
from tasks.hold import now
from tasks.one_off import OneOff, OneOffTask, run_one_off
from tasks.operation import Operation, Step, step_task

__all__ = ["migrate_database", "migration_failure"]

# https://www.prisma.io/docs/orm/reference/error-reference
_CODE = re.compile(r"\bP\d{4}\b")
_NAME = re.compile(r"Migration name: (\S+)|The `(\S+)` migration")
_DATABASE = re.compile(r"Database error:\s*\n?(.*)|^ERROR: .*", re.MULTILINE)


@dataclass(frozen=True)
class Wanted:
    """The migrations that the database shall have, for which version."""

    version: Version
    files: tuple[MigrationFile, ...]
    newer_allowed: bool


@step_task("migrate")
def migrate_database(operation: Operation, source: Checkout, newer_allowed: bool = False) -> None:
    """Bring the database to the release's migrations, by what its own table says before and after.

    A task of the release's own image reads the table and, where image and table are as expected, migrates at once; else
    what it read is judged first. Raises `Refused` where repository, image and table disagree, and `Permanent` where the
    table does not say in the end that every migration is applied.
    """
    wanted = Wanted(source.version, source.migrations, newer_allowed)
    with operation.step("migrate", f"bring the database to {_head(source.migrations)}") as step:
        if not operation.settings.migration.enabled:
            step.skip("migrations are switched off for this environment")
        else:
            _migrate(operation, wanted, step)
    operation.advance(State.MIGRATED)


def _head(files: tuple[MigrationFile, ...]) -> str:
    return files[-1].name if files else "no migration"


def _migrate(operation: Operation, wanted: Wanted, step: Step) -> None:
    asked = _ask(operation, _expected(operation, wanted))
    before = _read(operation, asked)
    plan = _judge(operation, wanted, before)
    if plan.pending and not asked.migrated:
        _raise_floor(operation, plan)
        asked = _ask(operation, Expectation(_digest(wanted.files), before.table_digest, judged=True))
    _see_applied(operation, wanted, asked, _end(operation, asked))
    operation.note(
        schema_head_before=max(before.applied, default=None), schema_head_after=plan.head, migrations=plan.names
    )
    head = f"the database is at {plan.head or 'no migration'}, as its table says"
    if plan.pending:
        step.done(f"{head}; {counted(len(plan.pending), 'migration')} applied")
    else:
        step.skip(f"{head}; nothing was pending")


def _expected(operation: Operation, wanted: Wanted) -> Expectation | None:
    """Return what lets the first task migrate at once: the table as it was read last, and no floor to raise before."""
    record = operation.last_seen
    if record.database is None:
        return None
    plan = plan_migrations(wanted.files, wanted.version, record, record.migrations)
    if not plan.pending or plan.raises_floor:
        return None
    return Expectation(_digest(wanted.files), record.database.table)


def _digest(files: tuple[MigrationFile, ...]) -> str:
    return digest_of([[file.name, file.checksum] for file in files])


def _ask(operation: Operation, expected: Expectation | None) -> Asked:
    """Run the task; what it read is remembered, and not relied on while it may be changing."""
    script = TaskScript(operation.settings.migration, expected)
    if expected is not None:
        operation.last_seen = operation.store.change_environment(lambda r: r.with_unread_database())
    logger = get_run_logger()

    def heard(line: str) -> bool:
        if not script.speaks(line):
            logger.info(line)
        return script.ended(line)

    ended = run_one_off(
        operation,
        OneOffTask(
            task_definition=_definition(operation),
            log_prefix=f"{operation.candidate}-migration",
            timeout=operation.settings.migration.timeout_seconds,
            command=script.command,
            environment=script.environment,
            says_its_end=True,
        ),
        heard,
    )
    lines = tuple(line for line in ended.lines if not script.speaks(line))
    asked = Asked(script.report(ended.lines), ended, lines)
    _remember(operation, asked.report)
    return asked


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


def _definition(operation: Operation) -> str:
    """Return the migration's task definition that this release's apply put out, seen to run this release's image."""
    slot = operation.attempt.slot
    if slot is None:
        raise Permanent("The migration's task definition is not known", why="the apply put out none", do="Press Retry.")
    arn = slot.migration_task_definition_arn
    with aws_errors(f"reading the task definition {arn}"):
        found = operation.aws("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    image = found["containerDefinitions"][0]["image"]
    if image != operation.release.image:
        raise Permanent(
            f"The task definition {arn.rpartition('/')[2]} would migrate with another image",
            why=f"it runs {image}, and {operation.release} is {operation.release.image}",
            do="Press Retry; if it stays so, look who registered it.",
        )
    return str(arn)


def _read(operation: Operation, asked: Asked) -> Reading:
    found = asked.report.before
    if found is None:
        said = asked.report.unreadable or " / ".join(asked.lines[-5:])
        raise Permanent(
            f"The database could not be asked which migrations it has, so {operation.version} was not migrated",
            why="; ".join(part for part in (said, asked.ended.reason) if part) or "the task said nothing",
            do="See that the image can run `node` and Prisma's CLI, and that the task reaches the database.",
        )
    return found


def _remember(operation: Operation, report: TaskReport) -> None:
    """Write what was read last into the record; a task that migrated and did not get to read again leaves it unread."""
    reading = report.after if report.migrated else report.before
    if reading is None:
        return
    remembered = DatabaseReading(at=now(), table=reading.table_digest)
    applied = tuple(sorted(reading.applied))
    operation.last_seen = operation.store.change_environment(lambda r: r.with_reading(applied, remembered))


def _judge(operation: Operation, wanted: Wanted, reading: Reading) -> MigrationPlan:
    repair = repair_command(operation.environment, operation.settings.migration)
    refuse(wanted.files, reading, repair=repair, newer_allowed=wanted.newer_allowed)
    return plan_migrations(wanted.files, wanted.version, operation.last_seen, reading.applied)


def _raise_floor(operation: Operation, plan: MigrationPlan) -> None:
    """Write the floor before the schema changes: should this run die, no rollback goes below it."""
    floor = plan.floor
    if floor is None or not plan.raises_floor:
        return
    operation.last_seen = operation.store.change_environment(lambda r: r.with_floor(floor))
    operation.note(rollback_floor=floor.tag)


def _end(operation: Operation, asked: Asked) -> Reading:
    """Return the table's last reading; a task that migrated and died before it could read again is followed by one."""
    reading = asked.report.after if asked.migrated else asked.report.before
    return reading or _read(operation, _ask(operation, None))


def _see_applied(operation: Operation, wanted: Wanted, asked: Asked, reading: Reading) -> None:
    """Raise `Permanent` unless the table says that every migration is applied, whatever the exit code."""
    missing = missing_in(reading, wanted.files)
    if not missing:
        if asked.exit_code:
            get_run_logger().warning("The migration task exited with %s, and the table has it all", asked.exit_code)
        return
    repair = repair_command(operation.environment, operation.settings.migration)
    failed = reading.failed[0].name if reading.failed else None
    said = migration_failure(asked.lines) or " / ".join(asked.lines[-5:]) or asked.ended.reason
    if asked.exit_code == 0:
        said = f"the task reported success, and the table lacks {', '.join(missing)}; {said}".rstrip("; ")
    resolve = f"Say what became of it with `{repair} --rolled-back {failed}`" if failed else "Fix the cause"
    raise Permanent(
        f"The migration of {operation.version} failed",
        why=said or f"the table lacks {', '.join(missing)}",
        do=f"{resolve}, then release a new version.",
    )


def migration_failure(lines: Iterable[str]) -> str:
    """Return Prisma's code, the migration's name and the database's error out of its output; empty if it names none."""
    text = "\n".join(lines)
    code = _CODE.search(text)
    if code is None:
        return ""
    name = _NAME.search(text)
    database = _DATABASE.search(text)
    parts = [code.group()]
    if name:
        parts.append(f"migration {name.group(1) or name.group(2)}")
    if database and (said := (database.group(1) or database.group()).strip()):
        parts.append(said)
    return ", ".join(parts)
