"""The watch finds what there is to do with as few questions as that takes, and starts a run only then."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.colour import Colour, Weights
from core.errors import PointsmanError
from core.reconciliation import Work
from core.record import EnvironmentRecord
from operation.lease import now
from operation.operation import Operation
from reconciler import watch
from reconciler.watch import Watch, find_work
from tests.unit.facts import environment, lease_of, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, refusal, store_of

BLUE = Weights.all_on(Colour.BLUE)
FREE = environment(live=live("v1.0.0"), weights=BLUE)
DEAD = environment(live=live("v1.0.0"), weights=BLUE, lease=lease_of(owner("run-1"), left=-1))


class Prefect:
    """Which runs it believes in although they are dead, and how often it was asked."""

    def __init__(self, *dead: str) -> None:
        self.dead, self.asked = frozenset(dead), 0

    def __call__(self, _environment: str, _expiry: float) -> frozenset[str]:
        self.asked += 1
        return self.dead


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    made = Prefect()
    monkeypatch.setattr(watch, "see_dead_runs", made)
    return made


@pytest.fixture
def seen(aws: FakeAws) -> Operation:
    return operation_of(aws, settings_with(), owner("watch"))


def found(aws: FakeAws, seen: Operation, record: EnvironmentRecord) -> set[Work]:
    store_of(aws.s3).change_environment(lambda _: record)
    return set(find_work(store_of(aws.s3), seen.aws, seen.settings))


def test_there_is_nothing_to_do_where_all_is_ours(aws: FakeAws, seen: Operation, prefect: Prefect) -> None:
    assert found(aws, seen, FREE) == set()
    assert prefect.asked == 1


def test_neither_prefect_nor_the_load_balancer_is_asked_where_a_holder_is_gone(
    aws: FakeAws, seen: Operation, prefect: Prefect
) -> None:
    aws.elbv2.broken = {"describe_rules": lambda: refusal("ServiceUnavailable", 503)}
    assert found(aws, seen, DEAD) == {Work.TAKE_OVER}
    assert prefect.asked == 0


def test_a_foreign_weight_is_found(aws: FakeAws, seen: Operation, prefect: Prefect) -> None:
    aws.elbv2.weights = Weights(blue=50, green=50)
    assert found(aws, seen, FREE) == {Work.FREEZE}


def test_the_load_balancer_is_not_looked_at_while_somebody_works(
    aws: FakeAws, seen: Operation, prefect: Prefect
) -> None:
    aws.elbv2.weights = Weights(blue=50, green=50)
    works = lease_of(owner("run-1")).model_copy(update={"expires_at": now() + timedelta(hours=1)})
    assert found(aws, seen, FREE.model_copy(update={"lease": works})) == set()


def test_a_run_that_only_prefect_believes_in_is_found(aws: FakeAws, seen: Operation, prefect: Prefect) -> None:
    prefect.dead = frozenset({"run-7"})
    assert found(aws, seen, FREE) == {Work.CLOSE_RUNS}


@pytest.fixture
def started(aws: FakeAws, seen: Operation, prefect: Prefect, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the watch of the account started a run."""
    roles = {"reconcile": seen.block}  # it looks as the role that cleans up
    monkeypatch.setattr(watch, "load_environment", lambda _: SimpleNamespace(acting_in=roles.__getitem__))
    monkeypatch.setattr(watch, "read_settings", lambda _: seen.settings)
    monkeypatch.setattr(watch, "AwsClients", lambda _: seen.aws)
    return []


def look(aws: FakeAws, started: list[str], record: EnvironmentRecord) -> list[str]:
    store_of(aws.s3).change_environment(lambda _: record)
    Watch("test", lambda: started.append("a run")).look_once()
    return started


def test_a_run_is_started_where_there_is_something_to_do(aws: FakeAws, started: list[str]) -> None:
    assert look(aws, started, FREE) == []
    assert look(aws, started, DEAD) == ["a run"]


def test_the_watch_goes_on_after_a_look_that_failed(
    aws: FakeAws, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(BaseException):
        """The test has seen enough."""

    looks = iter([lambda: None, _fail, lambda: None])

    def look_once(_: Watch) -> None:
        next(looks, _enough)()

    def _enough() -> None:
        raise Enough

    monkeypatch.setattr(Watch, "look_once", look_once)
    monkeypatch.setattr(watch.time, "sleep", lambda _seconds: None)
    with pytest.raises(Enough):
        Watch("test", lambda: None).run()
    assert next(looks, None) is None


def _fail() -> None:
    raise PointsmanError("S3 is away")


@pytest.mark.parametrize("module", ["reconciler", "flows.reconcile"])
def test_its_process_refuses_an_environment_without_a_file(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", module],
        env={"POINTSMAN_ENVIRONMENT": "moon"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "The environment 'moon' does not exist" in told.stderr
    assert ("Use `python -m reconciler`" in told.stderr) is (module == "flows.reconcile")
