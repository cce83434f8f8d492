"""Prisma Migrate: its files in a repository, and its own table, read inside the candidate's image.

https://www.prisma.io/docs/orm/prisma-migrate/understanding-prisma-migrate/migration-histories
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from core.migration import MigrationFile, Reading, Tool
from core.settings import Migration
from systems.migrations.engine import Expectation
from systems.migrations.files import migration_directory, read_text, refuse_odd_name
from systems.migrations.task_script import TaskScript, node, source_of

__all__ = ["Prisma", "migration_failure", "read_migrations", "repair_command", "tool_of"]

_CLI = ("npx", "--no-install", "prisma")
# https://www.prisma.io/docs/orm/reference/error-reference
_ERROR_CODE = re.compile(r"\bP\d{4}\b")
_FAILED_NAME = re.compile(r"Migration name: (\S+)|The `(\S+)` migration")
_DATABASE = re.compile(r"Database error:\s*\n?(.*)|^ERROR: .*", re.MULTILINE)


def read_migrations(checkout: Path, directory: str) -> tuple[MigrationFile, ...]:
    """Return the migrations of a checkout, in the order in which Prisma applies them.

    Raises `Refused` for a directory that does not exist, and for names and files that no migration has.
    """
    root = migration_directory(checkout, directory)
    files = (folder / "migration.sql" for folder in sorted(root.iterdir(), key=lambda folder: folder.name))
    # A link to nothing is a migration as well: passed over, it would never run.
    return tuple(_read_migration(file, checkout) for file in files if os.path.lexists(file))


def _read_migration(path: Path, checkout: Path) -> MigrationFile:
    name = path.parent.name
    refuse_odd_name(name)
    return MigrationFile(name, read_text(path, checkout, name))


def tool_of(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return how `command` calls Prisma, and with which schema: `npx prisma migrate deploy` calls it `npx prisma`."""
    start = command.index("migrate") if "migrate" in command else 0
    # What is not seen to be Prisma's CLI is never called to read: it might migrate.
    called = command[:start] if start and "prisma" in Path(command[start - 1]).name else _CLI
    options: list[str] = []
    for option, value in pairwise(command):
        if option in ("--schema", "--config"):
            options += [option, value]
    options += [word for word in command if word.startswith(("--schema=", "--config="))]
    return list(called), options


def repair_command(environment: str, settings: Migration) -> str:
    """Return the command that resolves a migration, up to its last words."""
    tool, options = tool_of(settings.command)
    return " ".join(["python -m flows run", environment, "--", *tool, "migrate resolve", *options])


def migration_failure(lines: Iterable[str]) -> str:
    """Return Prisma's code, the migration's name and the database's error out of its output; empty if it names none."""
    text = "\n".join(lines)
    code = _ERROR_CODE.search(text)
    if code is None:
        return ""
    name = _FAILED_NAME.search(text)
    database = _DATABASE.search(text)
    parts = [code.group()]
    if name:
        parts.append(f"migration {name.group(1) or name.group(2)}")
    if database and (said := (database.group(1) or database.group()).strip()):
        parts.append(said)
    return ", ".join(parts)


@dataclass(frozen=True)
class Prisma:
    """Prisma Migrate with an environment's settings of it."""

    settings: Migration
    name: ClassVar[str] = "prisma"
    needs: ClassVar[str] = "Check that the image can run `node` and Prisma's CLI"

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the migrations of a checkout (see `read_migrations`)."""
        return read_migrations(checkout, self.settings.directory or "")

    def script(self, expected: Expectation | None) -> TaskScript:
        """Return what the task runs; without an expectation it only reads."""
        settings = self.settings
        tool, options = tool_of(settings.command)
        facts = {
            "directory": settings.image_directory or settings.directory,
            "variable": settings.url_variable,
            "tool": tool,
            "options": options,
        }
        source = source_of("prisma_task.js", "node_task.js", comment="//")
        return TaskScript(source, node(), settings.entry_point, settings.command, expected, facts)

    def interpret(self, reading: Reading, files: Sequence[MigrationFile], remembered: Collection[str]) -> Reading:
        """Return the rows in the order of their names, which is that of their application."""
        if reading.rows is None:
            return reading
        return replace(reading, rows=tuple(sorted(reading.rows, key=lambda row: row.name)))

    def refuse(self, files: Sequence[MigrationFile], reading: Reading) -> None:
        """Raise for nothing that is Prisma's alone."""

    def tool(self, environment: str) -> Tool:
        """Return Prisma with the operator's `prisma migrate resolve`."""
        resolve = repair_command(environment, self.settings)
        return Tool("Prisma", f"`{resolve} --rolled-back {{migration}}` (or `--applied`).", keeps_failures=True)

    def failure(self, lines: Iterable[str]) -> str:
        """Return what Prisma's output says of a failure."""
        return migration_failure(lines)
