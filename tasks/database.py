"""The database, reached only by one-off tasks inside its network: migrated forward, never down, never dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.errors import Permanent
from core.migration import MigrationPlan
from core.record import State
from core.version import Version
from systems.aws import aws_errors
from tasks.one_off import run_one_off
from tasks.operation import Operation, step_task

__all__ = ["migrate_database", "migration_failure"]

# https://www.prisma.io/docs/orm/reference/error-reference
_CODE = re.compile(r"\bP\d{4}\b")
_NAME = re.compile(r"Migration name: (\S+)|The `(\S+)` migration")
_DATABASE = re.compile(r"Database error:\s*\n?(.*)|^ERROR: .*", re.MULTILINE)


@step_task("migrate")
def migrate_database(operation: Operation, plan: MigrationPlan) -> None:
    """Run the migrations of the release as a one-off task of the slot's migration task definition.

    Raises `Permanent` with Prisma's code and the migration's name if they fail.
    """
    before = operation.last_seen.migrations
    with operation.step("migrate", _intent(plan)) as step:
        if not operation.settings.migration.enabled:
            step.skip("migrations are switched off for this environment")
        elif not plan.pending:
            step.skip(f"the database is at {plan.head or 'no migration'} already")
        else:
            _raise_floor(operation, plan)
            _migrate(operation)
            # From here on nobody runs these migrations again; without this line, Prisma's own table decides.
            operation.store.change_environment(lambda r: r.model_copy(update={"migrations": plan.names}))
            step.done(f"the database is at {plan.head}")
        operation.note(schema_head_before=_head(before), schema_head_after=plan.head, migrations=plan.names)
    operation.advance(State.MIGRATED)


def _head(migrations: tuple[str, ...]) -> str | None:
    return migrations[-1] if migrations else None


def _intent(plan: MigrationPlan) -> str:
    return f"apply {', '.join(plan.pending)}" if plan.pending else "apply no migration"


def _raise_floor(operation: Operation, plan: MigrationPlan) -> None:
    """Write the floor before the schema changes: should this run die, no rollback goes below it."""
    floor = plan.floor
    if floor is None:
        return
    operation.store.change_environment(
        lambda r: (
            r
            if r.rollback_floor and Version.parse(r.rollback_floor) >= floor
            else r.model_copy(update={"rollback_floor": floor.tag})
        )
    )
    operation.note(rollback_floor=floor.tag)


def _migrate(operation: Operation) -> None:
    settings = operation.settings
    family = f"{settings.cluster}-{operation.candidate}-migration"
    with aws_errors("finding the migration's task definition"):
        definition = operation.aws("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
    ended = run_one_off(
        operation,
        task_definition=definition["taskDefinitionArn"],
        prefix=f"{operation.candidate}-migration",
        started_by=operation.owner.attempt,
        command=None,
        timeout=settings.migration.timeout_seconds,
    )
    if ended.exit_code != 0:
        raise Permanent(
            f"The migration of {operation.version} failed",
            why=migration_failure(ended.lines) or f"{ended.reason}; {' / '.join(ended.lines[-5:])}",
            do="Correct it as Prisma says (`prisma migrate resolve`), then release a new version.",
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
