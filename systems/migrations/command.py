"""Any command that migrates: it is run on each release, so it has to be idempotent, and its exit code is the truth.

Its files are read for their rollback floors alone, where the settings say where they lie.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from core.errors import Refused
from core.migration import MigrationFile
from core.settings import Migration
from systems.migrations.files import migration_directory, read_text, refuse_odd_name

__all__ = ["Command", "read_marked_files"]

_LEADS: dict[Literal["--", "#", "//"], tuple[str, ...]] = {
    "--": (".sql",),
    "#": (".py", ".rb", ".yaml", ".yml", ".exs"),
    "//": (".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".java", ".kt", ".go", ".php", ".cs"),
}
_COMMENTS = {suffix: lead for lead, suffixes in _LEADS.items() for suffix in suffixes}


def read_marked_files(checkout: Path, directory: str) -> tuple[MigrationFile, ...]:
    """Return the files below a directory that can hold a floor, by their paths, numbers in them by their value.

    Raises `Refused` for a directory that does not exist or has none, and for names and files that no migration has.
    """
    root = migration_directory(checkout, directory)
    found = [path for path in root.rglob("*") if path.suffix in _COMMENTS and not path.is_dir()]
    if not found:
        raise Refused(
            f"The migration directory {directory} has no file whose comments can be read",
            why="without one no rollback floor is ever seen",
            do="Set migration.directory to where they lie, or leave it out.",
        )
    names = sorted((path.relative_to(root).as_posix() for path in found), key=_by_number)
    for name in names:
        for part in PurePosixPath(name).parts:
            refuse_odd_name(part, "its file or folder")
    return tuple(MigrationFile(n, read_text(root / n, checkout, n), _COMMENTS[PurePosixPath(n).suffix]) for n in names)


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class Command:
    """A migration command with an environment's settings of it."""

    settings: Migration
    name: ClassVar[str] = "command"

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the files that may hold rollback floors (see `read_marked_files`)."""
        return read_marked_files(checkout, self.settings.directory) if self.settings.directory else ()
