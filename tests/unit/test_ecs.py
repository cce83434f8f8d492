"""Writes to ECS: a lost answer is looked for and never taken for a failure, and a stopped task is seen STOPPED."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused, UnknownOutcome
from core.lease import take
from operation.lease import now
from operation.operation import Operation
from systems.one_off import OneOff
from tasks.candidate import vacate_slot
from tests.unit.adapters import run_one_off, scale_to_zero, start_slot, stop_one_offs
from tests.unit.facts import owner
from tests.unit.fakes import FakeAws, Fault, Task, closed, lost, refusal, store_of, unreachable

GREEN = "shop-test-green"
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/c/0"


def run(operation: Operation, timeout: float = 5, heard: Callable[[str], bool] = lambda _line: False) -> OneOff:
    return run_one_off(operation, heard, timeout=timeout)


LOST = [
    pytest.param([Fault(lost(), lands=True)], 1, id="answer lost, done"),
    pytest.param([Fault(lost())], 2, id="answer lost, not done"),
    pytest.param([Fault(closed(), lands=True)], 1, id="connection closed, done"),
    pytest.param([Fault(unreachable())], 2, id="not reached"),
    pytest.param([Fault(refusal("ThrottlingException"))], 2, id="throttled"),
    pytest.param([Fault(refusal("ServerException", 500), lands=True)], 1, id="ECS failed, done"),
    pytest.param([Fault(refusal("ServerException", 500)), Fault(lost())], 3, id="twice nothing"),
]


# --- update_service


@pytest.mark.parametrize(("faults", "asked"), LOST)
def test_a_scaling_whose_answer_was_lost_is_looked_for_and_asked_again_only_if_need_be(
    operation: Operation, aws: FakeAws, faults: list[Fault], asked: int
) -> None:
    aws.ecs.desired[GREEN] = 2
    aws.ecs.fail("update_service", *faults)
    assert scale_to_zero(operation, Colour.GREEN) == 2
    assert aws.ecs.desired[GREEN] == 0
    assert aws.ecs.count("update_service") == asked


@pytest.mark.parametrize(("faults", "asked"), LOST)
def test_a_start_whose_answer_was_lost_makes_one_deployment(
    operation: Operation, aws: FakeAws, faults: list[Fault], asked: int
) -> None:
    aws.ecs.fail("update_service", *faults)
    assert start_slot(operation, Colour.GREEN, 1) == 1
    assert (aws.ecs.desired[GREEN], aws.ecs.deployments[GREEN]) == (1, 1)
    assert aws.ecs.count("update_service") == asked


def test_a_start_that_was_not_done_is_not_taken_for_done_by_its_count(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 1  # it is to run, and must be started anew
    aws.ecs.fail("update_service", Fault(lost()))
    start_slot(operation, Colour.GREEN, 1)
    assert aws.ecs.deployments.get(GREEN) == 1


def test_a_scaling_that_never_gets_an_answer_has_an_unknown_outcome(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 2
    aws.ecs.broken = {"update_service": lost}
    with pytest.raises(UnknownOutcome, match=f"scaling {GREEN} to 0 was lost"):
        scale_to_zero(operation, Colour.GREEN)


def test_a_scaling_that_ecs_refuses_is_not_tried_again(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 2
    aws.ecs.broken = {"update_service": lambda: refusal("ServiceNotActiveException")}
    with pytest.raises(Permanent, match="ServiceNotActiveException"):
        scale_to_zero(operation, Colour.GREEN)
    assert aws.ecs.count("update_service") == 1


def test_who_is_taken_over_between_two_tries_does_not_scale_again(operation: Operation, aws: FakeAws) -> None:
    def taken_over() -> None:
        store_of(aws.s3).change_environment(lambda r: take(r, owner("other"), now(), expiry=7200, version=None))

    aws.ecs.desired[GREEN] = 2
    aws.ecs.fail("update_service", Fault(lost(), meanwhile=taken_over))
    with pytest.raises(Refused, match="no longer ours"):
        scale_to_zero(operation, Colour.GREEN)
    assert aws.ecs.count("update_service") == 1


def test_an_empty_slot_has_nothing_to_stop(operation: Operation, aws: FakeAws) -> None:
    assert scale_to_zero(operation, Colour.GREEN) is None
    assert aws.ecs.desired[GREEN] == 0


@pytest.mark.parametrize("lag", ["it says empty", "it knows no service"])
def test_a_slot_is_not_taken_for_empty_by_one_stale_read(operation: Operation, aws: FakeAws, lag: str) -> None:
    before = [] if lag == "it knows no service" else [aws.ecs.service(GREEN)]
    aws.ecs.desired[GREEN] = 2
    aws.ecs.stale = [before]
    assert scale_to_zero(operation, Colour.GREEN) == 2
    assert aws.ecs.desired[GREEN] == 0


def test_a_slot_that_a_stale_read_calls_empty_is_waited_for_by_the_list_of_its_tasks(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = [aws.ecs.service(GREEN)]
    aws.ecs.desired[GREEN] = 2
    listed = [["task/1"], ["task/1"], []]
    monkeypatch.setattr(aws.ecs, "list_tasks", lambda **_: {"taskArns": listed.pop(0)})
    aws.ecs.stale = [empty, empty, empty, empty]
    assert scale_to_zero(operation, Colour.GREEN) == 2
    assert listed == []


# --- which deployment


def older(**facts: object) -> dict[str, object]:
    return {"status": "ACTIVE", "id": "ecs-svc/old", "runningCount": 1, "rolloutState": "COMPLETED", **facts}


def test_a_failed_deployment_of_before_does_not_end_a_new_start(operation: Operation, aws: FakeAws) -> None:
    before = aws.ecs.service(GREEN)
    before["deployments"][0]["rolloutState"] = "FAILED"
    aws.ecs.stale = [[before], [before], [before]]  # as it was before our deployment, for a while
    assert start_slot(operation, Colour.GREEN, 1) == 1
    assert aws.ecs.deployments[GREEN] == 1


def test_tasks_of_another_deployment_do_not_count_as_started(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 1
    aws.ecs.older[GREEN] = [older()]
    real = aws.ecs.service

    def none_of_ours(name: str) -> dict[str, object]:
        service = real(name)
        service["deployments"][0]["runningCount"] = 0
        return service

    aws.ecs.service = none_of_ours  # type: ignore[method-assign, assignment]
    with pytest.raises(Permanent, match="did not become healthy in the green slot"):
        start_slot(operation, Colour.GREEN, 1)


def test_a_start_that_ecs_gives_up_is_told_with_ecs_s_reason(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.failing[GREEN] = ["COMPLETED", "FAILED"]
    aws.elbv2.healthy[Colour.GREEN] = 0
    with pytest.raises(Permanent, match="tasks failed to start"):
        start_slot(operation, Colour.GREEN, 1, subject="v9.9.9", within=0.2)


def test_a_start_for_which_there_is_no_capacity_is_made_again(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.failing[GREEN] = ["COMPLETED", "FAILED", "COMPLETED"]
    aws.ecs.running[GREEN] = 0
    real = aws.ecs.update_service

    def told(**arguments: object) -> object:
        answer = real(**arguments)  # type: ignore[arg-type]
        if aws.ecs.deployments[GREEN] == 1:
            aws.ecs.running[GREEN] = 0
            reason = "Reason: Capacity is unavailable at this time. Please try again later"
            aws.ecs.events[GREEN] = [f"(service {GREEN}) was unable to place a task. {reason}"]
        return answer

    aws.ecs.update_service = told  # type: ignore[method-assign, assignment]
    assert start_slot(operation, Colour.GREEN, 1) == 1
    assert aws.ecs.deployments[GREEN] == 2


@pytest.mark.parametrize("call", ["describe_services", "describe_target_health", "list_tasks"])
def test_a_start_survives_throttled_polls(operation: Operation, aws: FakeAws, call: str) -> None:
    client = aws.elbv2 if call == "describe_target_health" else aws.ecs
    throttled = [Fault(refusal("ThrottlingException")) for _ in range(6)]
    client.fail(call, *throttled)
    assert start_slot(operation, Colour.GREEN, 1) == 1
    assert aws.ecs.deployments[GREEN] == 1


def test_a_slot_empties_though_six_polls_are_throttled(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 2
    aws.ecs.fail("list_tasks", *[Fault(refusal("ThrottlingException")) for _ in range(6)])
    assert scale_to_zero(operation, Colour.GREEN) == 2


def test_what_did_not_start_is_named_by_what_was_started(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.healthy[Colour.BLUE] = 0
    with pytest.raises(Permanent, match=r"^v1\.0\.0 did not become healthy in the blue slot"):
        start_slot(operation, Colour.BLUE, 1, subject="v1.0.0", within=0.05)


def test_a_slot_that_carries_traffic_is_never_vacated(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[GREEN] = 2
    ours = aws.elbv2.weights = Weights(blue=99, green=1)
    operation.records.change_environment(lambda r: r.carrying(ours))
    with pytest.raises(Refused, match="green slot carries traffic"):
        vacate_slot.fn(operation)
    assert aws.ecs.desired[GREEN] == 2


# --- run_task


@pytest.mark.parametrize(("faults", "asked"), LOST)
def test_a_task_whose_start_was_lost_is_asked_for_again_with_the_same_token(
    operation: Operation, aws: FakeAws, faults: list[Fault], asked: int
) -> None:
    aws.ecs.fail("run_task", *faults)
    run(operation)
    assert len(aws.ecs.tasks) == 1
    tokens = {arguments["clientToken"] for name, arguments in aws.ecs.calls if name == "run_task"}
    assert len(tokens) == 1
    assert {arguments["startedBy"] for name, arguments in aws.ecs.calls if name == "run_task"} == {"run-1-1"}
    assert aws.ecs.count("run_task") >= asked


def test_a_task_whose_start_is_never_answered_has_an_unknown_outcome(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.fail("run_task", Fault(lost(), lands=True), Fault(lost()), Fault(lost()))
    with pytest.raises(UnknownOutcome, match="starting a task of migration:1 was lost"):
        run(operation)
    assert len(aws.ecs.tasks) == 1


def test_a_task_that_ecs_cannot_place_is_told_with_its_reason(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.failures = [{"reason": "MISSING", "detail": "no such cluster"}]
    with pytest.raises(Permanent, match="ECS did not start a task: MISSING no such cluster"):
        run(operation)


@pytest.mark.parametrize("reason", ["Capacity is unavailable at this time. Please try again later", "RESOURCE:MEMORY"])
def test_room_for_a_task_is_waited_for(operation: Operation, aws: FakeAws, reason: str) -> None:
    aws.ecs.failures = [{"reason": reason}, {"reason": reason}]
    assert run(operation).exit_code == 0
    tokens = [arguments["clientToken"] for name, arguments in aws.ecs.calls if name == "run_task"]
    assert len(set(tokens)) == len(tokens) == 3, "a token that was answered is not used again"


def test_room_for_a_task_is_not_waited_for_for_ever(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.failures = [{"reason": "Capacity is unavailable at this time"}]
    with pytest.raises(Permanent, match="ECS did not start a task: Capacity is unavailable"):
        run(operation, timeout=0)


def test_throttled_looks_at_a_task_are_repeated_until_its_deadline(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.fail("describe_tasks", *[Fault(refusal("ThrottlingException")) for _ in range(6)])
    assert run(operation).exit_code == 0


def test_a_task_that_takes_too_long_is_stopped(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.ends_with = None
    with pytest.raises(Permanent, match="took longer than"):
        run(operation, timeout=0.01)
    assert [t.last for t in aws.ecs.tasks] == ["STOPPED"]


def test_a_task_ends_with_its_exit_code_and_its_lines(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.ends_with, aws.logs.lines = 1, ["Error: P3018"]
    ended = run(operation)
    assert (ended.exit_code, ended.lines) == (1, ("Error: P3018",))


def test_every_line_of_a_task_arrives_in_order(operation: Operation, aws: FakeAws) -> None:
    lines = [f"line {n}" for n in range(257)]
    aws.logs.lines, aws.logs.empty, aws.logs.late = lines[:250], 2, [lines[250:255], lines[255:]]
    heard: list[str] = []
    ended = run(operation, heard=lambda line: bool(heard.append(line)))
    assert heard == lines
    assert list(ended.lines) == lines


def test_the_last_line_of_a_stopped_task_is_waited_for_where_it_is_known(operation: Operation, aws: FakeAws) -> None:
    asked = itertools.count()

    def slow_line() -> None:
        # poll is 0.001 s and log_quiet 0.005 s: long after it would be called quiet, and long before log_arrival
        if next(asked) == 20:
            aws.logs.lines.append("end")

    heard: list[str] = []

    def hear(line: str) -> bool:
        heard.append(line)
        return line == "end"

    aws.logs.before_read = slow_line
    assert run_one_off(operation, hear, says_its_end=True).lines == ("end",)
    assert heard == ["end"]


def test_a_task_whose_last_line_was_heard_is_not_waited_for(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.ends_with = None  # it would never stop
    aws.logs.lines = ["working", "end"]
    ended = run(operation, heard=lambda line: line == "end")
    assert (ended.exit_code, ended.lines) == (None, ("working", "end"))


# --- stop_task


def test_all_tasks_so_marked_are_stopped_and_no_others(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.tasks = [Task(f"{ARN}{n}", mark) for n, mark in enumerate(["run-1-1", "run-1-1", "run-2-1"])]
    assert stop_one_offs(operation, "run-1-1") == 2
    assert [t.last for t in aws.ecs.tasks] == ["STOPPED", "STOPPED", "RUNNING"]


def test_where_nothing_runs_nothing_is_stopped(operation: Operation, aws: FakeAws) -> None:
    assert stop_one_offs(operation, "run-1-1") == 0
    assert aws.ecs.count("stop_task") == 0


def test_a_task_that_is_not_listed_yet_is_found_by_a_second_look(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Task(ARN, "run-1-1")
    monkeypatch.setattr(time, "sleep", lambda _seconds: aws.ecs.tasks or aws.ecs.tasks.append(started))
    assert stop_one_offs(operation, "run-1-1") == 1
    assert started.last == "STOPPED"


def test_a_task_is_seen_stopped_before_anything_is_decided(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.tasks = [Task(ARN, "run-1-1", lingers=5)]
    stop_one_offs(operation, "run-1-1")
    assert aws.ecs.tasks[0].last == "STOPPED"
    assert aws.ecs.count("stop_task") == 1


def test_a_task_that_was_told_to_stop_by_a_run_that_died_is_seen_stopped_too(
    operation: Operation, aws: FakeAws
) -> None:
    aws.ecs.tasks = [Task(ARN, "run-1-1", desired="STOPPED", lingers=5)]
    stop_one_offs(operation, "run-1-1")
    assert aws.ecs.tasks[0].last == "STOPPED"


@pytest.mark.parametrize("lands", [True, False])
def test_a_stop_whose_answer_was_lost_is_looked_for(operation: Operation, aws: FakeAws, lands: bool) -> None:
    aws.ecs.tasks = [Task(ARN, "run-1-1", lingers=3)]
    aws.ecs.fail("stop_task", Fault(lost(), lands=lands))
    stop_one_offs(operation, "run-1-1")
    assert aws.ecs.tasks[0].last == "STOPPED"


@pytest.mark.parametrize("lands", [True, False])
def test_after_a_stop_of_unknown_outcome_a_second_look_sees_the_task_stopped(
    operation: Operation, aws: FakeAws, lands: bool
) -> None:
    aws.ecs.tasks = [Task(ARN, "run-1-1", lingers=3)]
    aws.ecs.fail("stop_task", Fault(lost(), lands=lands))
    try:
        stop_one_offs(operation, "run-1-1")
    except UnknownOutcome:
        stop_one_offs(operation, "run-1-1")
    assert aws.ecs.tasks[0].last == "STOPPED"


def test_a_task_that_does_not_stop_is_said_so(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.tasks = [Task(ARN, "run-1-1", lingers=10**9)]
    with pytest.raises(PointsmanError, match="1 one-off tasks did not stop"):
        stop_one_offs(operation, "run-1-1")
