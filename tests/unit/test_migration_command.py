"""A command that migrates: run on each release, believed by its exit code and its status, floors out of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.history import SlotOutputs, State
from core.migration import MigrationFile
from core.record import DatabaseReading
from core.version import Version
from operation.operation import Operation
from systems.migrations.command import read_marked_files
from tasks.checkout import Checkout
from tasks.database import migrate_database
from tests.unit.facts import COMMIT, NOON, live, settings_with
from tests.unit.fakes import FakeAws

DEFINITION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/team-shop-test-green-migration:7"
FILES = (MigrationFile("1_a.js", "exports.up = 1\n", "//"), MigrationFile("2_b.js", "exports.up = 2\n", "//"))


@dataclass
class Tasks:
    """The tasks that ran, each with the command given in place of its definition's; `ends` are their exit codes."""

    ends: list[int] = field(default_factory=list)
    commands: list[list[str] | None] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)

    def run(self, arguments: dict[str, Any]) -> int:
        (container,) = arguments["overrides"]["containerOverrides"]
        self.commands.append(container.get("command"))
        self.environments.append({v["name"]: v["value"] for v in container.get("environment", [])})
        return self.ends.pop(0) if self.ends else 0


@pytest.fixture
def tasks(operation: Operation, aws: FakeAws) -> Tasks:
    made = Tasks()
    aws.ecs.on_run = made.run
    slot = SlotOutputs(service_name="s", task_definition_arn="t:7", migration_task_definition_arn=DEFINITION)
    operation.journal.change(lambda a: a.started_as(slot))
    operation.journal.advance(State.PLANNED)
    operation.journal.advance(State.APPLIED)
    aws.ecs.definitions[DEFINITION] = {"containerDefinitions": [{"image": operation.release.image}]}
    return made


@pytest.fixture
def migrate(operation: Operation, tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(files: tuple[MigrationFile, ...] = FILES, version: str = "v1.1.0", status: str = "") -> None:
        more = f'\n[migration]\nengine = "command"\ncommand = ["npm", "run", "migrate"]\n{status}'
        monkeypatch.setattr(operation.block, "settings", settings_with(more))
        migrate_database.fn(operation, Checkout(Version.parse(version), COMMIT, Path("/nowhere"), files))

    return run


STATUS = 'status = ["npx", "knex", "migrate:status"]\n'


def test_the_command_is_the_definitions_own_and_runs_though_nothing_is_new(
    operation: Operation, tasks: Tasks, migrate: Any
) -> None:
    migrate()
    migrate()
    assert tasks.commands == [None, None]
    assert operation.records.environment().migrations == ("1_a.js", "2_b.js")
    assert operation.journal.steps[-1].detail == "`npm run migrate` exited with 0"
    assert (operation.journal.attempt.schema_head_before, operation.journal.attempt.schema_head_after) == (
        "2_b.js",
        "2_b.js",
    )


def test_nothing_is_fetched_at_deploy_time(tasks: Tasks, migrate: Any) -> None:
    migrate()
    (given,) = tasks.environments
    assert given == {"npm_config_yes": "false", "npm_config_update_notifier": "false", "UV_NO_SYNC": "1"}


def test_its_status_is_asked_after_it_and_has_the_last_word(operation: Operation, tasks: Tasks, migrate: Any) -> None:
    migrate(status=STATUS)
    assert tasks.commands == [None, ["npx", "knex", "migrate:status"]]
    assert operation.journal.steps[-1].detail == "`npm run migrate` exited with 0, and so did its status command"


@pytest.mark.parametrize(
    ("ends", "said", "ran"),
    [
        ([3], r"The migration command of v1\.1\.0 exited with 3: `npm run migrate`", 1),
        ([0, 1], r"The status command of v1\.1\.0 exited with 1: `npx knex migrate:status`", 2),
    ],
)
def test_an_exit_code_that_is_not_0_fails_the_release_and_the_record_learns_nothing(
    operation: Operation, aws: FakeAws, tasks: Tasks, migrate: Any, ends: list[int], said: str, ran: int
) -> None:
    tasks.ends = ends
    aws.logs.lines[:] = ["relation a exists"]
    with pytest.raises(Permanent, match=said) as failure:
        migrate(status=STATUS)
    assert "relation a exists" in failure.value.why
    assert len(tasks.commands) == ran
    record = operation.records.environment()
    assert (record.migrations, record.database) == ((), None)


def test_a_floor_is_raised_before_the_command_runs(operation: Operation, tasks: Tasks, migrate: Any) -> None:
    tasks.ends = [1]
    marked = (FILES[0], MigrationFile("2_b.js", "// pointsman: rollback-floor v1.0.0\n", "//"))
    with pytest.raises(Permanent):
        migrate(marked)
    assert operation.records.environment().rollback_floor == "v1.0.0"


def test_a_floor_of_an_earlier_release_is_not_raised_again(operation: Operation, tasks: Tasks, migrate: Any) -> None:
    marked = (FILES[0], MigrationFile("2_b.js", "// pointsman: rollback-floor\n", "//"))
    reading = DatabaseReading(at=NOON, table="x", engine="command")
    operation.records.change_environment(
        lambda r: r.gone_live(live("v1.0.0", migrations=("1_a.js", "2_b.js"))).with_reading(("1_a.js",), reading)
    )
    tasks.ends = [1]
    with pytest.raises(Permanent):
        migrate(marked)
    migrate(marked)
    assert operation.records.environment().rollback_floor is None


def test_a_floor_above_the_live_version_is_refused_before_the_command_runs(
    operation: Operation, tasks: Tasks, migrate: Any
) -> None:
    operation.records.change_environment(lambda r: r.gone_live(live("v1.0.0", migrations=("1_a.js",))))
    with pytest.raises(Refused, match="would raise the rollback floor"):
        migrate((FILES[0], MigrationFile("2_b.js", "// pointsman: rollback-floor\n", "//")))
    assert tasks.commands == []


# --- its files


def test_files_that_can_hold_a_floor_are_read_by_number(tmp_path: Path) -> None:
    for name in ("V10__c.sql", "V2__b.sql", "V1__a.sql", "README.md", "later/20260101_d.rb"):
        (tmp_path / "db" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "db" / name).write_text("-- x\n")
    files = read_marked_files(tmp_path, "db")
    assert [f.name for f in files] == ["V1__a.sql", "V2__b.sql", "V10__c.sql", "later/20260101_d.rb"]
    assert [f.comment for f in files] == ["--", "--", "--", "#"]


@pytest.mark.parametrize("name", ["README.md", "a.xml"])
def test_a_directory_of_which_nothing_can_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(Refused, match=r"has no file whose comments can be read"):
        read_marked_files(tmp_path, ".")


@pytest.mark.parametrize("name", ["a b.sql", "x|y.sql", "a b/c.sql"])
def test_a_name_that_could_be_more_than_a_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(Refused, match="has an invalid name"):
        read_marked_files(tmp_path, ".")


def test_a_link_out_of_the_checkout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "1.sql").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match=r"1\.sql is not a file of the repository"):
        read_marked_files(tmp_path, "db")
