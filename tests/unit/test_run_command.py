"""An operator's command beside the database: its exit code, its lines, and what the record keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.history import SlotOutputs, State
from core.record import DatabaseReading, EnvironmentRecord
from flows import __main__ as commands
from lifecycle.abort import Ending, abort_attempt
from lifecycle.acquire import take_at_once
from lifecycle.run_command import run_command
from operation.operation import Operation
from tests.unit.facts import NOON, lease_of, owner, settings_with
from tests.unit.fakes import FakeAws, Task, operation_of, refusal, store_of

SLOT = SlotOutputs(service_name="s", task_definition_arn="t:7", migration_task_definition_arn="m:7")


def test_the_record_keeps_a_command_without_its_secrets(operation: Operation, aws: FakeAws) -> None:
    operation.records.change_environment(
        lambda r: r.model_copy(update={"live": r.live and r.live.model_copy(update={"slot": SLOT})})
    )
    operation.lease.drop()
    by_hand = operation_of(aws, settings_with(), owner("by-hand", pid=9))
    assert run_command(by_hand, ["psql", "postgres://app:hunter2@db/app"], None, print) == 0
    kept = store_of(aws.s3).environment().commands[-1]
    assert kept.command == "psql postgres://app:***@db/app"
    assert (kept.version, kept.exit_code) == ("v1.0.0", 0)


FAILED = SlotOutputs(service_name="s", task_definition_arn="t:8", migration_task_definition_arn="m:8")


@pytest.fixture
def by_hand(operation: Operation, aws: FakeAws) -> Operation:
    """An operator's command, after v1.1.0 failed in green; v1.0.0 is live in blue, and the table was read."""

    def failed(record: EnvironmentRecord) -> EnvironmentRecord:
        live = record.live and record.live.model_copy(update={"slot": SLOT})
        reading = DatabaseReading(at=NOON, table="t")
        return record.model_copy(update={"live": live, "last_failed": "v1.1.0", "database": reading})

    operation.records.change_environment(failed)
    operation.journal.change(lambda a: a.started_as(FAILED))
    operation.lease.drop()
    return operation_of(aws, settings_with(), owner("local-1", flow="run", pid=9))


def asked(aws: FakeAws) -> dict[str, Any]:
    return next(arguments for name, arguments in aws.ecs.calls if name == "run_task")


@pytest.mark.parametrize(("version", "definition"), [(None, "m:8"), ("v1.1.0", "m:8")])
def test_the_release_that_failed_last_runs_the_command_unless_another_is_named(
    by_hand: Operation, aws: FakeAws, version: str | None, definition: str
) -> None:
    assert run_command(by_hand, ["prisma", "migrate", "status"], version, print) == 0
    assert asked(aws)["taskDefinition"] == definition
    (container,) = asked(aws)["overrides"]["containerOverrides"]
    assert container["command"] == ["prisma", "migrate", "status"]
    assert store_of(aws.s3).environment().commands[-1].version == "v1.1.0"


def test_where_none_failed_the_live_release_runs_it(by_hand: Operation, aws: FakeAws) -> None:
    by_hand.records.change_environment(lambda r: r.model_copy(update={"last_failed": None}))
    run_command(by_hand, ["true"], None, print)
    assert asked(aws)["taskDefinition"] == "m:7"


def test_a_version_without_a_task_definition_is_refused(by_hand: Operation, aws: FakeAws) -> None:
    with pytest.raises(Refused, match=r"No task definition of v9\.0\.0"):
        run_command(by_hand, ["true"], "v9.0.0", print)
    assert aws.ecs.count("run_task") == 0
    assert store_of(aws.s3).environment().lease is None


def test_its_lines_come_in_order_and_its_exit_code_is_the_commands(by_hand: Operation, aws: FakeAws) -> None:
    aws.logs.lines, aws.ecs.ends_with = [f"line {n}" for n in range(300)], 3
    heard: list[str] = []
    assert run_command(by_hand, ["seed"], None, heard.append) == 3
    assert heard == [f"line {n}" for n in range(300)]
    record = store_of(aws.s3).environment()
    assert [entry.exit_code for entry in record.commands] == [3]
    assert record.database is None, "the command may have changed the table"
    assert record.lease is None


def test_it_holds_the_environment_and_is_on_record_while_it_runs(by_hand: Operation, aws: FakeAws) -> None:
    seen: list[EnvironmentRecord] = []
    aws.logs.lines = ["working"]
    run_command(by_hand, ["seed"], None, lambda _line: seen.append(store_of(aws.s3).environment()))
    assert seen[0].lease is not None
    assert (seen[0].lease.owner.flow, seen[0].lease.step) == ("run", "run")
    assert [entry.exit_code for entry in seen[0].commands] == [None]


