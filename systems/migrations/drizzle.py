"""Drizzle: the journal that drizzle-kit writes in a repository, and Drizzle's own table, read inside the image.

https://orm.drizzle.team/docs/migrations
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from core.drizzle_journal import parse_journal, refuse_passed_over
from core.errors import Refused
from core.migration import MigrationFile, Reading, Tool
from core.settings import Migration
from systems.migrations.engine import Expectation
from systems.migrations.files import migration_directory, read_text, refuse_odd_name
from systems.migrations.task_script import TaskScript, node, source_of

__all__ = ["Drizzle", "migration_failure", "read_journal"]

_JOURNAL = "meta/_journal.json"
_ERROR = re.compile(r"^\s*(?:\[?cause\]?: )?(\w*[eE]rror: .*\S|(?:detail|code): '.*')", re.MULTILINE)
_SILENT = "applying migrations..."


def read_journal(checkout: Path, directory: str) -> tuple[MigrationFile, ...]:
    """Return the migrations that a checkout's journal names, in the order in which Drizzle applies them.

    Raises `Refused` for a directory or a journal that does not exist, for entries without a file, and for files without
    an entry, which Drizzle would pass over.
    """
    root = migration_directory(checkout, directory)
    if not (root / _JOURNAL).exists():
        raise Refused(
            f"The migration directory {directory} has no {_JOURNAL}",
            why="without its journal Drizzle applies nothing",
            do="Commit what `drizzle-kit generate` writes, or set migration.directory to where that is.",
        )
    entries = parse_journal(read_text(root / _JOURNAL, checkout, _JOURNAL))
    for entry in entries:
        refuse_odd_name(entry.tag, "its file and its tag in the journal")
    named = {entry.tag for entry in entries}
    left_out = sorted(path.stem for path in root.glob("*.sql") if path.stem not in named)
    if left_out:
        raise Refused(
            f"The migration {left_out[0]} is not in the journal",
            why="Drizzle applies what the journal names, and passes over other files",
            do="Make it with `drizzle-kit generate` (`--custom` for SQL of your own), or remove the file.",
        )
    # Drizzle's checksum is that of the text as Node.js reads it.
    return tuple(
        MigrationFile(entry.tag, read_text(root / f"{entry.tag}.sql", checkout, entry.tag), applied_at=entry.when)
        for entry in entries
    )


def migration_failure(lines: Iterable[str]) -> str:
    """Return the database's error out of what a migrator prints; drizzle-kit prints none, and that is said of it."""
    text = "\n".join(lines)
    found = list(dict.fromkeys(_ERROR.findall(text)))[:4]
    if not found and _SILENT in text:
        return "drizzle-kit prints no error of the database; the database's own log has it"
    return " / ".join(found)


@dataclass(frozen=True)
class Drizzle:
    """Drizzle with an environment's settings of it."""

    settings: Migration
    name: ClassVar[str] = "drizzle"
    needs: ClassVar[str] = "Check that the image can run `node` with `pg` or `postgres`"

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the migrations of a checkout (see `read_journal`)."""
        return read_journal(checkout, self.settings.directory or "")

    def script(self, expected: Expectation | None) -> TaskScript:
        """Return what the task runs; without an expectation it only reads."""
        settings = self.settings
        facts: Mapping[str, object] = {
            "directory": settings.image_directory or settings.directory,
            "variable": settings.url_variable,
            "table_name": settings.table,
        }
        source = source_of("drizzle_task.js", "node_task.js", comment="//")
        return TaskScript(source, node(), settings.entry_point, settings.command, expected, facts)

    def interpret(self, reading: Reading, files: Sequence[MigrationFile], remembered: Collection[str]) -> Reading:
        """Return the rows as they are: the task read them by time, and named them by the image's journal."""
        return reading

    def refuse(self, files: Sequence[MigrationFile], reading: Reading) -> None:
        """Raise `Refused` for a migration that Drizzle would pass over, as it is older than one that is applied."""
        refuse_passed_over(files, reading)

    def tool(self, environment: str) -> Tool:
        """Return Drizzle, which applies all that is pending in one transaction and so leaves nothing to resolve."""
        return Tool(
            "Drizzle",
            repair="Drizzle applies what is pending in one transaction, so nothing of {migration} stayed.",
            undo=f"If its file was lost, and its work undone, remove its row from {self.settings.table}.",
        )

    def failure(self, lines: Iterable[str]) -> str:
        """Return what the output says of a failure."""
        return migration_failure(lines)
