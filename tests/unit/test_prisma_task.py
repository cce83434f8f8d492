"""What runs inside the image, under the real Node.js: it reads, and migrates only where all is exactly as expected."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.migration import MigrationFile, TableRow, digest_of
from core.settings import Migration
from systems.migrations.engine import Expectation, TaskReport
from systems.migrations.prisma import Prisma, read_migrations
from systems.migrations.task_script import TaskScript
from tests.postgres import running_postgres

# Imitates Prisma's CLI: its table is a file, and `db execute` prints the error that the script would raise.
STUB = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
here = Path({here!r})
table, words = here / "table.json", sys.argv[1:]
with (here / "calls").open("a") as calls:
    print(*words, file=calls)
if words[:2] == ["db", "execute"]:
    sql = sys.stdin.read()
    assert "_prisma_migrations" in sql
    if (here / "refuses").exists():
        print((here / "refuses").read_text())
        sys.exit(1)
    if "--schema" in words and (here / "seven").exists():
        print("Error: unknown or unexpected option: --schema")
        sys.exit(1)
    if "--schema" not in words and not (here / "seven").exists():
        print("Error: Either --url or --schema must be provided.")
        sys.exit(1)
    names = ("migration_name", "checksum", "finished", "undone", "log")
    rows = json.loads(table.read_text())
    rows = None if rows is None else [dict(zip(names, row)) for row in rows]
    print("\\x1b[31mError: ERROR: pointsman:" + json.dumps(rows).encode().hex() + ":\\x1b[0m")
    sys.exit(1)
assert words == ["migrate", "deploy"], words
if (here / "slow").exists():
    def stop(*_):
        (here / "stopped").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    print("migrating slowly", flush=True)
    time.sleep(30)
if not (here / "lazy").exists():
    table.write_text((here / "then.json").read_text())
print("All migrations have been successfully applied.", end="" if (here / "open").exists() else "\\n")
sys.exit(int((here / "code").read_text()) if (here / "code").exists() else 0)
"""

A, B = "CREATE TABLE a ();\n", "CREATE TABLE b ();\n"