def test_a_held_environment_runs_no_command(by_hand: Operation, aws: FakeAws) -> None:
    take_at_once(operation_of(aws, settings_with(), owner("other")))
    with pytest.raises(Refused, match="test is held by release"):
        run_command(by_hand, ["seed"], None, print)
    assert aws.ecs.count("run_task") == 0


def interrupted(_line: str) -> None:
    raise KeyboardInterrupt


def gone(_line: str) -> None:
    raise BrokenPipeError


@pytest.mark.parametrize("end", [interrupted, gone])
def test_a_command_whose_operator_goes_away_is_stopped_before_the_environment_is_free(
    by_hand: Operation, aws: FakeAws, end: Callable[[str], None]
) -> None:
    aws.ecs.ends_with, aws.logs.lines = None, ["working"]
    with pytest.raises((KeyboardInterrupt, BrokenPipeError)):
        run_command(by_hand, ["seed"], None, end)
    assert [task.last for task in aws.ecs.tasks] == ["STOPPED"]
    record = store_of(aws.s3).environment()
    assert record.lease is None
    assert [entry.exit_code for entry in record.commands] == [None], "its end was not seen"


def test_a_command_that_cannot_be_stopped_keeps_the_environment(by_hand: Operation, aws: FakeAws) -> None:
    aws.ecs.ends_with, aws.logs.lines = None, ["working"]
    aws.ecs.broken = {"stop_task": lambda: refusal("AccessDeniedException")}
    with pytest.raises(KeyboardInterrupt):
        run_command(by_hand, ["seed"], None, interrupted)
    assert store_of(aws.s3).environment().lease is not None


def test_a_command_whose_process_died_is_stopped_by_whoever_finds_it(operation: Operation, aws: FakeAws) -> None:
    dead = owner("local-1", flow="run", pid=9)
    aws.ecs.tasks = [Task("arn:aws:ecs:eu-west-1:123456789012:task/c/9", dead.attempt)]
    ending = Ending(State.FAILED, "run", "its process died")
    settled = abort_attempt(operation.with_journal_of_its_own(), ending, lease_of(dead, version=None))
    assert settled.complete
    assert [task.last for task in aws.ecs.tasks] == ["STOPPED"]


def test_while_it_cannot_be_stopped_nobody_gets_the_environment(operation: Operation, aws: FakeAws) -> None:
    dead = owner("local-1", flow="run", pid=9)
    aws.ecs.tasks = [Task("arn:aws:ecs:eu-west-1:123456789012:task/c/9", dead.attempt)]
    aws.ecs.broken = {"stop_task": lambda: refusal("AccessDeniedException")}
    ending = Ending(State.FAILED, "run", "its process died")
    assert not abort_attempt(operation.with_journal_of_its_own(), ending, lease_of(dead, version=None)).complete


@pytest.mark.parametrize(
    ("line", "version", "words"),
    [
        (["run", "test", "--", "prisma", "-v"], None, ["prisma", "-v"]),
        (["run", "test", "--version", "v1.0.0", "--", "sh", "-c", "a -- b"], "v1.0.0", ["sh", "-c", "a -- b"]),
        (["run", "--version", "v1.0.0", "test", "--", "x", "--version", "2"], "v1.0.0", ["x", "--version", "2"]),
        (["run", "test", "--", "npm", "run", "seed", "--", "--all"], None, ["npm", "run", "seed", "--", "--all"]),
    ],
)
def test_what_stands_behind_two_dashes_is_the_commands_own(
    by_hand: Operation,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    version: str | None,
    words: list[str],
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(commands, "_refuse_without_server", lambda: None)
    monkeypatch.setattr(commands, "open_run", lambda *_asked, **_options: by_hand)
    monkeypatch.setattr(commands, "run_command", lambda _op, words, version, _say: ran.append((words, version)) or 4)
    assert commands.main(line) == 4
    assert ran == [(words, version)]


def test_without_a_command_nothing_is_held(by_hand: Operation, aws: FakeAws) -> None:
    with pytest.raises(Refused, match="No command was given"):
        run_command(by_hand, [], None, print)
    assert store_of(aws.s3).environment().lease is None


def test_a_command_that_is_not_placed_is_told_with_the_reason(by_hand: Operation, aws: FakeAws) -> None:
    aws.ecs.failures = [{"reason": "InvalidParameter", "detail": "no such image"}]
    with pytest.raises(Permanent, match="ECS did not start a task"):
        run_command(by_hand, ["seed"], None, print)
    assert store_of(aws.s3).environment().lease is None
