"""The database is asked: repository, image and table must agree, and success is what the table says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, PointsmanError, Refused
from core.history import SlotOutputs, State
from core.migration import MigrationFile, digest_of
from core.record import DatabaseReading
from core.version import Version
from operation.operation import Operation
from tasks.checkout import Checkout
from tasks.database import migrate_database
from tests.unit.facts import COMMIT, NOON, settings_with
from tests.unit.fakes import FakeAws

DEFINITION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/team-shop-test-green-migration:7"
FILES = (MigrationFile("1_a", "CREATE TABLE a ();\n"), MigrationFile("2_b", "CREATE TABLE b ();\n"))
REPAIR = "`python -m flows run test -- npx --no-install prisma migrate resolve --rolled-back"
Row = tuple[str, str, bool, bool, str | None]


def row(file: MigrationFile, *, finished: bool = True, undone: bool = False, log: str | None = None) -> Row:
    return (file.name, file.checksum, finished, undone, log)


@dataclass
class FakeDatabase:
    """What the task's script does and says, with a database behind it; `migrates` stands for the migration command."""

    aws: FakeAws
    rows: list[Row] | None = None
    image: list[MigrationFile] | None = field(default_factory=lambda: list(FILES))
    migrates: Callable[[FakeDatabase], int] | None = None
    silent: bool = False
    dies: bool = False
    tasks: int = 0
    output: tuple[str, ...] = ()

    def run(self, arguments: dict[str, Any]) -> int:
        (container,) = arguments["overrides"]["containerOverrides"]
        assert len(json.dumps(arguments["overrides"])) < 8192, "ECS takes no more"
        assert container["command"][:2] == ["node", "-e"]
        self.tasks += 1
        if self.silent:
            return 1
        task = json.loads(container["environment"][0]["value"])
        image = None if self.image is None else [[file.name, file.checksum] for file in self.image]

        def say(**fact: object) -> None:
            self.aws.logs.lines.append(f"{task['mark']} {json.dumps(fact)}")

        self.aws.logs.lines.clear()
        say(image=image)
        say(before=self.rows)
        table = None if self.rows is None else [list(r[:4]) for r in self.rows]
        code = 0
        agrees = task["judged"] or all(r[3] or (r[2] and [r[0], r[1]] in (image or [])) for r in self.rows or ())
        if task["image"] == digest_of(image) and task["table"] == digest_of(table) and agrees:
            say(migrating=True)
            code = (self.migrates or apply_all)(self)
            self.aws.logs.lines += self.output
            if self.dies:
                self.dies = False
                return 137
            say(after=self.rows)
        say(end=code)
        return code


def apply_all(database: FakeDatabase) -> int:
    known = {r[0] for r in database.rows or ()}
    database.rows = [*(database.rows or ()), *(row(f) for f in database.image or () if f.name not in known)]
    return 0


@pytest.fixture
def database(operation: Operation, aws: FakeAws) -> FakeDatabase:
    fake = FakeDatabase(aws)
    aws.ecs.on_run = fake.run
    slot = SlotOutputs(service_name="s", task_definition_arn="t:7", migration_task_definition_arn=DEFINITION)
    operation.journal.change(lambda a: a.started_as(slot))
    operation.journal.advance(State.PLANNED)
    operation.journal.advance(State.APPLIED)
    aws.ecs.definitions[DEFINITION] = {"containerDefinitions": [{"image": operation.release.image}]}
    return fake


def source(files: tuple[MigrationFile, ...] = FILES, version: str = "v1.1.0") -> Checkout:
    return Checkout(Version.parse(version), COMMIT, Path("/nowhere"), files)


def migrate(operation: Operation, files: tuple[MigrationFile, ...] = FILES, **options: bool) -> None:
    migrate_database.fn(operation, source(files), **options)


def remember(operation: Operation, database: FakeDatabase) -> None:
    """As a release before this one did: the table as it is was read."""
    rows = None if database.rows is None else [list(r[:4]) for r in database.rows]
    names = tuple(r[0] for r in database.rows or () if r[2] and not r[3])
    operation.records.change_environment(
        lambda r: r.with_reading(names, DatabaseReading(at=NOON, table=digest_of(rows)))
    )


# --- what is done


