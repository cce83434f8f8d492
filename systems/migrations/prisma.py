"""Prisma Migrate: its files in a repository, and its own table, read inside the candidate's image.

https://www.prisma.io/docs/orm/prisma-migrate/understanding-prisma-migrate/migration-histories
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.errors import Refused
from core.migration import MigrationFile, Reading, TableRow
from core.settings import Migration
from systems.migrations.engine import Expectation, TaskReport

__all__ = ["Prisma", "TaskScript", "behind_shell", "migration_failure", "read_migrations", "repair_command", "tool_of"]

_SCRIPT = Path(__file__).with_name("prisma_task.js")
_LARGEST = 1024 * 1024
_CLI = ("npx", "--no-install", "prisma")
_SHELLS = ("sh", "bash", "ash", "dash")
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,200}")
# https://www.prisma.io/docs/orm/reference/error-reference
_ERROR_CODE = re.compile(r"\bP\d{4}\b")
_FAILED_NAME = re.compile(r"Migration name: (\S+)|The `(\S+)` migration")
_DATABASE = re.compile(r"Database error:\s*\n?(.*)|^ERROR: .*", re.MULTILINE)


def read_migrations(checkout: Path, directory: str) -> tuple[MigrationFile, ...]:
    """Return the migrations of a checkout, in the order in which Prisma applies them.

    Raises `Refused` for a directory that does not exist, and for names and files that no migration has.
    """
    root = checkout / directory
    if not root.is_dir() or not root.resolve().is_relative_to(checkout.resolve()):
        raise Refused(
            f"The migration directory {directory} does not exist in the repository",
            why="without it there is no way to tell whether the database is up to date",
            do="Set migration.directory, or migration.enabled = false if this application has no migrations.",
        )
    files = (folder / "migration.sql" for folder in sorted(root.iterdir(), key=lambda folder: folder.name))
    # A link to nothing is a migration as well: passed over, it would never run.
    return tuple(_read_migration(file, checkout) for file in files if os.path.lexists(file))


def _read_migration(path: Path, checkout: Path) -> MigrationFile:
    name = path.parent.name
    if not _NAME.fullmatch(name):
        raise Refused(
            f"The migration {name[:60]!r} has an invalid name",
            why="a name has letters, digits, '_', '-' and '.', and at most 200 of them",
            do="Rename its folder.",
        )
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(checkout.resolve()) or not real.is_file():
        raise Refused(f"The migration {name} is not a file of the repository", do="Replace the link with the file.")
    if real.stat().st_size > _LARGEST:
        raise Refused(f"The migration {name} is larger than 1 MiB", do="Load data by means other than a migration.")
    try:
        return MigrationFile(name, real.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise Refused(f"The migration {name} is not valid UTF-8", why=str(error), do="Save it as UTF-8.") from error


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


def behind_shell(entry_point: Sequence[str]) -> bool:
    """Whether a container's entry point takes its first argument for a script."""
    return len(entry_point) > 1 and Path(entry_point[0]).name in _SHELLS and entry_point[-1] == "-c"


def repair_command(environment: str, settings: Migration) -> str:
    """Return the command that resolves a migration, up to its last words."""
    tool, options = tool_of(settings.command)
    return " ".join(["python -m flows run", environment, "--", *tool, "migrate resolve", *options])


@dataclass(frozen=True)
class TaskScript:
    """The command of a task that reads, and migrates where all is as expected; its lines begin with `mark`."""

    settings: Migration
    expected: Expectation | None
    mark: str = field(default_factory=lambda: f"pointsman-{secrets.token_hex(6)}")

    @property
    def command(self) -> list[str]:
        """The container's command."""
        return ["node -e 'eval(process.env.POINTSMAN_SCRIPT)'"] if self._behind_shell else ["node", "-e", _script()]

    @property
    def _behind_shell(self) -> bool:
        return behind_shell(self.settings.entry_point)

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables beside its own. Sizes are bounded: overrides have 8,192 characters at most."""
        tool, options = tool_of(self.settings.command)
        task = {
            "mark": self.mark,
            "directory": self.settings.image_directory or self.settings.directory,
            "variable": self.settings.url_variable,
            "tool": tool,
            "options": options,
            "command": [*(self.settings.entry_point if self._behind_shell else ()), *self.settings.command],
            "image": self.expected.image if self.expected else None,
            "table": self.expected.table if self.expected else None,
            "judged": self.expected is not None and self.expected.judged,
        }
        script = {"POINTSMAN_SCRIPT": _script()} if self._behind_shell else {}
        return {"POINTSMAN_TASK": json.dumps(task, separators=(",", ":"))} | script

    def speaks(self, line: str) -> bool:
        """Whether a line of the log is the script's own."""
        return line.startswith(f"{self.mark} ")

    def ended(self, line: str) -> bool:
        """Whether that line is its last."""
        return self.speaks(line) and '"end":' in line

    def report(self, lines: Iterable[str]) -> TaskReport:
        """Return what the task said, out of its log."""
        facts: dict[str, Any] = {}
        for line in lines:
            if self.speaks(line):
                for name, value in json.loads(line.partition(" ")[2]).items():
                    facts[name] = [*facts[name], *value] if isinstance(facts.get(name), list) else value
        image = facts.get("image")
        held = tuple((name, digest) for name, digest in image) if image is not None else None
        return TaskReport(
            before=Reading(held, _rows(facts["before"])) if "before" in facts else None,
            after=Reading(held, _rows(facts["after"])) if "after" in facts else None,
            migrated=bool(facts.get("migrating")),
            unreadable=facts.get("unreadable", ""),
            exit_code=facts.get("end"),
        )


def _script() -> str:
    lines = (line.strip() for line in _SCRIPT.read_text().splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _rows(given: list[list[Any]] | None) -> tuple[TableRow, ...] | None:
    return None if given is None else tuple(TableRow(*row) for row in given)


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

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the migrations of a checkout (see `read_migrations`)."""
        return read_migrations(checkout, self.settings.directory)

    def script(self, expected: Expectation | None) -> TaskScript:
        """Return what the task runs; without an expectation it only reads."""
        return TaskScript(self.settings, expected)

    def repair_command(self, environment: str) -> str:
        """Return the operator's `prisma migrate resolve`, up to its last words."""
        return repair_command(environment, self.settings)

    def failure(self, lines: Iterable[str]) -> str:
        """Return what Prisma's output says of a failure."""
        return migration_failure(lines)
