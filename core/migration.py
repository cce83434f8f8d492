"""What a release's migrations mean: for the database that has some of them, and for the versions that serve on it.

Three lists must agree: the repository's at the release's commit, the image's, and the database's own table.

A migration that older versions can't live with says so in a comment of its file:

    -- pointsman: rollback-floor v1.4.0

meaning that no version below v1.4.0 works on the new schema. Without a version it means the release that brings it.
In Python the comment begins with `#`, in JavaScript and its like with `//`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import Refused, cut
from core.record import EnvironmentRecord
from core.version import Version

__all__ = [
    "MigrationFile",
    "MigrationPlan",
    "Reading",
    "TableRow",
    "Tool",
    "digest_of",
    "missing_in",
    "plan_migrations",
    "refuse_disagreement",
]

# By what begins a comment: the marker, and whatever could be meant for us, in a block comment, behind a byte order
# mark, a statement or a quote too.
_MARKERS = {
    lead: (
        re.compile(rf"^[ \t]*{lead}[ \t]*pointsman:[ \t]*rollback-floor(?:[ \t]+(\S+))?[ \t]*\r?$", re.MULTILINE),
        re.compile(rf"(?:{lead}|/\*)[\s\u00a0*{lead[0]}]*pointsman\b", re.IGNORECASE),
    )
    for lead in ("--", "#", "//")
}


@dataclass(frozen=True)
class MigrationFile:
    """One migration of the application's repository: its name as its tool knows it, and its text."""

    name: str
    text: str
    comment: Literal["--", "#", "//"] = "--"
    """What begins a comment in it."""
    applied_at: int = 0
    """For a tool that applies by time, the time by which its table knows it, in milliseconds since 1970."""

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, which is what Prisma and Drizzle write into their tables."""
        return _sha256(self.text)

    @property
    def floors(self) -> list[str]:
        """The versions that its markers name; empty for the release that brings it."""
        return _MARKERS[self.comment][0].findall(self.text)

    @property
    def has_misspelt_marker(self) -> bool:
        """Whether something in it could be meant as a marker, and is not read as one."""
        marker, anything = _MARKERS[self.comment]
        return len(marker.findall(self.text)) != len(anything.findall(self.text))

    def has_checksum(self, checksum: str) -> bool:
        """Whether a checksum is this file's; line ends of another platform make no other migration."""
        unix = self.text.replace("\r\n", "\n")
        return checksum in (self.checksum, _sha256(unix), _sha256(unix.replace("\n", "\r\n")))


@dataclass(frozen=True)
class Tool:
    """A migration tool as messages speak of it. In what the operator does, `{migration}` stands for its name."""

    title: str
    repair: str
    """How to record what became of a migration that failed."""
    undo: str = ""
    """How to leave a migration that the repository does not have."""
    keeps_failures: bool = False
    """Whether its table has a row of a migration that failed, without whose repair nothing goes on."""

    def repair_of(self, migration: str) -> str:
        """Return how to record what became of that migration."""
        return self.repair.replace("{migration}", migration)

    def undo_of(self, migration: str) -> str:
        """Return how to leave a migration that the repository does not have, behind what else resolves it."""
        return self.undo and " " + self.undo.replace("{migration}", migration)

    def after_failure(self, failed: str | None, missing: str) -> str:
        """Return what to do: `failed` is the migration that the table calls so, `missing` the first that it lacks."""
        if failed is not None:
            return f"Record the result: {self.repair_of(failed)} Then release a new version."
        if self.keeps_failures:
            return "Fix the cause, then release a new version."
        return f"Fix the cause, then release a new version. {self.repair_of(missing)}"


