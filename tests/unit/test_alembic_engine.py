"""Alembic's part that needs no database: its files, how a command calls it, what its rows mean, its failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Refused
from core.migration import MigrationFile, Reading, TableRow, missing_in
from core.settings import Migration
from systems.migrations.alembic import Alembic, Call, call_of, migration_failure, read_revisions

ENGINE = Alembic(Migration(engine="alembic"))


def file(name: str, down: str | None) -> MigrationFile:
    return MigrationFile(name, f"revision = {name!r}\ndown_revision = {down!r}\n", "#")


FILES = (file("a", None), file("b", "a"), file("c", "b"))


def at(*heads: str) -> Reading:
    return Reading(None, tuple(TableRow(head, "", True, False) for head in heads))


@pytest.mark.parametrize(
    ("rule", "heads", "remembered", "applied", "missing", "head"),
    [
        ("no table", (), (), [], ("a", "b", "c"), None),
        ("in the midst", ("b",), (), ["a", "b"], ("c",), "b"),
        ("at the head", ("c",), (), ["a", "b", "c"], (), "c"),
        ("at one that the repository lacks", ("z",), (), ["z"], ("a", "b", "c"), "z"),
        ("at one that it lacks, and that was read before", ("z",), ("a", "b", "z"), ["a", "b", "z"], ("c",), "z"),
        ("at one that it lacks, when another was read", ("z",), ("a", "b"), ["z"], ("a", "b", "c"), "z"),
        ("what was read before says nothing of what is known", ("a",), ("a", "b", "c"), ["a"], ("b", "c"), "a"),
    ],
)
def test_what_is_applied_is_what_the_heads_stand_for(
    rule: str,
    heads: tuple[str, ...],
    remembered: tuple[str, ...],
    applied: list[str],
    missing: tuple[str, ...],
    head: str | None,
) -> None:
    reading = ENGINE.interpret(at(*heads), FILES, remembered)
    assert list(reading.applied) == applied, rule
    assert missing_in(reading, FILES) == missing, rule
    assert reading.head == head, rule


@pytest.mark.parametrize(("heads", "remembered"), [(("z",), ()), (("z",), ("a", "z"))])
def test_from_a_foreign_head_nothing_is_applied(heads: tuple[str, ...], remembered: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match=r"Alembic cannot apply [ab] to a database that is at z"):
        ENGINE.refuse(FILES, ENGINE.interpret(at(*heads), FILES, remembered))


@pytest.mark.parametrize(("heads", "remembered"), [((), ()), (("b",), ()), (("z",), ("a", "b", "c", "z"))])
def test_what_alembic_can_do_is_not_refused(heads: tuple[str, ...], remembered: tuple[str, ...]) -> None:
    ENGINE.refuse(FILES, ENGINE.interpret(at(*heads), FILES, remembered))


@pytest.mark.parametrize(
    ("command", "call"),
    [
        (["alembic", "upgrade", "head"], Call(("python3",), ("alembic",), ())),
        (
            ["/app/.venv/bin/alembic", "-c", "db/alembic.ini", "upgrade", "head"],
            Call(("/app/.venv/bin/python3",), ("/app/.venv/bin/alembic",), ("-c", "db/alembic.ini")),
        ),
        (
            ["python", "-m", "alembic", "-x", "tenant=a", "upgrade", "heads"],
            Call(("python",), ("python", "-m", "alembic"), ("-x", "tenant=a")),
        ),
        (
            ["uv", "run", "--no-sync", "alembic", "upgrade", "head"],
            Call(("uv", "run", "--no-sync", "python3"), ("uv", "run", "--no-sync", "alembic"), ()),
        ),
        (["alembic upgrade head"], Call(("python3",), ("alembic",), ())),
        (["./migrate.sh"], Call(("python3",), ("alembic",), ())),
        (["make", "alembic"], Call(("python3",), ("alembic",), ())),
    ],
)
def test_how_a_command_calls_alembic(command: list[str], call: Call) -> None:
    assert call_of(command) == call


def test_messages_name_the_commands_of_the_environment() -> None:
    tool = Alembic(Migration(engine="alembic", command=["alembic", "-c", "db.ini", "upgrade", "head"])).tool("live")
    assert "`python -m flows run live -- alembic -c db.ini stamp abc`" in tool.repair_of("abc")
    assert "`python -m flows run live --version <version> -- alembic -c db.ini downgrade" in tool.undo_of("abc")
    assert "stamp abc" in tool.after_failure(None, "abc")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.", ""),
        ("FAILED: Can't locate revision identified by 'zz'", "FAILED: Can't locate revision identified by 'zz'"),
        (
            "INFO  [alembic.runtime.migration] Running upgrade a -> b, add\n"
            "INFO  [alembic.runtime.migration] Running upgrade b -> c, more\nTraceback (most recent call last):\n"
            'psycopg.errors.DuplicateTable: relation "a" already exists\n\nThe above exception was\n'
            'sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateTable) relation "a" already exists\n[SQL: ...]',
            'revision c, sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateTable) relation "a" already exists',
        ),
    ],
)
def test_a_failure_is_told_in_alembics_words(output: str, said: str) -> None:
    assert migration_failure(output.splitlines()) == said


# --- its files


def write(checkout: Path, name: str, text: str) -> None:
    path = checkout / "alembic" / "versions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_revisions_are_read_whatever_their_files_are_called(tmp_path: Path) -> None:
    write(tmp_path, "1_last.py", FILES[1].text)
    write(tmp_path, "2_first.py", FILES[0].text)
    write(tmp_path, "__init__.py", "")
    write(tmp_path, "README", "no revision")
    (tmp_path / "alembic/versions/__pycache__").mkdir()
    found = read_revisions(tmp_path, "alembic/versions")
    assert found == FILES[:2]


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="The migration directory alembic/versions does not exist") as refusal:
        ENGINE.read_files(tmp_path)
    assert "migration.directory" in refusal.value.do


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a b.py", FILES[0].text, "has an invalid name"),
        ("a.py", "revision = 'a b'\ndown_revision = None\n", "'a b' has an invalid name"),
        ("a.py", "import x\n", "a.py is not a revision of Alembic"),
    ],
)
def test_what_is_no_revision_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    write(tmp_path, name, text)
    with pytest.raises(Refused, match=what):
        read_revisions(tmp_path, "alembic/versions")