@dataclass
class Image:
    """A container's working directory, with a CLI and migrations in it."""

    path: Path
    environment: dict[str, str]
    settings: Migration

    def lease(self, **migrations: str) -> None:
        for name, sql in migrations.items():
            folder = self.path / "prisma/migrations" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "migration.sql").write_bytes(sql.encode())

    def table(self, rows: list[list[Any]] | None, then: list[list[Any]] | None = None) -> None:
        (self.path / "table.json").write_text(json.dumps(rows))
        (self.path / "then.json").write_text(json.dumps(then))

    def start(self, script: TaskScript) -> subprocess.Popen[str]:
        entry = self.settings.entry_point
        return subprocess.Popen(
            [*entry, *script.command],
            cwd=self.path,
            env={**self.environment, **script.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, expected: Expectation | None) -> tuple[TaskReport, list[str]]:
        script = Prisma(self.settings).script(expected)
        size = len(json.dumps({"command": script.command, "environment": script.environment}))
        assert size < 8192 - 300, "a task's overrides take no more"
        with self.start(script) as process:
            assert process.stdout is not None
            lines = process.stdout.read().splitlines()
        return script.report(lines), [line for line in lines if not script.speaks(line)]

    @property
    def calls(self) -> list[str]:
        return (self.path / "calls").read_text().splitlines()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    cli = tmp_path / "bin" / "prisma"
    cli.parent.mkdir()
    cli.write_text(STUB.format(python=sys.executable, here=str(tmp_path)))
    cli.chmod(0o755)
    (tmp_path / "prisma").mkdir()
    (tmp_path / "prisma/schema.prisma").touch()
    environment = {"PATH": f"{cli.parent}:{os.environ['PATH']}", "DATABASE_URL": "postgresql://app:x@db.invalid/app"}
    made = Image(tmp_path, environment, Migration(command=["prisma", "migrate", "deploy"]))
    made.lease(**{"1_a": A, "2_b": B})
    return made


def row(name: str, sql: str, *, finished: bool = True, undone: bool = False) -> list[Any]:
    return [name, hashlib.sha256(sql.encode()).hexdigest(), finished, undone, None]


def expected(image: Image, rows: list[list[Any]] | None, *, judged: bool = False) -> Expectation:
    files = read_migrations(image.path, "prisma/migrations")
    table = None if rows is None else [r[:4] for r in rows]
    return Expectation(digest_of([[f.name, f.checksum] for f in files]), digest_of(table), judged)


def test_image_and_table_are_read_and_nothing_is_changed_unasked(image: Image) -> None:
    image.table([row("1_a", A)])
    report, _ = image.ask(None)
    assert report.before is not None
    assert report.before.image == (("1_a", MigrationFile("1_a", A).checksum), ("2_b", MigrationFile("2_b", B).checksum))
    assert report.before.rows == (TableRow(*row("1_a", A)),)
    assert (report.migrated, report.after, report.exit_code) == (False, None, 0)
    assert not [call for call in image.calls if call.startswith("migrate")]


def test_what_is_as_expected_is_migrated_and_read_again(image: Image) -> None:
    image.table([row("1_a", A)], then=[row("1_a", A), row("2_b", B)])
    report, lines = image.ask(expected(image, [row("1_a", A)]))
    assert report.migrated
    assert report.after is not None
    assert set(report.after.applied) == {"1_a", "2_b"}
    assert report.exit_code == 0
    assert "All migrations have been successfully applied." in lines


def test_a_tool_whose_last_line_has_no_end_swallows_no_report(image: Image) -> None:
    (image.path / "open").touch()
    image.table([], then=[row("1_a", A), row("2_b", B)])
    report, lines = image.ask(expected(image, []))
    assert report.after is not None
    assert set(report.after.applied) == {"1_a", "2_b"}
    assert "All migrations have been successfully applied." in lines


def test_a_database_without_the_table_is_migrated_where_that_was_expected(image: Image) -> None:
    image.table(None, then=[row("1_a", A), row("2_b", B)])
    report, _ = image.ask(expected(image, None))
    assert report.migrated
    assert report.before is not None
    assert report.before.rows is None


@pytest.mark.parametrize(
    ("rows", "remembered"),
    [
        ([row("1_a", A)], [row("1_a", A), row("2_b", B)]),
        ([row("1_a", A)], None),
        (None, [row("1_a", A)]),
        ([], None),
    ],
)
def test_another_table_than_expected_is_left_alone(
    image: Image, rows: list[list[Any]] | None, remembered: list[list[Any]] | None
) -> None:
    image.table(rows)
    report, _ = image.ask(expected(image, remembered))
    assert not report.migrated
    assert report.exit_code == 0


def test_another_image_than_the_repository_is_left_alone(image: Image) -> None:
    image.table([])
    wanted = expected(image, [])
    shutil.rmtree(image.path / "prisma/migrations/2_b")
    report, _ = image.ask(wanted)
    assert not report.migrated


@pytest.mark.parametrize(
    "odd",
    [row("1_a", "edited"), row("0_z", "-- not in the repository"), row("1_a", A, finished=False)],
    ids=["edited", "not in the repository", "failed"],
)
def test_a_table_that_disagrees_with_the_image_is_judged_before_it_is_migrated(image: Image, odd: list[Any]) -> None:
    image.table([odd], then=[odd])
    report, _ = image.ask(expected(image, [odd]))
    assert not report.migrated, "that it was read like this before does not make it right for this release"
    report, _ = image.ask(expected(image, [odd], judged=True))
    assert report.migrated


def test_the_commands_exit_code_is_told_beside_what_the_table_says(image: Image) -> None:
    image.table([], then=[row("1_a", A, finished=False)])
    (image.path / "code").write_text("7")
    report, _ = image.ask(expected(image, []))
    assert report.exit_code == 7
    assert report.after is not None
    assert [failed.name for failed in report.after.failed] == ["1_a"]


def test_a_table_of_many_rows_arrives_in_lines_that_no_log_cuts(image: Image) -> None:
    names = [f"{n:03}_{'x' * 150}" for n in range(300)]
    image.lease(**dict.fromkeys(names, A))
    image.table([row(name, A) for name in names])
    script = Prisma(image.settings).script(None)
    with image.start(script) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert max(map(len, lines)) < 16_000
    before = script.report(lines).before
    assert before is not None
    assert before.image is not None
    assert (len(before.image), len(before.rows or ())) == (302, 300)


@pytest.mark.parametrize("seven", [False, True], ids=["before version 7", "version 7"])
def test_the_tool_is_told_the_schema_where_it_takes_it(image: Image, seven: bool) -> None:
    image.table([])
    if seven:
        (image.path / "seven").touch()
    report, _ = image.ask(None)
    assert report.before is not None
    assert image.calls[0] == "db execute --stdin --schema prisma/schema.prisma"
    assert len(image.calls) == (2 if seven else 1)


def test_a_database_that_does_not_answer_is_told_in_the_tools_words_and_asked_once(image: Image) -> None:
    image.table([])
    (image.path / "refuses").write_text("Error: P1001\n\nCan't reach database server at `db:5432`")
    report, _ = image.ask(expected(image, []))
    assert "P1001" in report.unreadable
    assert (report.before, report.migrated, report.exit_code) == (None, False, 1)
    assert len(image.calls) == 1


def test_a_database_that_is_still_to_be_made_has_no_table(image: Image) -> None:
    image.table(None, then=[row("1_a", A), row("2_b", B)])
    (image.path / "refuses").write_text("Error: P1003: Database `app` does not exist")
    report, _ = image.ask(None)
    assert report.before is not None
    assert report.before.rows is None


@pytest.mark.parametrize("command", [["npm", "run", "migrate"], ["sh", "migrate.sh"], ["node", "migrate", "deploy"]])
def test_a_command_that_is_not_prismas_is_never_called_to_read(image: Image, command: list[str]) -> None:
    """It would migrate before anything is judged; Prisma's CLI is looked for beside it."""
    called = image.path / "called"
    for name in ("npm", "sh", "node-migrate"):
        shim = image.path / "bin" / name
        shim.write_text(f"#!/bin/bash\necho {name} >> {called}\nexit 1\n")
        shim.chmod(0o755)
    npx = image.path / "bin" / "npx"
    npx.write_text(
        f'#!/bin/bash\n[ "$1 $2" = "--no-install prisma" ] || exit 9\nexec {image.path}/bin/prisma "${{@:3}}"\n'
    )
    npx.chmod(0o755)
    image.table([])
    image.settings = Migration(command=command)
    report, _ = image.ask(None)
    assert report.before is not None, report.unreadable
    assert not called.exists()


def test_a_shell_as_entry_point_gets_the_script_in_one_word(image: Image) -> None:
    image.settings = Migration(entry_point=["/bin/sh", "-c"], command=["prisma migrate deploy"])
    npx = image.path / "bin" / "npx"
    npx.write_text(f'#!/bin/bash\nexec {image.path}/bin/prisma "${{@:3}}"\n')
    npx.chmod(0o755)
    image.table([], then=[row("1_a", A), row("2_b", B)])
    report, _ = image.ask(expected(image, []))
    assert report.migrated
    assert report.exit_code == 0


def test_a_task_that_is_stopped_passes_that_on_to_its_migration(image: Image) -> None:
    (image.path / "slow").touch()
    image.table([])
    script = Prisma(image.settings).script(expected(image, []))
    with image.start(script) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "migrating slowly" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.read().splitlines()
    assert process.returncode == 143
    assert time.monotonic() - began < 20
    assert (image.path / "stopped").exists()
    report = script.report(lines)
    assert report.migrated
    assert report.after is not None, "what it left is read"


# --- a real Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as address:
        yield address


def test_the_script_for_the_database_is_one_that_postgres_understands(image: Image, postgres: str) -> None:
    """`psql` stands for `prisma db execute`: both print the error that a script raises."""
    cli = image.path / "bin" / "prisma"
    cli.write_text(f'#!/bin/sh\nexec psql "{postgres}" -v ON_ERROR_STOP=1\n')
    report, _ = image.ask(None)
    assert report.before is not None, report.unreadable
    assert report.before.rows is None
    # https://github.com/prisma/prisma-engines: the table as Prisma makes it
    table = """
        CREATE TABLE _prisma_migrations (
            id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
            migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
            started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0);
        INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at, rolled_back_at, logs) VALUES
            ('1', 'c1', '1_a', now(), NULL, NULL), ('2', 'c2', '2_b', NULL, now(), 'gone'),
            ('3', 'c3', '3_c', NULL, NULL, E'syntax "error"\\n— near ü');
    """
    subprocess.run(["psql", postgres, "-v", "ON_ERROR_STOP=1"], input=table, text=True, check=True, capture_output=True)
    report, _ = image.ask(None)
    assert report.before is not None, report.unreadable
    assert report.before.rows == (
        TableRow("1_a", "c1", True, False, None),
        TableRow("2_b", "c2", False, True, "gone"),
        TableRow("3_c", "c3", False, False, 'syntax "error"\n— near ü'),
    )