@dataclass(frozen=True)
class TableRow:
    """One row of a tool's table: one try at one migration. A tool that keeps no checksum leaves it empty."""

    name: str
    checksum: str
    finished: bool
    rolled_back: bool
    log: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a task read: the image's migrations with their checksums, and the table's rows; None where there is none."""

    image: tuple[tuple[str, str], ...] | None
    rows: tuple[TableRow, ...] | None

    @property
    def applied(self) -> dict[str, str]:
        """The checksum of each migration that the table says is applied."""
        return {row.name: row.checksum for row in self.rows or () if row.finished and not row.rolled_back}

    @property
    def head(self) -> str | None:
        """The migration that was applied last; rows are in the order of their application."""
        return next(reversed(self.applied), None)

    @property
    def failed(self) -> tuple[TableRow, ...]:
        """Rows of migrations that began, did not finish, and were not resolved."""
        return tuple(row for row in self.rows or () if not row.finished and not row.rolled_back)

    @property
    def table_digest(self) -> str:
        """What tells this state of the table from any other."""
        if self.rows is None:
            return digest_of(None)
        return digest_of([[row.name, row.checksum, row.finished, row.rolled_back] for row in self.rows])


def digest_of(value: object) -> str:
    """Return the SHA-256 of a value's JSON, as JavaScript writes it."""
    return _sha256(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class MigrationPlan:
    """What migrating will do: names not yet applied, in order, and the floor afterwards."""

    names: tuple[str, ...]
    pending: tuple[str, ...]
    floor: Version | None
    raises_floor: bool = False

    @property
    def head(self) -> str | None:
        """The last migration's name."""
        return self.names[-1] if self.names else None


def missing_in(reading: Reading, files: Sequence[MigrationFile]) -> tuple[str, ...]:
    """Return the repository's migrations that the table does not call applied with their content, in order."""
    applied = reading.applied
    return tuple(file.name for file in files if not file.has_checksum(applied.get(file.name, "")))


def refuse_disagreement(
    files: Sequence[MigrationFile], reading: Reading, *, tool: Tool, newer_allowed: bool = False
) -> None:
    """Raise `Refused` where repository, image and table disagree, naming the migration and what resolves it.

    With `newer_allowed` the table may hold migrations that the repository lacks, as it does when a human asks for an
    older version.
    """
    _refuse_another_image(files, reading.image, tool)
    for row in reading.failed:
        raise Refused(
            f"Migration {row.name} failed in this database and is not resolved",
            why=cut((row.log or "").strip(), 600) or "the table shows it as started but not finished",
            do=f"Find out what it left, then record it: {tool.repair_of(row.name)}",
        )
    known = {file.name: file for file in files}
    for name, checksum in reading.applied.items():
        if name not in known and not newer_allowed:
            raise Refused(
                f"Migration {name} is applied in this database but is not in the repository",
                why="this version was built without it, so it is not known to work with the schema",
                do="Merge the commit that adds it, or set allow_downgrade if you really want this version."
                + tool.undo_of(name),
            )
        if name in known and not known[name].has_checksum(checksum):
            raise Refused(
                f"Migration {name} was edited after it was applied",
                why=f"the database applied {checksum[:12]}, and the repository has {known[name].checksum[:12]}",
                do="Restore the file as it was applied, and put the change into a new migration.",
            )


def _refuse_another_image(
    files: Sequence[MigrationFile], image: tuple[tuple[str, str], ...] | None, tool: Tool
) -> None:
    held = dict(image or ())
    for file in files:
        if file.name not in held:
            raise Refused(
                f"The image lacks migration {file.name}",
                why=f"the repository has it, but {tool.title} would find nothing to do and report success",
                do="Check what .dockerignore and the Dockerfile leave out; if the image has another layout, set "
                "migration.image_directory.",
            )
        if held[file.name] != file.checksum:
            raise Refused(
                f"The image's migration {file.name} differs from the repository's",
                why=f"its checksum is {held[file.name][:12]}, the repository's is {file.checksum[:12]}",
                do="Copy the file into the image as it is.",
            )
    foreign = sorted(held.keys() - {file.name for file in files})
    if foreign:
        raise Refused(
            f"The image has migration {foreign[0]}, which is not in the repository",
            why="it would be applied without being visible in the release",
            do="Commit it, or do not copy it into the image.",
        )


def _refuse_misspelt(migration: MigrationFile) -> None:
    if migration.has_misspelt_marker:
        comment = f"{migration.comment} pointsman:"
        raise Refused(
            f"Migration {migration.name} has an unrecognised `{comment}` comment",
            why="a floor that is ignored would let a rollback go below it",
            do=f"Write `{comment} rollback-floor` on a line of its own, followed by a version or nothing.",
        )


def plan_migrations(
    files: Sequence[MigrationFile],
    version: Version,
    record: EnvironmentRecord,
    applied: Collection[str] | None = None,
) -> MigrationPlan:
    """Return the plan; raise `Refused` if a pending migration would not let the live version serve.

    `files` are in the order in which their tool applies them.
    `applied` is what the database's table says; without it, what was read last is used in its place.
    """
    live = record.live
    floor = Version.parse(record.rollback_floor) if record.rollback_floor else None
    remembered = (*record.migrations, *(live.migrations if live else ()))
    known = frozenset(remembered if applied is None else applied)
    pending = [f for f in files if f.name not in known]
    before = floor
    for migration in pending:
        _refuse_misspelt(migration)
        for marked in migration.floors:
            raised = Version.parse(marked) if marked else version
            if live is not None and raised > live.release.semver:
                raise Refused(
                    f"{version} would raise the rollback floor to {raised}, above the live {live.release.version}",
                    why=f"migration {migration.name} says that no version below {raised} works with its schema, and "
                    f"{live.release.version} has to work with it while {version} is tested and shifted",
                    do="Release the code that works with both schemas first, and this migration with a later version.",
                )
            floor = raised if floor is None else max(floor, raised)
    return MigrationPlan(
        names=tuple(f.name for f in files),
        pending=tuple(f.name for f in pending),
        floor=floor,
        raises_floor=floor is not None and (before is None or floor > before),
    )