def test_one_task_reads_and_migrates_where_all_is_as_it_was_read_last(
    operation: Operation, database: FakeDatabase
) -> None:
    database.rows = [row(FILES[0])]
    remember(operation, database)
    migrate(operation)
    assert database.tasks == 1
    record = operation.records.environment()
    assert record.migrations == ("1_a", "2_b")
    assert record.database is not None
    assert (operation.journal.attempt.schema_head_before, operation.journal.attempt.schema_head_after) == ("1_a", "2_b")
    assert operation.journal.steps[-1].detail == "according to its table the database is at 2_b; 1 migration applied"


def test_a_database_that_was_never_read_is_read_first(operation: Operation, database: FakeDatabase) -> None:
    migrate(operation)
    assert database.tasks == 2
    assert database.rows == [row(f) for f in FILES]


def test_where_nothing_is_pending_there_is_no_second_task(operation: Operation, database: FakeDatabase) -> None:
    database.rows = [row(f) for f in FILES]
    migrate(operation)
    assert database.tasks == 1
    assert operation.journal.steps[-1].detail.endswith("nothing was pending")


def test_a_restored_backup_is_migrated_again_though_the_record_has_it_as_applied(
    operation: Operation, database: FakeDatabase
) -> None:
    database.rows = [row(f) for f in FILES]
    remember(operation, database)
    database.rows = [row(FILES[0])]
    migrate(operation)
    assert database.rows == [row(f) for f in FILES]


def test_a_migration_that_was_rolled_back_and_applied_anew_is_applied(
    operation: Operation, database: FakeDatabase
) -> None:
    database.rows = [row(FILES[0]), row(FILES[1], finished=False, undone=True), row(FILES[1])]
    migrate(operation)
    assert database.tasks == 1


def test_line_ends_of_another_platform_are_no_edit(operation: Operation, database: FakeDatabase) -> None:
    windows = MigrationFile("1_a", FILES[0].text.replace("\n", "\r\n"))
    database.rows = [row(windows), row(FILES[1])]
    migrate(operation)


def test_the_floor_is_raised_once_the_table_was_read_and_before_it_changes(
    operation: Operation, database: FakeDatabase
) -> None:
    marked = (FILES[0], MigrationFile("2_b", "-- pointsman: rollback-floor v1.0.0\n"))
    database.image, database.rows = list(marked), [row(FILES[0])]
    remember(operation, database)
    floors: list[str | None] = []

    def look(fake: FakeDatabase) -> int:
        floors.append(operation.records.environment().rollback_floor)
        return apply_all(fake)

    database.migrates = look
    migrate(operation, marked)
    assert floors == ["v1.0.0"]
    assert database.tasks == 2


def test_a_task_that_exits_badly_though_the_table_has_it_all_has_migrated(
    operation: Operation, database: FakeDatabase
) -> None:
    database.migrates = lambda fake: apply_all(fake) or 1
    migrate(operation)
    assert operation.records.environment().migrations == ("1_a", "2_b")


def test_a_task_that_dies_before_it_read_again_is_followed_by_one_that_reads(
    operation: Operation, database: FakeDatabase
) -> None:
    database.rows, database.dies = [row(FILES[0])], True
    remember(operation, database)
    migrate(operation)
    assert database.tasks == 2
    record = operation.records.environment()
    assert record.migrations == ("1_a", "2_b")
    assert record.database is not None


def test_what_a_dead_task_did_not_do_is_told_by_the_table(operation: Operation, database: FakeDatabase) -> None:
    database.rows, database.dies = [row(FILES[0])], True
    database.migrates = lambda _fake: 0
    with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed"):
        migrate(operation)
    assert operation.records.environment().migrations == ("1_a",)


# --- what is refused


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (row(MigrationFile("0_z", "")), "0_z is applied in this database but is not in the repository"),
        (("1_a", "0" * 64, True, False, None), "1_a was edited after it was applied"),
        (row(FILES[0], finished=False), "1_a failed in this database"),
    ],
)
def test_a_table_that_was_refused_once_is_refused_again_before_anything_migrates(
    operation: Operation, database: FakeDatabase, odd: Row, said: str
) -> None:
    """That it is as it was read last does not make it right: it was read by another release, or refused."""
    database.rows = [odd]
    remember(operation, database)
    for _ in range(2):
        with pytest.raises(Refused, match=said):
            migrate(operation)
    assert database.rows == [odd]


