"""Drizzle's part that needs no database: its journal, what its rows mean, what it would pass over, its failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.drizzle_journal import JournalEntry, parse_journal, refuse_passed_over
from core.errors import Refused
from core.migration import MigrationFile, Reading, TableRow, Tool, missing_in, refuse_disagreement
from core.record import DatabaseReading
from core.settings import Migration
from core.version import Version
from systems.migrations.drizzle import Drizzle, migration_failure, read_journal
from tasks.database import Wanted, _expected
from tests.unit.facts import NOON, environment

ENGINE = Drizzle(Migration(engine="drizzle"))


def file(name: str, when: int) -> MigrationFile:
    return MigrationFile(name, f"-- {name}\n", applied_at=when)


FILES = (file("0000_a", 100), file("0001_b", 200), file("0002_c", 300))
IMAGE = tuple((f.name, f.checksum) for f in FILES)
UNKNOWN = TableRow("at-250", "x", True, False)


def rows(*files: MigrationFile) -> tuple[TableRow, ...]:
    return tuple(TableRow(f.name, f.checksum, True, False) for f in files)


@pytest.mark.parametrize(
    ("rule", "table", "passed_over"),
    [
        ("there is no table", None, None),
        ("nothing is applied", (), None),
        ("the youngest are missing", rows(FILES[0]), None),
        ("all is applied", rows(*FILES), None),
        ("one in the midst is missing", rows(FILES[0], FILES[2]), "0001_b"),
        ("the first is missing", rows(FILES[1]), "0000_a"),
        ("a row that no journal names is younger", (*rows(FILES[0]), UNKNOWN), "0001_b"),
        ("a row that no journal names is older", (*rows(*FILES[:2]), UNKNOWN), None),
        ("one of the same time was applied", (TableRow("at-100", "x", True, False),), "0000_a"),
    ],
)
def test_what_is_older_than_the_youngest_applied_is_never_applied_by_drizzle(
    rule: str, table: tuple[TableRow, ...] | None, passed_over: str | None
) -> None:
    reading = Reading(IMAGE, table)
    if passed_over is None:
        refuse_passed_over(FILES, reading)
        return
    with pytest.raises(Refused, match=f"Drizzle would pass over migration {passed_over}"):
        ENGINE.refuse(FILES, ENGINE.interpret(reading, FILES, ()))


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ((*rows(*FILES[:2]), UNKNOWN), "Migration at-250 is applied in this database but is not in the repository"),
        ((TableRow("0000_a", "f" * 64, True, False),), "Migration 0000_a was edited after it was applied"),
    ],
)
def test_foreign_and_edited_migrations_are_refused(table: tuple[TableRow, ...], what: str) -> None:
    with pytest.raises(Refused) as refusal:
        refuse_disagreement(FILES, Reading(IMAGE, table), tool=ENGINE.tool("test"))
    assert refusal.value.what == what
    assert refusal.value.do


def test_the_head_is_the_youngest_that_is_applied() -> None:
    reading = ENGINE.interpret(Reading(IMAGE, rows(*FILES[:2])), FILES, ())
    assert reading.head == "0001_b"
    assert missing_in(reading, FILES) == ("0002_c",)


def test_after_a_failure_nothing_is_to_be_recorded() -> None:
    tool: Tool = ENGINE.tool("test")
    assert "nothing of 0001_b stayed" in tool.after_failure(None, "0001_b")


def test_a_journal_is_read_in_its_own_order() -> None:
    text = json.dumps({"entries": [{"idx": 0, "tag": "b", "when": 2}, {"idx": 1, "tag": "a", "when": 1}]})
    assert parse_journal(text) == (JournalEntry("b", 2), JournalEntry("a", 1))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "Drizzle's journal cannot be read"),
        ("[]", "Drizzle's journal cannot be read"),
        ("{}", "Drizzle's journal cannot be read"),
        ('{"entries": [{"tag": "a"}]}', "Drizzle's journal cannot be read"),
        ('{"entries": [{"tag": "a", "when": "1"}]}', "Drizzle's journal cannot be read"),
        ('{"entries": [{"tag": "a", "when": true}]}', "Drizzle's journal cannot be read"),
        (
            '{"entries": [{"tag": "a", "when": 1}, {"tag": "a", "when": 2}]}',
            "Two migrations of Drizzle's journal have the name a",
        ),
        (
            '{"entries": [{"tag": "a", "when": 1}, {"tag": "b", "when": 1}]}',
            "Two migrations of Drizzle's journal have the time 1",
        ),
    ],
)
def test_a_journal_that_drizzle_cannot_apply_is_refused(text: str, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_journal(text)
    assert refusal.value.what == what
    assert refusal.value.do


def write(checkout: Path, *tags: str, files: tuple[str, ...]) -> None:
    (checkout / "drizzle" / "meta").mkdir(parents=True)
    entries = [{"idx": n, "tag": tag, "when": n} for n, tag in enumerate(tags)]
    (checkout / "drizzle" / "meta" / "_journal.json").write_text(json.dumps({"entries": entries}))
    for name in files:
        (checkout / "drizzle" / f"{name}.sql").write_text(f"-- {name}\n")


def test_migrations_are_those_of_the_journal(tmp_path: Path) -> None:
    write(tmp_path, "0001_b", "0000_a", files=("0000_a", "0001_b"))
    found = ENGINE.read_files(tmp_path)
    b, a = (MigrationFile(name, f"-- {name}\n", applied_at=n) for n, name in enumerate(("0001_b", "0000_a")))
    assert found == (b, a)


@pytest.mark.parametrize(
    ("tags", "files", "what"),
    [
        (("a",), ("a", "b"), "The migration b is not in the journal"),
        (("a", "b"), ("a",), "The migration b is not a file of the repository"),
        (("../a",), (), "The migration '../a' has an invalid name"),
    ],
)
def test_a_journal_and_files_that_disagree_are_refused(
    tmp_path: Path, tags: tuple[str, ...], files: tuple[str, ...], what: str
) -> None:
    write(tmp_path, *tags, files=files)
    with pytest.raises(Refused, match=what):
        read_journal(tmp_path, "drizzle")


def test_a_directory_without_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drizzle").mkdir()
    with pytest.raises(Refused, match=r"has no meta/_journal\.json"):
        read_journal(tmp_path, "drizzle")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("node:internal/modules/run_main:123\n    triggerUncaughtException(", ""),
        (
            "Using 'pg' driver for database querying\n[⣷] applying migrations...\x1b[2K\x1b[1G[⣯] applying migrations",
            "drizzle-kit prints no error of the database; the database's own log has it",
        ),
        (
            "DrizzleQueryError: Failed query: \nCREATE TABLE a ();\nparams: \n    at async migrate (/x.js:1:3) {\n"
            "  cause: error: relation \"a\" already exists\n      at /app/x.js:694:17 {\n    severity: 'ERROR',\n"
            "    code: '42P07',\n    detail: undefined,",
            "DrizzleQueryError: Failed query: / error: relation \"a\" already exists / code: '42P07'",
        ),
        ('PostgresError: relation "a" already exists\n', 'PostgresError: relation "a" already exists'),
        ("Error: connect ECONNREFUSED 127.0.0.1:1\n", "Error: connect ECONNREFUSED 127.0.0.1:1"),
    ],
)
def test_a_failure_is_told_in_the_databases_words(output: str, said: str) -> None:
    assert migration_failure(output.splitlines()) == said


@pytest.mark.parametrize(
    ("rule", "applied", "at_once"),
    [
        ("the youngest are new", ("0000_a",), True),
        ("one merged late would be passed over by what is younger still", ("0000_a", "0002_c"), False),
    ],
)
def test_a_task_migrates_at_once_only_where_nothing_would_be_passed_over(
    rule: str, applied: tuple[str, ...], at_once: bool
) -> None:
    reading = DatabaseReading(at=NOON, table="a digest", engine="drizzle")
    record = environment().with_reading(applied, reading)
    wanted = Wanted(Version.parse("v1.1.0"), (*FILES, file("0003_d", 400)), newer_allowed=False)
    assert (_expected(record, ENGINE, wanted) is not None) is at_once
