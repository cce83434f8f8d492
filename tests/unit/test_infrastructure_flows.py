"""`provision` and `destroy` as their drawings: order, what a no leaves, what is held when, and what stays on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.admission import refuse_if_destroying
from core.colour import Colour, Weights
from core.errors import Permanent, Refused
from core.reconciliation import looks_for_foreign_hands
from core.record import EnvironmentRecord
from core.retirement import reason_to_skip
from core.rollback import choose_target
from flows import destroy as destroy_flow
from flows import provision as provision_flow
from flows.destroy import destroy_environment
from flows.provision import provision_environment
from lifecycle import run
from lifecycle.abort import traffic_now
from lifecycle.acquire import take_at_once
from lifecycle.agreement import Answer, Question
from lifecycle.run import run_operation
from operation.lease import now
from operation.operation import Operation
from systems.terraform import Plan, Root
from tasks import infrastructure
from tests.unit.facts import NOON, environment, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

PROVISION = [
    "check_principals",
    "make_state_bucket",
    "plan_account",
    "agree_on",
    "apply_account",
    "plan_environment",
    "agree_on",
    "apply_environment",
    "record_infrastructure",
    "show_outputs",
]
DESTROY = [
    "refuse_while_used",
    "plan_destruction",
    "agree_to_destroy",
    "begin_destruction",
    "lift_protection",
    "empty_slot",
    "destroy_slot",
    "empty_slot",
    "destroy_slot",
    "destroy_root",
    "forget_infrastructure",
]
ASKS = ("agree_on", "agree_to_destroy")


def plan_of(**content: Any) -> Plan:
    return Plan(Root("environment", Path(), "key"), Path("plan"), "ab" * 32, content)


RESULTS: dict[str, Any] = {
    "plan_account": plan_of(),
    "plan_environment": plan_of(),
    "plan_destruction": {state: plan_of() for state in ("blue", "green", "environment")},
    "apply_account": {"ecr_repository_url": "x"},
    "apply_environment": {"alb_dns_name": "y"},
}


def nobody(_: Question) -> Answer:
    raise AssertionError("nobody is asked here")


@pytest.fixture
def idle(aws: FakeAws, operation: Operation, monkeypatch: pytest.MonkeyPatch) -> Operation:
    """A run of its own on an environment that nobody holds: v1.0.0 is live in blue."""
    operation.lease.stop_heartbeat()
    store_of(aws.s3).change_environment(lambda r: r.leased(None))
    made = operation_of(aws, settings_with(), owner("run-2", pid=9))
    monkeypatch.setattr(run, "open_run", lambda *_, **__: made)
    monkeypatch.setattr(run, "label_run_with_owner", lambda *_: None)
    return made


class Drawing:
    """Steps that do nothing but say that they were called, and whether the environment was held meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, names: list[str]) -> None:
        self.called: list[str] = []
        self.held: dict[str, bool] = {}
        self.doing: dict[str, Callable[[], object]] = {}
        for name in dict.fromkeys(names):
            monkeypatch.setattr(module, name, self._step(name))

    def _step(self, name: str) -> Callable[..., object]:
        def step(operation: Operation, *_: object, **__: object) -> object:
            self.called.append(name)
            self.held[name] = operation.records.environment().lease is not None
            return self.doing[name]() if name in self.doing else RESULTS.get(name, f"{name} said so")

        return step