@pytest.mark.parametrize(
    ("rows", "image", "said", "do"),
    [
        ([], [FILES[0]], "The image lacks migration 2_b", ".dockerignore"),
        ([], None, "The image lacks migration 1_a", "migration.image_directory"),
        ([], [FILES[0], MigrationFile("2_b", "DROP TABLE a;")], "The image's migration 2_b differs", "as it is"),
        ([], [*FILES, MigrationFile("3_c", "")], "The image has migration 3_c", "Commit it"),
        (
            [row(FILES[0], finished=False, log="syntax error")],
            [*FILES],
            "1_a failed in this database",
            f"{REPAIR} 1_a`",
        ),
        ([row(MigrationFile("0_z", ""))], [*FILES], "0_z is applied in this database but is not in", "Merge"),
        ([("1_a", "0" * 64, True, False, None)], [*FILES], "1_a was edited after it was applied", "new migration"),
    ],
    ids=["lacks one", "lacks all", "other content", "one too many", "failed", "not in the repository", "edited"],
)
def test_lists_that_disagree_are_refused_by_name_and_nothing_migrates(
    operation: Operation,
    database: FakeDatabase,
    rows: list[Row],
    image: list[MigrationFile] | None,
    said: str,
    do: str,
) -> None:
    database.rows, database.image = rows, image
    with pytest.raises(Refused) as refusal:
        migrate(operation)
    assert said in refusal.value.what
    assert do in refusal.value.do
    assert refusal.value.why
    assert database.rows == rows


def test_who_asks_for_an_older_version_may_have_a_newer_schema(operation: Operation, database: FakeDatabase) -> None:
    database.rows = [*(row(f) for f in FILES), row(MigrationFile("3_c", ""))]
    migrate(operation, newer_allowed=True)


def test_a_release_whose_image_hid_its_migrations_does_not_hide_them_from_the_next(
    operation: Operation, database: FakeDatabase
) -> None:
    database.image = []
    with pytest.raises(Refused, match="The image lacks migration 1_a"):
        migrate(operation)
    assert operation.records.environment().migrations == ()
    database.image = list(FILES)
    migrate(operation)
    assert database.rows == [row(f) for f in FILES]


def test_success_that_the_table_does_not_know_is_a_failure(operation: Operation, database: FakeDatabase) -> None:
    database.migrates = lambda _fake: 0
    with pytest.raises(Permanent, match="reported success, but the table lacks 1_a, 2_b"):
        migrate(operation)
    assert operation.records.environment().migrations == ()


def test_a_failed_migration_is_told_with_the_command_that_resolves_it(
    operation: Operation, database: FakeDatabase
) -> None:
    def fail(fake: FakeDatabase) -> int:
        fake.rows = [row(FILES[0], finished=False)]
        return 1

    database.migrates = fail
    database.output = ("Error: P3018", "Migration name: 1_a", "Database error:", "ERROR: no")
    with pytest.raises(Permanent) as failure:
        migrate(operation)
    assert failure.value.why == "P3018, migration 1_a, ERROR: no"
    assert f"{REPAIR} 1_a`" in failure.value.do


def test_a_database_that_cannot_be_asked_is_not_migrated(operation: Operation, database: FakeDatabase) -> None:
    database.silent = True
    with pytest.raises(Permanent, match="Could not read which migrations the database has"):
        migrate(operation)
    assert database.rows is None


def test_what_a_task_that_died_may_have_done_is_not_relied_on(operation: Operation, database: FakeDatabase) -> None:
    database.rows = [row(FILES[0])]
    remember(operation, database)
    database.silent = True
    with pytest.raises(PointsmanError):
        migrate(operation)
    assert operation.records.environment().database is None


def test_another_image_than_the_releases_does_not_migrate(
    operation: Operation, aws: FakeAws, database: FakeDatabase
) -> None:
    aws.ecs.definitions[DEFINITION] = {"containerDefinitions": [{"image": "team/shop@sha256:old"}]}
    with pytest.raises(Permanent, match="would migrate with a different image"):
        migrate(operation)
    assert database.tasks == 0


def test_where_migrations_are_switched_off_no_task_runs(
    operation: Operation, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation.block, "settings", settings_with("\n[migration]\nenabled = false\n"))
    migrate(operation, ())
    assert database.tasks == 0
