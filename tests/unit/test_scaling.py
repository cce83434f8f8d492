"""The number in the file is the number that runs, and a rollback's slot is filled, never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.colour import Colour, Weights
from core.errors import Permanent, Refused
from core.history import State
from core.record import RollbackIntent
from core.release import Configuration
from core.version import Version
from core.warm import Warmth
from lifecycle.acquire import take_at_once
from lifecycle.finish_rollback import warmth_of
from lifecycle.release_request import enter
from lifecycle.scale import scale_to_settings
from operation.operation import Operation
from systems.probes import Prober
from tasks.candidate import fill_slot, scale_live, start_candidate
from tasks.checkout import Checkout
from tasks.traffic import shift_traffic
from tests.unit.facts import COMMIT, NOON, live, owner, settings_with, slot_of
from tests.unit.fakes import Block, FakeAws, Fault, operation_of, refusal, store_of

BLUE, GREEN = "shop-test-blue", "shop-test-green"


def again(aws: FakeAws, desired_count: int) -> Operation:
    """Another run that asks for the live tag, with another count in the file."""
    settings = settings_with(desired_count=str(desired_count))
    digest = Configuration.of(settings, {}).digest
    assert digest == live("v1.0.0").release.configuration.digest
    return operation_of(aws, settings, owner("run-2", pid=9))


def asked_for(operation: Operation, tag: str = "v1.0.0") -> str:
    source = Checkout(Version.parse(tag), COMMIT, Path(), ())
    entered = enter(operation, source, allow_downgrade=False)
    outcome = scale_to_settings(operation, source.version) if entered.only_scale else entered.outcome
    assert outcome is not None
    return outcome.message or ""


@pytest.mark.parametrize(("ran", "wanted"), [(1, 3), (3, 1)])
def test_the_live_tag_with_another_count_is_scaled_at_once(
    operation: Operation, aws: FakeAws, ran: int, wanted: int
) -> None:
    operation.lease.drop()
    aws.ecs.desired[BLUE] = ran
    aws.elbv2.healthy[Colour.BLUE] = wanted
    said = asked_for(again(aws, wanted))
    assert f"scaled from {ran} to {wanted}" in said
    assert aws.ecs.desired[BLUE] == wanted
    assert aws.ecs.deployments.get(BLUE, 0) == 0, "a count makes no deployment"
    record = store_of(aws.s3).environment()
    assert (record.lease, record.frozen) == (None, None)
    assert aws.elbv2.history == []


def test_the_live_tag_with_the_same_count_changes_nothing(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    assert "nothing was changed" in asked_for(again(aws, 1))
    assert aws.ecs.count("update_service") == 0


def test_a_sick_live_release_that_ecs_doubles_is_not_scaled(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    aws.ecs.running[BLUE] = 2
    assert "nothing was changed" in asked_for(again(aws, 1))
    assert aws.ecs.count("update_service") == 0


def test_a_scaling_is_done_only_once_targets_say_so(operation: Operation, aws: FakeAws) -> None:
    other = operation_of(aws, settings_with(desired_count="3", start="0.05"), owner("run-2", pid=9))
    operation.lease.drop()
    take_at_once(other)
    with pytest.raises(Permanent, match="did not reach 3 tasks"):
        scale_live.fn(other, live("v1.0.0"), 1)
    other.lease.stop_heartbeat()


def test_a_foreign_definition_is_not_scaled(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    aws.ecs.uses[BLUE] = "other:7"
    aws.ecs.definitions["other:7"] = {"containerDefinitions": [{"image": "someone/else:1"}]}
    other = again(aws, 3)
    with pytest.raises(Refused, match="frozen"):
        asked_for(other)
    other.lease.stop_heartbeat()
    assert aws.ecs.desired[BLUE] == 1


def test_a_scaling_survives_throttled_polls(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.fail("describe_target_health", *[Fault(refusal("ThrottlingException")) for _ in range(6)])
    assert scale_live.fn(operation, live("v1.0.0"), 2) == "scaled from 2 to 1"


# --- the slot that a rollback returns to

TARGET = live("v0.9.0", Colour.GREEN).model_copy(update={"slot": slot_of("green:4", GREEN)})


@pytest.fixture
def old(operation: Operation, aws: FakeAws) -> Operation:
    """v0.9.0 still runs in green, with one task."""
    aws.ecs.desired[GREEN] = 1
    aws.ecs.uses[GREEN] = "green:4"
    return operation


def test_a_sick_live_release_that_ecs_doubles_leaves_the_old_colour_warm(old: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[BLUE], aws.ecs.running[BLUE] = 2, 4
    assert warmth_of(old, TARGET, Colour.GREEN) is Warmth.WARM


def test_a_slot_with_a_foreign_definition_is_not_warm(old: Operation, aws: FakeAws) -> None:
    aws.ecs.uses[GREEN] = "other:7"
    assert warmth_of(old, TARGET, Colour.GREEN) is Warmth.COLD


@pytest.mark.parametrize("lag", ["no service", "another definition"])
def test_a_slot_is_not_called_cold_by_one_stale_read(old: Operation, aws: FakeAws, lag: str) -> None:
    aws.ecs.stale = [[] if lag == "no service" else [{**aws.ecs.service(GREEN), "taskDefinition": "green:3"}]]
    assert warmth_of(old, TARGET, Colour.GREEN) is Warmth.WARM


def test_a_slot_that_started_the_target_for_this_rollback_is_known_by_that_start() -> None:
    intent = RollbackIntent(target=TARGET, leaving=live("v1.0.0"), flow_run_id="run-1", at=NOON)
    started = intent.model_copy(update={"slot": slot_of("green:5", GREEN)})
    assert (intent.target_as_started.definition, started.target_as_started.definition) == ("green:4", "green:5")


def filler(aws: FakeAws, start: str = "0.5") -> Operation:
    made = operation_of(aws, settings_with(desired_count="3", start=start), owner("run-2", pid=9))
    take_at_once(made)
    made.journal.begin_rollback(TARGET.release, Colour.GREEN)
    return made


@pytest.mark.parametrize(
    ("filling", "live_healthy"),
    [pytest.param([1, 2, 3], 3, id="until it is full"), pytest.param([1, 2], 1, id="until it serves better")],
)
def test_a_short_slot_gets_tasks_and_loses_none(
    old: Operation, aws: FakeAws, filling: list[int], live_healthy: int
) -> None:
    old.lease.drop()
    aws.elbv2.filling[Colour.GREEN] = filling
    aws.elbv2.healthy[Colour.BLUE] = live_healthy
    run = filler(aws)
    fill_slot.fn(run)
    run.lease.stop_heartbeat()
    counts = [a["desiredCount"] for name, a in aws.ecs.calls if name == "update_service"]
    assert counts == [3]
    assert aws.ecs.deployments.get(GREEN, 0) == 0, "no task of it was replaced"
    assert aws.elbv2.filling[Colour.GREEN] == []


def test_a_short_slot_takes_the_traffic_with_what_is_healthy_when_time_is_up(old: Operation, aws: FakeAws) -> None:
    old.lease.drop()
    aws.elbv2.healthy = {Colour.BLUE: 3, Colour.GREEN: 1}
    run = filler(aws, start="0.02")
    fill_slot.fn(run)
    run.lease.stop_heartbeat()


def test_a_new_release_starts_the_configured_count_whatever_live_runs(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired[BLUE] = 7
    for state in ("PLANNED", "APPLIED", "MIGRATED"):
        operation.journal.advance(type(operation.journal.attempt.state)(state))
    start_candidate.fn(operation)
    assert aws.ecs.desired[GREEN] == 1
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)


# --- the count that was approved


def started_with(operation: Operation, aws: FakeAws, count: int) -> Operation:
    """A release that was started with one task and waits, and whose file says another count by now."""
    for state in ("PLANNED", "APPLIED", "MIGRATED"):
        operation.journal.advance(State(state))
    start_candidate.fn(operation)
    for state in ("VERIFIED", "AWAITING_APPROVAL"):
        operation.journal.advance(State(state))
    assert operation.journal.attempt.tasks == 1
    assert isinstance(operation.block, Block)
    operation.block.settings = settings_with(desired_count=str(count))
    return operation


@pytest.mark.parametrize("now", [3, 1])
def test_what_was_approved_takes_the_traffic_though_the_file_wants_more_by_now(
    operation: Operation, aws: FakeAws, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prober, "see_candidate", lambda *_, **__: 1)
    shift_traffic.fn(started_with(operation, aws, now))
    assert aws.elbv2.weights == Weights.all_on(Colour.GREEN)
    assert aws.ecs.desired[GREEN] == 1, "what was not approved is not started"


def test_fewer_healthy_tasks_than_were_approved_take_no_traffic(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prober, "see_candidate", lambda *_, **__: 1)
    run = started_with(operation, aws, 1)
    run.journal.change(lambda a: a.started(2))
    with pytest.raises(Permanent, match=r"too few healthy targets .*wanted 2"):
        shift_traffic.fn(run)
    assert aws.elbv2.history == []
