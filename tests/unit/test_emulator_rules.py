"""The emulator's decisions: what a scheduler moves, who is local, who is trusted, what a profile sets."""

from __future__ import annotations

import json

import pytest

from emulator.guard import is_local
from emulator.pace import Buckets
from emulator.propagation import Propagation, lag_of_this_call
from emulator.scheduler import Candidate, Moves, Wanted, decide
from emulator.settings import Settings
from emulator.trust import invalid_principals


def task(arn: str, **differs: bool) -> Candidate:
    state = {"current": True, "running": True, "settled": True, **differs}
    return Candidate(arn=arn, created=arn, **state)


ELB = ""


@pytest.mark.parametrize(
    ("wanted", "tasks", "moves"),
    [
        pytest.param(Wanted(2, "COMPLETED"), [], Moves(start=2), id="nothing is there"),
        pytest.param(Wanted(1, "COMPLETED"), [task("a")], Moves(), id="all is well"),
        pytest.param(
            Wanted(1, "COMPLETED"),
            [task("a", sick=True)],
            Moves(start=1),
            id="a replacement starts before the sick ends",
        ),
        pytest.param(
            Wanted(1, "COMPLETED"),
            [task("a", sick=True), task("b", running=False, settled=False)],
            Moves(),
            id="while it starts, the sick one stays",
        ),
        pytest.param(
            Wanted(1, "COMPLETED"),
            [task("a", sick=True), task("b")],
            Moves(stop={"a": ELB}),
            id="then the sick one ends",
        ),
        pytest.param(
            Wanted(1, "COMPLETED", maximum_percent=100, minimum_percent=0),
            [task("a", sick=True)],
            Moves(stop={"a": ELB}, start=1),
            id="without room the sick one makes it",
        ),
        pytest.param(
            Wanted(2, "COMPLETED"),
            [task("a", sick=True), task("b", sick=True)],
            Moves(start=2),
            id="two at once up to the maximum",
        ),
        pytest.param(
            Wanted(2, "COMPLETED", maximum_percent=150),
            [task("a", sick=True), task("b", sick=True)],
            Moves(stop={"a": ELB}, start=2),
            id="as many as fit, and one makes room",
        ),
        pytest.param(
            Wanted(1, "FAILED"), [task("a", sick=True)], Moves(stop={"a": ELB}), id="a failed deployment starts nothing"
        ),
        pytest.param(
            Wanted(1, "COMPLETED"),
            [task("a"), task("b")],
            Moves(stop={"b": "Service scaling down"}),
            id="the newest goes first",
        ),
        pytest.param(
            Wanted(1, "IN_PROGRESS"), [task("a", current=False)], Moves(start=1), id="old tasks stay in a deployment"
        ),
        pytest.param(
            Wanted(1, "COMPLETED"),
            [task("a", current=False), task("b")],
            Moves(stop={"a": "Task definition updated"}),
            id="and go when it is over",
        ),
        pytest.param(
            Wanted(2, "IN_PROGRESS", maximum_percent=100, minimum_percent=50),
            [task("a", current=False), task("b", current=False)],
            Moves(stop={"a": "Deployment capacity limit"}, start=1),
            id="old ones make room down to the minimum",
        ),
    ],
)
def test_what_a_scheduler_does_next(wanted: Wanted, tasks: list[Candidate], moves: Moves) -> None:
    assert decide(wanted, tasks) == moves


@pytest.mark.parametrize("authority", ["127.0.0.1:4566", "127.0.0.2", "localhost", "[::1]:4566", "a.alb.localhost:80"])
def test_loopback_is_local(authority: str) -> None:
    assert is_local(authority)


@pytest.mark.parametrize("authority", ["", "evil.example", "10.0.0.1:4566", "127.0.0.1.evil.example", "x@[", "null"])
def test_all_else_is_foreign(authority: str) -> None:
    assert not is_local(authority)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(rate=2, burst=3, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert buckets.take("b")
    now[0] = 0.5
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    now[0] = 100
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]


def test_principals_are_looked_up_but_for_accounts_and_services() -> None:
    known = "arn:aws:iam::000000000000:user/known"
    statements = [
        {"Principal": {"Service": "ecs-tasks.amazonaws.com"}},
        {"Principal": {"AWS": ["123456789012", "arn:aws:iam::123456789012:root", known, "arn:aws:iam::1:role/gone"]}},
        {"Principal": "*"},
        {"Principal": {"AWS": "nobody"}},
    ]
    document = json.dumps({"Statement": statements})
    assert invalid_principals(document, exists=lambda arn: arn == known) == ["arn:aws:iam::1:role/gone", "nobody"]
    assert invalid_principals("not json", exists=lambda _: False) == []


def test_a_profile_sets_defaults_that_variables_overrule() -> None:
    plain = Settings.from_environment({})
    assert (plain.api_latency, plain.task_start, plain.weights_lag, plain.log_delay) == (0, 0, 0, 0)
    assert not plain.whole_deregistration
    aws = Settings.from_environment({"POINTSMAN_EMULATOR_PROFILE": "aws", "POINTSMAN_EMULATOR_TASK_START": "2"})
    assert (aws.api_latency, aws.task_start, aws.weights_lag, aws.log_delay) == (0.08, 2, 5, 3)
    assert aws.whole_deregistration
    with pytest.raises(ValueError, match="POINTSMAN_EMULATOR_PROFILE"):
        Settings.from_environment({"POINTSMAN_EMULATOR_PROFILE": "azure"})
    with pytest.raises(ValueError, match="POINTSMAN_EMULATOR_WEIGHTS_LAG is 'soon'"):
        Settings.from_environment({"POINTSMAN_EMULATOR_WEIGHTS_LAG": "soon"})


def test_only_changes_made_with_a_lag_are_late() -> None:
    propagation = Propagation(Settings.from_environment({}))
    old, new = [{"Type": "old"}], [{"Type": "new"}]
    propagation.changed("l", old)
    assert propagation.actions("l", "127.0.0.1", new) == new
    with lag_of_this_call(60):
        propagation.changed("l", old)
    assert propagation.actions("l", "127.0.0.1", new) == old
    assert propagation.actions("other", "127.0.0.1", new) == new
