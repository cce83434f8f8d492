"""What the tests of tasks stand on: an account without a network, and an operation that holds its environment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
from prefect import Task
from prefect.logging import disable_run_logger

from core.colour import Colour, Weights
from operation.operation import Operation
from tests.unit.facts import COMMIT, definition_of, environment, live, owner, release, settings_with
from tests.unit.fakes import FakeAws, operation_of

# A machine that is busy is no fault of what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def no_prefect() -> Iterator[None]:
    """Tasks are called as they are: Prefect's engine is the end-to-end tests' business.

    A test that undoes its own patches does not undo this one: a task that is run then starts a server.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Task, "__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
        patched.setattr(Task, "submit", lambda task, *args, **kwargs: Submitted(task.fn(*args, **kwargs)))
        yield


@dataclass
class Submitted:
    """What Prefect's future is to a flow."""

    value: Any

    def result(self) -> Any:
        return self.value


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls and pauses take no time; deadlines do."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


@pytest.fixture
def no_run_log() -> Iterator[None]:
    """Outside of a flow run there is no run's log."""
    with disable_run_logger():
        yield


@pytest.fixture
def aws() -> FakeAws:
    """An account in which blue carries all traffic and green is empty."""
    account = FakeAws()
    account.ecs.desired = {"shop-test-blue": 1, "shop-test-green": 0}
    account.ecs.definitions = {
        "shop-test-blue:1": definition_of(release("v1.0.0")),
        "shop-test-green:1": definition_of(release("v1.1.0")),
    }
    return account


@pytest.fixture
def operation(aws: FakeAws, no_waiting: None, no_run_log: None) -> Iterator[Operation]:
    """A release of v1.1.0 into green that holds the environment; v1.0.0 is live in blue."""
    made = operation_of(aws, settings_with(), owner())
    made.records.change_environment(
        lambda r: environment(live=live("v1.0.0"), weights=Weights.all_on(Colour.BLUE)).model_copy(
            update={"fencing_token": r.fencing_token}
        )
    )
    made.lease.take("v1.1.0", lambda _record: None)
    made.journal.begin_attempt("v1.1.0", COMMIT, Colour.GREEN)
    made.journal.change(lambda a: a.pinned(release("v1.1.0")))
    yield made
    made.lease.stop_heartbeat()
