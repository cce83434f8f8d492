"""What a release's migrations mean for the versions that could serve beside them or after them.

A migration that older versions can't live with says so in a comment of its SQL:

    -- pointsman: rollback-floor v1.4.0

meaning that no version below v1.4.0 works on the new schema. Without a version it means the release that brings it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import Refused
from core.record import EnvironmentRecord
from core.version import Version

__all__ = ["MigrationFile", "MigrationPlan", "plan_migrations"]

_MARKER = re.compile(r"^[ \t]*--[ \t]*pointsman:[ \t]*rollback-floor(?:[ \t]+(\S+))?[ \t]*$", re.MULTILINE)

_ANY_MARKER = re.compile(r"^[ \t]*--[ \t]*pointsman\b", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class MigrationFile:
    """One migration of the application's repository: its folder's name and its SQL."""

    name: str
    sql: str


@dataclass(frozen=True)
class MigrationPlan:
    """What migrating will do: names not yet applied under the live version, in order, and the floor afterwards."""

    names: tuple[str, ...]
    pending: tuple[str, ...]
    floor: Version | None

    @property
    def head(self) -> str | None:
        """The last migration's name."""
        return self.names[-1] if self.names else None


def _refuse_misspelt(migration: MigrationFile) -> None:
    if len(_MARKER.findall(migration.sql)) != len(_ANY_MARKER.findall(migration.sql)):
        raise Refused(
            f"Migration {migration.name} has a comment for Pointsman that it does not understand",
            why="a floor that is not read would let a rollback go below it",
            do="Write `-- pointsman: rollback-floor` with a version or nothing behind it.",
        )


def plan_migrations(files: Sequence[MigrationFile], version: Version, record: EnvironmentRecord) -> MigrationPlan:
    """Return the plan; raise `Refused` if a pending migration would not let the live version serve.

    A migration that the record knows to be applied is never pending.
    """
    live = record.live
    floor = Version.parse(record.rollback_floor) if record.rollback_floor else None
    known = frozenset((*record.migrations, *(live.migrations if live else ())))
    ordered = sorted(files, key=lambda f: f.name)
    pending = [f for f in ordered if f.name not in known]
    for migration in pending:
        _refuse_misspelt(migration)
        for marked in _MARKER.findall(migration.sql):
            raised = Version.parse(marked) if marked else version
            if live is not None and raised > live.release.semver:
                raise Refused(
                    f"{version} would raise the rollback floor to {raised}, above the live {live.release.version}",
                    why=f"migration {migration.name} says that no version below {raised} works on its schema, and "
                    f"{live.release.version} serves on it while {version} is tested and shifted",
                    do="Release the code that works with both schemas first, and this migration with a later version.",
                )
            floor = raised if floor is None else max(floor, raised)
    return MigrationPlan(names=tuple(f.name for f in ordered), pending=tuple(f.name for f in pending), floor=floor)