@pytest.fixture
def provisioning(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    return Drawing(monkeypatch, provision_flow, PROVISION)


@pytest.fixture
def destroying(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    return Drawing(monkeypatch, destroy_flow, DESTROY)


def record_of(aws: FakeAws) -> EnvironmentRecord:
    return store_of(aws.s3).environment()


def test_provision_goes_through_its_drawing(idle: Operation, provisioning: Drawing, aws: FakeAws) -> None:
    assert provision_environment(idle, nobody) == "test is provisioned: show_outputs said so."
    assert provisioning.called == PROVISION
    assert record_of(aws).lease is None


def test_destroy_goes_through_its_drawing(idle: Operation, destroying: Drawing, aws: FakeAws) -> None:
    said = destroy_environment(idle, nobody)
    assert destroying.called == DESTROY
    assert "the images in team/shop" in said
    assert record_of(aws).lease is None


def test_nothing_is_held_while_a_human_decides_and_all_else_is(
    idle: Operation, provisioning: Drawing, destroying: Drawing
) -> None:
    provision_environment(idle, nobody)
    destroy_environment(idle, nobody)
    seen = provisioning.held | destroying.held
    free = {"check_principals", "make_state_bucket", "show_outputs", "refuse_while_used", *ASKS}
    assert {name for name, held in seen.items() if not held} == free


@pytest.mark.parametrize(("flow", "times"), [("provision", 1), ("provision", 2), ("destroy", 1)])
def test_a_no_changes_nothing_and_leaves_the_environment_free(
    idle: Operation, provisioning: Drawing, destroying: Drawing, aws: FakeAws, flow: str, times: int
) -> None:
    before = record_of(aws)

    def refuse() -> None:
        if (provisioning.called + destroying.called).count(ask) == times:
            raise Refused("The plan was rejected", why="Ada")

    ask = "agree_on" if flow == "provision" else "agree_to_destroy"
    provisioning.doing = destroying.doing = {ask: refuse}
    body = provision_environment if flow == "provision" else destroy_environment
    ended = run_operation(flow, "test", lambda op: body(op, nobody))
    assert ended.is_failed()
    assert "The plan was rejected: Ada" in str(ended.message)
    assert provisioning.called[-1:] + destroying.called[-1:] == [ask]
    after = record_of(aws)
    assert (after.lease, after.live, after.infrastructure) == (None, before.live, before.infrastructure)


@pytest.mark.parametrize("step", ["apply_account", "plan_environment", "apply_environment", "record_infrastructure"])
def test_a_provision_that_fails_gives_the_environment_back(
    idle: Operation, provisioning: Drawing, aws: FakeAws, step: str
) -> None:
    def fail() -> None:
        raise Permanent("terraform apply failed")

    provisioning.doing = {step: fail}
    ended = run_operation("provision", "test", lambda op: provision_environment(op, nobody))
    assert ended.is_failed()
    assert provisioning.called[-1] == step
    assert record_of(aws).lease is None
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)


@pytest.mark.parametrize("step", ["lift_protection", "empty_slot", "destroy_slot", "destroy_root"])
def test_a_destroy_that_fails_halfway_is_gone_on_with_by_the_next_and_by_nothing_else(
    idle: Operation, destroying: Drawing, aws: FakeAws, step: str
) -> None:
    def begin() -> None:
        store_of(aws.s3).change_environment(lambda r: r.being_destroyed(NOON))

    def fail() -> None:
        raise Permanent("terraform apply failed")

    destroying.doing = {"begin_destruction": begin, step: fail}
    ended = run_operation("destroy", "test", lambda op: destroy_environment(op, nobody))
    assert ended.is_failed()
    assert "Traffic: it is being destroyed; run `destroy` again to finish." in str(ended.message)
    assert record_of(aws).lease is None
    with pytest.raises(Refused, match="test is being destroyed"):
        take_at_once(idle)
    del destroying.doing[step]
    destroying.called.clear()
    destroy_environment(idle, nobody)
    assert destroying.called == DESTROY


# --- the record


def test_while_it_is_being_destroyed_nothing_releases_returns_watches_or_retires() -> None:
    record = environment(live=live("v1.1.0"), healthy=(live("v1.0.0"),)).being_destroyed(NOON)
    with pytest.raises(Refused, match="`destroy` began at 2026-03-01 12:00:00 UTC"):
        refuse_if_destroying(record)
    with pytest.raises(Refused, match="is being destroyed"):
        choose_target(record, None)
    assert not looks_for_foreign_hands(record)
    assert reason_to_skip(record, NOON, window=1, at_once=False) == "Skipped: test is being destroyed."
    assert record.being_destroyed(now()).destroying == NOON, "it began when it began"


def test_what_was_live_stays_a_healthy_release_of_an_environment_that_is_gone() -> None:
    was, before = live("v1.1.0"), live("v1.0.0")
    record = environment(live=was, healthy=(before,), weights=Weights.all_on(Colour.BLUE))
    gone = record.being_destroyed(NOON).destroyed()
    assert (gone.live, gone.infrastructure, gone.weights, gone.destroying) == (None, None, None, None)
    assert gone.healthy == (before, was)
    assert gone.rollback_floor == record.rollback_floor
    assert gone.database is None, "the table is read before anything is believed of it"


def test_an_environment_that_is_rebuilt_is_not_being_destroyed_any_more(operation: Operation) -> None:
    record = operation.record.being_destroyed(NOON)
    assert record.provisioned(operation.infrastructure, Weights.all_on(Colour.GREEN)).destroying is None


def test_traffic_of_an_environment_that_is_being_destroyed_is_not_asked_about(operation: Operation) -> None:
    operation.records.change_environment(lambda r: r.being_destroyed(NOON))
    assert traffic_now(operation).startswith("it is being destroyed")


# --- a plan that waited


def test_a_plan_with_the_weights_of_before_is_not_applied(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infrastructure, "_apply", lambda *_: pytest.fail("it was applied"))
    old = plan_of(variables={"listener_weights": {"value": {"blue": 0, "green": 100}}})
    with pytest.raises(Refused, match=r"Plan abababababab is out of date: .* traffic moved to \{'blue': 100"):
        infrastructure.apply_environment(operation, old)


def test_a_plan_with_the_weights_of_now_is(operation: Operation) -> None:
    same = plan_of(variables={"listener_weights": {"value": {"blue": 100, "green": 0}}})
    assert infrastructure.apply_environment(operation, same) == {}
