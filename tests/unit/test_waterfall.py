"""The critical path on paper, and the waterfall out of a record."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bench.waterfall import Bar, Latencies, Need, critical_path, needs_of_a_release, waterfall
from core.history import StepRecord
from tests.unit.facts import NOON

COMMANDS = {"init": 1.0, "build": 2.0, "push": 0.5, "plan": 3.0, "apply": 2.0}


@pytest.mark.parametrize(
    ("needs", "seconds", "path"),
    [
        ([], 0.0, ()),
        ([Need("a", (), 2)], 2.0, ("a",)),
        ([Need("a", (), 2), Need("b", (), 3)], 3.0, ("b",)),
        ([Need("a", (), 2), Need("b", (), 3), Need("c", ("a", "b"), 1)], 4.0, ("b", "c")),
        ([Need("a", (), 5), Need("b", (), 3), Need("c", ("b",), 1)], 5.0, ("a",)),
    ],
)
def test_the_critical_path_is_the_longest_way(needs: list[Need], seconds: float, path: tuple[str, ...]) -> None:
    assert critical_path(needs) == (seconds, path)


def test_a_releases_init_costs_nothing_beside_its_build() -> None:
    seconds, path = critical_path(needs_of_a_release(COMMANDS, Latencies(), migration=1.0))
    assert "init" not in path
    assert seconds == pytest.approx(2.0 + 0.5 + 3.0 + 2.0 + 1.0)


def test_aws_own_latencies_are_on_the_path_twice_for_tasks_and_once_for_the_rest() -> None:
    quick, _ = critical_path(needs_of_a_release(COMMANDS, Latencies(), migration=1.0))
    slow, _ = critical_path(needs_of_a_release(COMMANDS, Latencies(35, 10, 5, 3), migration=1.0))
    assert slow - quick == pytest.approx(2 * 35 + 10 + 5 + 3)


def test_the_waterfall_starts_with_the_first_step() -> None:
    def step(name: str, at: float, seconds: float | None) -> StepRecord:
        return StepRecord(name=name, intent="", started_at=NOON + timedelta(seconds=at), seconds=seconds)

    assert waterfall([step("build", 1, 2.0), step("checkout", 0, 0.5), step("init", 1.1, None)]) == [
        Bar("checkout", 0, 0.5),
        Bar("build", 1, 2.0),
        Bar("init", 1.1, 0.0),
    ]
