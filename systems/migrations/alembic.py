"""Alembic: its revisions in a repository, and its own table, read by its own code inside the candidate's image.

https://alembic.sqlalchemy.org/en/latest/tutorial.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from core.errors import Refused
from core.migration import MigrationFile, Reading, TableRow, Tool, missing_in
from core.revisions import Revision, applied_by, in_order, parse_revision
from core.settings import Migration
from systems.migrations.engine import Expectation
from systems.migrations.files import migration_directory, read_text, refuse_odd_name
from systems.migrations.task_script import TaskScript, python, source_of

__all__ = ["Alembic", "Call", "call_of", "migration_failure", "read_revisions"]

# SQLAlchemy's own line repeats the driver's.
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception)\b.*|FAILED: .*|DETAIL: .*)$", re.MULTILINE)
_RUNNING = re.compile(r"Running upgrade (?:\S+(?:, \S+)*)? ?-> (\S+?)[,\s]")


def read_revisions(checkout: Path, directory: str) -> tuple[MigrationFile, ...]:
    """Return the revisions of a checkout, each by its id, in an order in which Alembic applies them.

    Raises `Refused` for a directory that does not exist, for files that are no revisions, and for several heads.
    """
    root = migration_directory(checkout, directory)
    # Which files are taken: https://github.com/sqlalchemy/alembic, `_only_source_rev_file`.
    names = sorted(path.name for path in root.glob("*.py") if not path.name.startswith((".#", "__init__")))
    texts = {}
    for name in names:
        refuse_odd_name(name, "its file")
        texts[name] = read_text(root / name, checkout, name)
    revisions = {name: parse_revision(name, text) for name, text in texts.items()}
    for revision in revisions.values():
        refuse_odd_name(revision.id, "its revision")
    by_id = {revisions[name].id: text for name, text in texts.items()}
    return tuple(MigrationFile(one, by_id[one], "#") for one in in_order(tuple(revisions.values())))


def _graph(files: Iterable[MigrationFile]) -> tuple[Revision, ...]:
    return tuple(parse_revision(file.name, file.text) for file in files)


@dataclass(frozen=True)
class Call:
    """How a command calls Alembic: the interpreter that has its package, its script, and its options."""

    interpreter: tuple[str, ...]
    tool: tuple[str, ...]
    options: tuple[str, ...]


def call_of(command: Sequence[str]) -> Call:
    """Return how `command` calls Alembic; one that does not show it has `python3`, and no options."""
    words = tuple(command)
    at = next((n for n, word in enumerate(words) if Path(word).name == "alembic"), None)
    if at is None or not {"upgrade"} & set(words[at:]):
        return Call(("python3",), ("alembic",), ())
    before, tool = words[:at], words[at]
    options = words[at + 1 : words.index("upgrade", at)]
    if before[-1:] == ("-m",):
        return Call(before[:-1], (*before, tool), options)
    beside = str(Path(tool).with_name("python3")) if "/" in tool else "python3"
    return Call((*before, beside), (*before, tool), options)


def migration_failure(lines: Iterable[str]) -> str:
    """Return the revision under way and the errors out of Alembic's output; empty if it names none."""
    text = "\n".join(lines)
    errors = [error.strip() for error in _ERROR.findall(text)]
    if not errors:
        return ""
    running = _RUNNING.findall(text)
    return ", ".join([*(f"revision {name}" for name in running[-1:]), " / ".join(errors[-3:])])


@dataclass(frozen=True)
class Alembic:
    """Alembic with an environment's settings of it."""

    settings: Migration
    name: ClassVar[str] = "alembic"
    needs: ClassVar[str] = "Check that the image can run Python with Alembic, and its env.py"

    def read_files(self, checkout: Path) -> tuple[MigrationFile, ...]:
        """Return the revisions of a checkout (see `read_revisions`)."""
        return read_revisions(checkout, self.settings.directory or "")

    def script(self, expected: Expectation | None) -> TaskScript:
        """Return what the task runs; without an expectation it only reads."""
        call = call_of(self.settings.command)
        return TaskScript(
            source_of("alembic_task.py", comment="#"),
            python(call.interpreter),
            self.settings.entry_point,
            self.settings.command,
            expected,
            {"tool": call.tool[-1], "options": call.options},
        )

    def interpret(self, reading: Reading, files: Sequence[MigrationFile], remembered: Collection[str]) -> Reading:
        """Return a row for each revision that the table's heads stand for, by the repository's graph.

        A head that the repository lacks stands for what was applied when it was read last, if it was among that. There
        are no checksums, so each row has its file's.
        """
        heads = [row.name for row in reading.rows or ()]
        applied = applied_by(heads, _graph(files))
        foreign = [head for head in heads if head not in {file.name for file in files}]
        if any(head in remembered for head in foreign):
            applied |= frozenset(remembered)
        rows = [TableRow(file.name, file.checksum, True, False) for file in files if file.name in applied]
        return replace(reading, rows=(*rows, *(TableRow(head, "", True, False) for head in foreign)))

    def refuse(self, files: Sequence[MigrationFile], reading: Reading) -> None:
        """Raise `Refused` where something is pending and the table holds a revision that Alembic would not find."""
        known = {file.name for file in files}
        foreign, missing = [name for name in reading.applied if name not in known], missing_in(reading, files)
        if foreign and missing:
            raise Refused(
                f"Alembic cannot apply {missing[0]} to a database that is at {foreign[0]}",
                why="the repository does not have that revision, so there is no way from there",
                do="Merge the commit that adds it.",
            )

    def tool(self, environment: str) -> Tool:
        """Return Alembic with the operator's `alembic stamp` and `alembic downgrade`."""
        call = call_of(self.settings.command)
        run, called = f"python -m flows run {environment}", " ".join([*call.tool, *call.options])
        return Tool(
            "Alembic",
            repair="If a part of {migration} stayed that ran outside a transaction, undo it; if all of it did, record "
            f"that: `{run} -- {called} stamp {{migration}}`.",
            undo=f"To leave it, go back with a version that has it: `{run} --version <version> -- {called} downgrade "
            "<revision>`. If only its file was lost, record where the schema is: "
            f"`{run} -- {called} stamp --purge <revision>`.",
        )

    def failure(self, lines: Iterable[str]) -> str:
        """Return what Alembic's output says of a failure."""
        return migration_failure(lines)
