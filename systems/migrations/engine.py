"""What Pointsman needs of a migration tool: its files, a task that asks the database and migrates, its words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.migration import MigrationFile, Reading, Tool

__all__ = ["Expectation", "MigrationEngine", "MigrationScript", "TaskReport"]


@dataclass(frozen=True)
class Expectation:
    """What image and table must be for the task to migrate: each by its digest (see `core.migration`).

    Unless the table was judged against this very release, its rows must also be finished and those of the image.
    """

    image: str
    table: str
    judged: bool = False


@dataclass(frozen=True)
class TaskReport:
    """What a task read before and after, whether it migrated, and how it ended; None where it did not get so far."""

    before: Reading | None
    after: Reading | None
    migrated: bool
    unreadable: str
    exit_code: int | None


class MigrationScript(Protocol):
    """What a one-off task of the candidate's image runs: it reads the table, and migrates where all is as expected."""

    @property
    def command(self) -> Sequence[str]:
        """The container's command."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The container's variables beside its own; overrides have 8,192 characters at most."""

    def speaks(self, line: str) -> bool:
        """Whether a line of the log is the script's own."""

    def ended(self, line: str) -> bool:
        """Whether that line is its last."""

    def report(self, lines: Iterable[str]) -> TaskReport:
        """Return what the task reported, out of its log."""


class MigrationEngine(Protocol):
    """One migration tool with an environment's settings of it, whose own table says what is applied."""

    @property
    def name(self) -> str:
        """What `migration.engine` calls it."""

    @property
    def needs(self) -> str:
        """What the image must be able to run for the table to be read, as an imperative."""

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the migrations of a checkout in the order in which they are applied; raise `Refused` if unreadable."""

    def script(self, expected: Expectation | None) -> MigrationScript:
        """Return what the task runs; without an expectation it only reads."""

    def interpret(self, reading: Reading, files: Sequence[MigrationFile], remembered: Collection[str]) -> Reading:
        """Return what the table means: a row for each migration, in the order of application.

        `remembered` is what was applied when the table was read last.
        """

    def refuse(self, files: Sequence[MigrationFile], reading: Reading) -> None:
        """Raise `Refused` for what only this tool cannot do with such a table."""

    def tool(self, environment: str) -> Tool:
        """Return the tool as messages speak of it, with the operator's commands in that environment."""

    def failure(self, lines: Iterable[str]) -> str:
        """Return what the tool's output says of a failure: code, migration, the database's error; else nothing."""
