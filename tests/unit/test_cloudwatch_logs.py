"""A log stream is read from its head, every line once and in order, whatever its pages look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from systems.cloudwatch_logs import LogStream
from tests.unit.fakes import FakeLogs, Fault, closed, lost, refusal

LINES = [f"line {n}" for n in range(350)]


def stream_of(logs: FakeLogs) -> LogStream:
    return LogStream(logs, "/ecs/group", "green-migration/shop/0")


@pytest.mark.parametrize("page", [1, 50, 349, 350, 10_000])
def test_all_pages_are_read(page: int) -> None:
    assert stream_of(FakeLogs(lines=[*LINES], page=page)).read_new() == LINES


def test_an_empty_page_is_not_the_end() -> None:
    logs = FakeLogs(lines=[*LINES], empty=3)
    assert stream_of(logs).read_new() == LINES
    assert logs.count("get_log_events") > 4


def test_what_comes_later_comes_once() -> None:
    logs = FakeLogs(lines=[])
    stream, seen = stream_of(logs), []
    for line in LINES[:30]:
        logs.lines.append(line)
        seen += stream.read_new()
        seen += stream.read_new()
    assert seen == LINES[:30]


@pytest.mark.parametrize(
    "error",
    [lost, closed, lambda: refusal("ThrottlingException"), lambda: refusal("ResourceNotFoundException")],
    ids=["lost", "closed", "throttled", "no such stream yet"],
)
def test_a_read_that_fails_is_made_good_by_the_next(error: Callable[[], Exception]) -> None:
    logs = FakeLogs(lines=[*LINES], page=100)
    stream = stream_of(logs)
    logs.fail("get_log_events", Fault(error()))
    assert stream.read_new() == []
    assert stream.read_new() == LINES


class SecondPageLost(FakeLogs):
    """The answer to the second call is lost."""

    def get_log_events(self, **arguments: Any) -> dict[str, Any]:
        if self.count("get_log_events") == 1:
            self.fail("get_log_events", Fault(lost()))
        return super().get_log_events(**arguments)


def test_lines_before_a_page_that_fails_are_not_lost() -> None:
    stream = stream_of(SecondPageLost(lines=[*LINES], page=100))
    assert stream.read_new() == LINES[:100]
    assert stream.read_new() == LINES[100:]
