"""Drizzle's journal, and what Drizzle makes of it: a migration is applied if it is younger than the youngest applied.

https://github.com/drizzle-team/drizzle-orm, `PgDialect.migrate`: it compares times, and neither names nor hashes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import Refused
from core.migration import MigrationFile, Reading, missing_in

__all__ = ["JournalEntry", "parse_journal", "refuse_passed_over"]


@dataclass(frozen=True)
class JournalEntry:
    """One migration: its file's name, and when it was made, in milliseconds since 1970, by which the table knows it."""

    tag: str
    when: int


def parse_journal(text: str) -> tuple[JournalEntry, ...]:
    """Return a journal's entries in their order; raise `Refused` where it is not one that Drizzle can apply."""
    try:
        given = json.loads(text)
        entries = tuple(JournalEntry(str(entry["tag"]), _whole(entry["when"])) for entry in given["entries"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            "Drizzle's journal cannot be read",
            why=f"{type(error).__name__}: {error}",
            do="Restore meta/_journal.json as `drizzle-kit generate` wrote it.",
        ) from error
    for of, values in (("name", [entry.tag for entry in entries]), ("time", [str(entry.when) for entry in entries])):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise Refused(
                f"Two migrations of Drizzle's journal have the {of} {twice}",
                why="the database's table could not tell them apart",
                do="Make one of them again with `drizzle-kit generate`.",
            )
    return entries


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a time in milliseconds")
    return value


def refuse_passed_over(files: Sequence[MigrationFile], reading: Reading) -> None:
    """Raise `Refused` for a migration that is not applied though a younger one is: Drizzle says nothing of it."""
    missing = set(missing_in(reading, files))
    times = {file.name: file.applied_at for file in files}
    applied = [(times.get(name, _of_unknown(name)), name) for name in reading.applied]
    if not applied:
        return
    youngest, of = max(applied)
    for file in files:
        if file.name in missing and file.applied_at <= youngest:
            raise Refused(
                f"Drizzle would pass over migration {file.name}",
                why=f"the database has {of}, which is younger, and Drizzle applies only what is younger still",
                do="Delete it, and make it again with `drizzle-kit generate`, so that it comes last.",
            )


def _of_unknown(name: str) -> int:
    """Return the time of a row that no journal names, which is called by its time."""
    digits = name.removeprefix("at-")
    return int(digits) if digits.isdecimal() else 0
