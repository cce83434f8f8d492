"""How an operation that did not end well ends: the old version first, then the candidate, then the record."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.ending import Ending
from core.history import Attempt, State, VersionRecord
from core.record import LeaseRecord, RollbackIntent
from lifecycle.abort import Aborted, abort_attempt, traffic_now
from lifecycle.acquire import take_at_once
from operation.lease import now
from operation.operation import Operation
from systems.processes import owner_of
from systems.terraform import state_key
from tests.unit.adapters import abort
from tests.unit.facts import COMMIT, FROZEN, NOON, lease_of, live, owner, settings_with
from tests.unit.fakes import FakeAws, Fault, Task, lost, operation_of, refusal, store_of

BLUE, GREEN, SPLIT = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN), Weights(blue=50, green=50)
LIVE_SERVICE, CANDIDATE = "shop-test-blue", "shop-test-green"
FAILED = Ending(State.FAILED, "smoke", "GET /readyz answered 503")
HOME = "100 % on v1.0.0 (blue)."


def settle(operation: Operation, ending: Ending = FAILED, tried: Attempt | None = None) -> Aborted:
    """Settle the operation's own attempt, or the one given."""
    return abort(operation, ending, tried)


def settle_lost(operation: Operation, tried: Attempt) -> Aborted:
    """Settle an attempt whose history was lost, so that nobody but who tried it knows its commit."""
    operation.records.environment()
    operation.journal.take_up("v1.1.0", COMMIT, tried)
    return abort(operation, FAILED)


def settle_nothing(operation: Operation, lease: LeaseRecord) -> Aborted:
    """Settle what somebody held who made no attempt at a version."""
    return abort_attempt(operation.with_journal_of_its_own(), FAILED, lease)


def history(aws: FakeAws) -> VersionRecord:
    found = store_of(aws.s3).version("v1.1.0")
    assert found is not None
    return found


def went_through(operation: Operation, *steps: str) -> None:
    for name in steps:
        with operation.journal.step(name, "said") as step:
            step.done("said")


def advance(operation: Operation, to: State) -> None:
    path = [State.PLANNED, State.APPLIED, State.MIGRATED, State.RUNNING, State.VERIFIED, State.SHIFTING, State.BAKING]
    for state in path[: path.index(to) + 1]:
        operation.journal.advance(state)


def change(operation: Operation, **facts: Any) -> None:
    """Change the record, and see it."""
    operation.records.change_environment(lambda r: r.model_copy(update=facts))


def names(aws: FakeAws) -> list[str]:
    """The writes to AWS, in order."""
    calls = [*aws.elbv2.calls, *aws.ecs.calls]
    return [name for name, _ in calls if name in ("modify_listener", "update_service", "stop_task")]


# --- an attempt that is live by the record


@pytest.fixture
def baked(operation: Operation, aws: FakeAws) -> Operation:
    """A release that died after the record named it live, and before its own history did."""
    advance(operation, State.BAKING)
    went_through(operation, "vacate", "migrate")
    aws.elbv2.weights = GREEN
    aws.ecs.desired[CANDIDATE] = 1
    change(operation, live=live("v1.1.0", Colour.GREEN), weights=GREEN)
    return operation


def test_an_attempt_that_is_live_by_the_record_ends_healthy_whatever_became_of_its_process(
    baked: Operation, aws: FakeAws
) -> None:
    began = now()
    settled = settle(baked)
    last = history(aws).attempts[-1]
    assert (last.state, last.failure) == (State.HEALTHY, None)
    assert last.ended_at is not None
    assert last.ended_at >= began
    assert settled == Aborted("100 % on v1.1.0 (green).", complete=True)
    assert names(aws) == []


def test_the_history_of_a_healthy_attempt_that_was_lost_is_written_anew(baked: Operation, aws: FakeAws) -> None:
    kept = baked.journal.attempt
    aws.s3.objects.pop("releases/test/v1.1.0.json")
    fresh = operation_of(aws, settings_with(), baked.owner)
    assert settle_lost(fresh, kept).complete
    assert [(a.id, a.state) for a in history(aws).attempts] == [(kept.id, State.HEALTHY)]
    assert history(aws).commit == COMMIT


def test_a_healthy_attempt_ends_from_what_its_history_says_and_not_from_what_was_seen_of_it(
    baked: Operation, aws: FakeAws
) -> None:
    seen = baked.journal.attempt
    went_through(baked, "record")
    assert settle(baked, tried=seen).complete
    assert [s.name for s in history(aws).attempts[-1].steps][:3] == ["vacate", "migrate", "record"]


def test_a_healthy_attempt_whose_history_cannot_be_written_is_not_settled(baked: Operation, aws: FakeAws) -> None:
    aws.s3.broken = {"put_object": lambda: refusal("AccessDenied", 403)}
    assert not settle(baked).complete


@pytest.mark.parametrize(
    ("rule", "facts", "of"),
    [
        ("another release is live", {"live": live("v1.0.0")}, {}),
        ("another revision of it is live", {"live": live("v1.1.0", Colour.GREEN, variables={"A": "b"})}, {}),
        ("it is live, in the other slot", {"live": live("v1.1.0", Colour.BLUE)}, {}),
        ("nothing is live", {"live": None}, {}),
        ("it was still shifting", {}, {"state": State.SHIFTING}),
        ("it is not known which release it was", {}, {"release": None}),
    ],
)
def test_an_attempt_that_is_not_the_live_one_ends_as_it_failed(
    baked: Operation, aws: FakeAws, rule: str, facts: dict[str, Any], of: dict[str, Any]
) -> None:
    # The version's history lies where the attempt does, so that the record alone decides.
    tried = baked.journal.attempt.model_copy(update=of)
    baked.records.change_version("v1.1.0", COMMIT, lambda r: r.model_copy(update={"attempts": (tried,)}))
    change(baked, **facts)
    settle(baked, tried=tried)
    assert history(aws).attempts[-1].state is State.FAILED, rule


# --- a rollback whose target has the traffic


def rolling_back(operation: Operation, aws: FakeAws, weights: Weights) -> RollbackIntent:
    """A rollback from v1.1.0 in green to v1.0.0 in blue, with the listener at `weights`."""
    intent = RollbackIntent(
        target=live("v1.0.0"), leaving=live("v1.1.0", Colour.GREEN), flow_run_id="run-1", at=NOON, named=False
    )
    aws.elbv2.weights = weights
    aws.ecs.uses[CANDIDATE] = f"{CANDIDATE}:1"
    aws.ecs.desired[CANDIDATE] = 1
    change(operation, live=intent.leaving, healthy=(intent.target,), rollback=intent, weights=GREEN)
    operation.journal.begin_rollback(intent.target.release, Colour.BLUE)
    return intent


@pytest.mark.parametrize(
    ("rule", "weights", "written", "readable"),
    [
        ("the listener says so", BLUE, GREEN, True),
        ("nobody can read the listener, and the record says so", GREEN, BLUE, False),
    ],
)
def test_a_rollback_whose_target_has_the_traffic_stands_for_whoever_completes_it(
    operation: Operation, aws: FakeAws, rule: str, weights: Weights, written: Weights, readable: bool
) -> None:
    intent = rolling_back(operation, aws, weights)
    change(operation, weights=written)
    if not readable:
        aws.elbv2.broken = {"describe_listeners": lost}
    settled = settle(operation)
    assert settled.traffic.endswith(" The rollback is kept; `reconcile` completes it."), rule
    assert not settled.complete
    assert store_of(aws.s3).environment().rollback == intent
    assert names(aws) == []


def test_a_rollback_that_stands_in_a_frozen_environment_waits_for_a_human_and_not_for_the_next_look(
    operation: Operation, aws: FakeAws
) -> None:
    rolling_back(operation, aws, BLUE)
    change(operation, frozen=FROZEN)
    assert settle(operation).complete


@pytest.mark.parametrize(
    ("rule", "weights", "written", "readable"),
    [("it has nothing yet", GREEN, GREEN, True), ("neither listener nor record says so", GREEN, GREEN, False)],
)
def test_a_rollback_that_moved_nothing_ends_and_leaves_the_traffic_where_it_is(
    operation: Operation, aws: FakeAws, rule: str, weights: Weights, written: Weights, readable: bool
) -> None:
    rolling_back(operation, aws, weights)
    change(operation, weights=written)
    if not readable:
        aws.elbv2.broken = {"describe_listeners": lost}
    settled = settle(operation)
    assert "The rollback is kept" not in settled.traffic, rule
    assert settled.complete is readable
    assert aws.elbv2.weights == GREEN
    assert store_of(aws.s3).environment().rollback is None
    assert store_of(aws.s3).version("v1.0.0") is None, "a rollback is no attempt at a version"


def test_a_release_is_settled_as_one_though_the_intent_of_a_rollback_was_left(
    operation: Operation, aws: FakeAws
) -> None:
    intent = RollbackIntent(target=live("v0.9.0", Colour.GREEN), leaving=live("v1.0.0"), flow_run_id="x", at=NOON)
    change(operation, rollback=intent)
    aws.elbv2.weights = GREEN
    change(operation, weights=GREEN)
    assert settle(operation) == Aborted(HOME, complete=True)
    assert aws.elbv2.weights == BLUE


def test_a_rollback_that_is_live_by_the_record_is_not_wholly_settled_before_the_histories_say_so(
    operation: Operation, aws: FakeAws
) -> None:
    intent = rolling_back(operation, aws, GREEN)
    change(operation, live=intent.target, weights=BLUE)
    settled = settle(operation)
    assert not settled.complete
    assert "the record (The rollback is not fully recorded yet" in settled.traffic
    assert store_of(aws.s3).environment().rollback == intent


# --- traffic first


def shifted(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.weights = GREEN
    change(operation, weights=GREEN, weights_intent=None)


def test_traffic_goes_back_to_the_live_colour(operation: Operation, aws: FakeAws) -> None:
    shifted(operation, aws)
    settled = settle(operation)
    record = store_of(aws.s3).environment()
    assert settled == Aborted(HOME, complete=True)
    assert aws.elbv2.history == [BLUE]
    assert (record.weights, record.weights_intent) == (BLUE, None)


def test_traffic_that_is_home_is_left_alone(operation: Operation, aws: FakeAws) -> None:
    assert settle(operation) == Aborted(HOME, complete=True)
    assert names(aws) == []


def test_traffic_that_is_home_needs_no_second_look_where_nothing_else_was_about_to_be_written(
    operation: Operation, aws: FakeAws
) -> None:
    aws.elbv2.stale = [BLUE, SPLIT]
    settle(operation)
    assert aws.elbv2.history == []


@pytest.mark.parametrize(
    "facts", [{"weights_intent": GREEN}, {"weights": GREEN}, {"weights": GREEN, "weights_intent": GREEN}]
)
def test_one_read_that_says_home_is_not_believed_where_something_else_was_about_to_be_written(
    operation: Operation, aws: FakeAws, facts: dict[str, Any]
) -> None:
    change(operation, **facts)
    aws.elbv2.weights = GREEN
    aws.elbv2.stale = [BLUE]
    settle(operation)
    assert aws.elbv2.weights == BLUE
    assert aws.elbv2.history == [BLUE]


def test_an_intent_does_not_stay_open_though_nothing_was_written(operation: Operation, aws: FakeAws) -> None:
    change(operation, weights_intent=GREEN)
    assert settle(operation).complete
    record = store_of(aws.s3).environment()
    assert (record.weights, record.weights_intent) == (BLUE, None)
    assert operation.record.weights_intent is None
    assert aws.elbv2.history == []


def test_where_nothing_was_live_traffic_goes_back_to_what_the_first_release_found(
    operation: Operation, aws: FakeAws
) -> None:
    shifted(operation, aws)
    change(operation, live=None, weights_before=BLUE)
    settled = settle(operation)
    assert settled == Aborted("nothing was live before, and the listener is as it was.", complete=True)
    assert aws.elbv2.history == [BLUE]
    assert aws.ecs.count("update_service") == 0, "there is no live slot that could be started"


def test_where_nobody_knows_what_the_listener_carried_before_it_is_left_as_it_is(
    operation: Operation, aws: FakeAws
) -> None:
    shifted(operation, aws)
    change(operation, live=None, weights_intent=GREEN)
    assert settle(operation).complete
    assert aws.elbv2.history == []
    assert store_of(aws.s3).environment().weights_intent == GREEN


def test_where_nothing_was_provisioned_no_traffic_is_served(operation: Operation, aws: FakeAws) -> None:
    change(operation, infrastructure=None)
    assert settle(operation) == Aborted("no traffic is served.", complete=True)
    assert aws.elbv2.calls == []


# --- the live colour serves before traffic returns


def test_a_live_slot_without_a_healthy_target_is_started_before_it_gets_its_traffic_back(
    operation: Operation, aws: FakeAws
) -> None:
    shifted(operation, aws)
    aws.elbv2.healthy[Colour.BLUE] = 0
    aws.elbv2.filling[Colour.BLUE] = [0, 0, 1]
    seen: list[Weights] = []
    put = aws.ecs.update_service

    def started(**arguments: Any) -> Any:
        seen.append(aws.elbv2.weights)
        return put(**arguments)

    aws.ecs.update_service = started  # type: ignore[method-assign]
    settled = settle(operation)
    assert settled == Aborted(HOME, complete=True)
    assert seen == [GREEN], "it was started while the candidate still had the traffic"
    assert aws.ecs.deployments[LIVE_SERVICE] == 1
    assert aws.ecs.desired[LIVE_SERVICE] == operation.settings.service.desired_count


def test_a_live_slot_that_serves_is_not_started_anew(operation: Operation, aws: FakeAws) -> None:
    shifted(operation, aws)
    settle(operation)
    assert aws.ecs.count("update_service") == 0


@pytest.fixture
def sick(operation: Operation, aws: FakeAws) -> Operation:
    """Neither colour is known to be good; the candidate has the traffic."""
    went_through(operation, "vacate")
    operation.lease.stop_heartbeat()
    made = operation_of(aws, settings_with("return_to_live = 0.02\n", start="5"), operation.owner)
    take_at_once(made)
    made.journal.begin_attempt("v1.1.0", COMMIT, Colour.GREEN)
    shifted(made, aws)
    aws.ecs.desired[CANDIDATE] = 1
    aws.elbv2.healthy[Colour.BLUE] = 0
    return made


def test_traffic_stays_where_it_is_while_the_live_colour_cannot_serve_and_a_human_is_called(
    sick: Operation, aws: FakeAws
) -> None:
    settled = settle(sick)
    sick.lease.stop_heartbeat()
    assert aws.elbv2.history == []
    assert aws.ecs.desired[CANDIDATE] == 1, "the candidate has the traffic, so it is not stopped"
    assert not settled.complete
    assert (
        "Could not complete: traffic (The live blue slot cannot serve, so traffic was left where it is: v1.0.0 did not"
        in (settled.traffic)
    )
    assert "Human intervention is needed now" in settled.traffic
    failure = history(aws).attempts[-1].failure
    assert failure is not None
    assert "traffic (The live blue slot cannot serve" in failure.remains


def test_the_live_slot_is_started_though_s3_takes_no_write(operation: Operation, aws: FakeAws) -> None:
    shifted(operation, aws)
    operation.lease.assert_held()
    aws.elbv2.healthy[Colour.BLUE] = 0
    aws.elbv2.filling[Colour.BLUE] = [0, 1]
    aws.s3.broken = {"put_object": lost}
    settled = settle(operation)
    assert aws.elbv2.history == [BLUE]
    assert not settled.complete, "the record is behind"
    assert settled.traffic.startswith(f"{HOME} Could not complete: the record (")


# --- patience


@pytest.mark.parametrize(("failures", "done"), [(3, True), (4, False)])
def test_each_part_is_tried_four_times_while_the_error_may_pass(
    operation: Operation, aws: FakeAws, failures: int, done: bool
) -> None:
    aws.elbv2.fail("describe_listeners", *[Fault(lost()) for _ in range(failures)])
    settled = settle(operation)
    assert settled.complete is done
    assert ("Could not complete: traffic (" in settled.traffic) is not done


@pytest.mark.parametrize("pauses", [[0.5, 1.0, 2.0]])
def test_between_two_tries_there_is_more_and_more_time(
    operation: Operation, aws: FakeAws, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("lifecycle.abort.time.sleep", slept.append)
    aws.elbv2.fail("describe_listeners", *[Fault(lost()) for _ in pauses])
    settle(operation)
    assert slept == pauses


def test_an_error_that_will_not_pass_is_tried_once(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"describe_listeners": lambda: refusal("AccessDenied", 403)}
    settle(operation)
    assert aws.elbv2.count("describe_listeners") == 2, "once for the weights, and once to say who carries traffic"


def test_what_could_not_be_done_is_said_and_the_rest_is_tried_all_the_same(operation: Operation, aws: FakeAws) -> None:
    went_through(operation, "migrate")
    aws.ecs.broken = {"list_tasks": lambda: refusal("AccessDenied", 403)}
    aws.elbv2.broken = {"describe_target_health": lambda: refusal("AccessDenied", 403)}
    shifted(operation, aws)
    settled = settle(operation)
    assert not settled.complete
    assert settled.traffic.startswith("blue 0, green 100; v1.0.0 (blue) is live. Could not complete: traffic (")
    assert "); one-off tasks (" in settled.traffic
    assert settled.traffic.endswith(").")
    last = history(aws).attempts[-1]
    assert last.failure is not None
    assert last.failure.remains.startswith("traffic (")
    assert "); one-off tasks (" in last.failure.remains


# --- what a freeze settles


def test_a_frozen_environment_is_settled_though_traffic_is_not_home(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.weights = SPLIT
    settled = settle(operation)
    assert store_of(aws.s3).environment().frozen is not None
    assert aws.elbv2.history == []
    assert settled.complete
    assert settled.traffic.startswith(
        "blue 50, green 50; v1.0.0 (blue) is live. Could not complete: traffic (test is frozen"
    )


# --- Terraform, one-off tasks, the candidate


def dead_here(run: str = "run-1") -> LeaseRecord:
    """The hold of a process of this machine that is gone."""
    gone = owner_of("release", run, f"{run}-1").model_copy(update={"process_started": "0"})
    return lease_of(gone).model_copy(update={"acquired_at": now() - timedelta(seconds=60)})


def lock(aws: FakeAws, state: str, began: float) -> str:
    """A state lock that a Terraform of this machine took; returns its key."""
    key = f"{state_key('test', state)}.tflock"
    created = (now() + timedelta(seconds=began)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    told = {"ID": "1-2", "Who": f"root@{os.uname().nodename}", "Created": created}
    aws.s3.objects[key] = (json.dumps(told).encode(), '"1"')
    return key


def test_the_lock_that_the_attempt_s_terraform_left_on_its_slot_is_released(operation: Operation, aws: FakeAws) -> None:
    key = lock(aws, "green", 1)
    settled = abort_attempt(operation, FAILED, dead_here())
    assert settled.complete
    assert key not in aws.s3.objects


@pytest.mark.parametrize("how", ["older than the attempt", "of a process elsewhere"])
def test_a_lock_that_the_attempt_did_not_leave_is_said_and_stays(operation: Operation, aws: FakeAws, how: str) -> None:
    key = lock(aws, "green", -3_600 if how.startswith("older") else 1)
    lease = dead_here() if how.startswith("older") else lease_of(operation.owner)
    settled = abort_attempt(operation, FAILED, lease)
    assert "Could not complete: Terraform (The state of green is locked" in settled.traffic
    assert settled.complete, "a lock hinders nobody but the next plan, which says so"
    assert key in aws.s3.objects


def test_a_lock_on_the_live_slot_is_nobody_s_business(operation: Operation, aws: FakeAws) -> None:
    key = lock(aws, "blue", 1)
    assert abort_attempt(operation, FAILED, dead_here()).traffic == HOME
    assert key in aws.s3.objects


@pytest.mark.parametrize(
    ("flow", "began", "released"),
    [("provision", 1, True), ("provision", -30, True), ("provision", -90, False), ("retire", 1, False)],
)
def test_the_lock_that_a_dead_provision_left_since_it_held_is_released(
    operation: Operation, aws: FakeAws, flow: str, began: float, released: bool
) -> None:
    key = lock(aws, "environment", began)
    dead = dead_here()
    dead = dead.model_copy(update={"owner": dead.owner.model_copy(update={"flow": flow})})
    settled = settle_nothing(operation, dead)
    assert settled.complete
    assert (key not in aws.s3.objects) is released
    assert ("Terraform" in settled.traffic) is (flow == "provision" and not released)


def one_off(aws: FakeAws, started_by: str) -> Task:
    task = Task("arn:aws:ecs:eu-west-1:123456789012:task/c/0", started_by)
    aws.ecs.tasks = [task]
    return task


@pytest.mark.parametrize(("steps", "stopped"), [(("migrate",), True), (("vacate",), False), ((), False)])
def test_the_tasks_of_a_migration_are_stopped_if_there_was_one(
    operation: Operation, aws: FakeAws, steps: tuple[str, ...], stopped: bool
) -> None:
    task = one_off(aws, operation.owner.attempt)
    went_through(operation, *steps)
    assert settle(operation).complete
    assert (task.last == "STOPPED") is stopped


def test_a_task_that_cannot_be_stopped_keeps_the_environment(operation: Operation, aws: FakeAws) -> None:
    one_off(aws, operation.owner.attempt)
    went_through(operation, "migrate")
    aws.ecs.broken = {"list_tasks": lambda: refusal("AccessDenied", 403)}
    settled = settle(operation)
    assert not settled.complete
    assert settled.traffic.startswith(f"{HOME} Could not complete: one-off tasks (")


@pytest.mark.parametrize(("flow", "stopped"), [("run", True), ("retire", False)])
def test_a_command_whose_process_died_is_stopped(operation: Operation, aws: FakeAws, flow: str, stopped: bool) -> None:
    task = one_off(aws, "local-1-1")
    settled = settle_nothing(operation, lease_of(owner("local-1", flow=flow, pid=9), version=None))
    assert settled == Aborted(HOME, complete=True)
    assert (task.last == "STOPPED") is stopped


def test_a_command_that_cannot_be_stopped_keeps_the_environment(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.broken = {"list_tasks": lambda: refusal("AccessDenied", 403)}
    assert not settle_nothing(operation, lease_of(owner("local-1", flow="run", pid=9), version=None)).complete


@pytest.mark.parametrize(
    ("rule", "steps", "arrange", "left"),
    [
        ("it vacated the slot for itself", ("vacate",), {}, 0),
        ("it never touched the slot", (), {}, 2),
        ("it started a rollback's target in it", ("vacate",), {"rollback": True}, 0),
        ("its slot is kept for a rollback", ("vacate",), {"rollback": True, "keeps_slot": True}, 2),
        ("its slot is the live one by now", ("vacate",), {"live": live("v0.9.0", Colour.GREEN)}, 2),
        ("no slot is known", ("vacate",), {"colour": None}, 2),
    ],
)
def test_what_a_failed_release_left_running_is_stopped_where_it_is_its_own(
    operation: Operation, aws: FakeAws, rule: str, steps: tuple[str, ...], arrange: dict[str, Any], left: int
) -> None:
    if "rollback" in arrange:
        operation.journal.begin_rollback(live("v1.1.0").release, Colour.GREEN)
    if "keeps_slot" in arrange:
        operation.journal.keep_slot()
    went_through(operation, *steps)
    aws.ecs.desired[CANDIDATE] = 2
    if "live" in arrange:
        aws.elbv2.weights = GREEN
        change(operation, live=arrange["live"], weights=GREEN)
    tried = operation.journal.attempt.model_copy(update={"colour": None}) if "colour" in arrange else None
    assert settle(operation, tried=tried).complete
    assert aws.ecs.desired[CANDIDATE] == left, rule


def test_a_candidate_is_not_stopped_while_traffic_could_not_be_brought_home(operation: Operation, aws: FakeAws) -> None:
    went_through(operation, "vacate")
    aws.ecs.desired[CANDIDATE] = 2
    shifted(operation, aws)
    aws.elbv2.broken = {"modify_listener": lambda: refusal("AccessDenied", 403)}
    assert not settle(operation).complete
    assert aws.ecs.desired[CANDIDATE] == 2


def test_a_candidate_that_carries_weight_is_not_stopped_whatever_is_called_home(
    operation: Operation, aws: FakeAws
) -> None:
    went_through(operation, "vacate")
    aws.ecs.desired[CANDIDATE] = 2
    aws.elbv2.weights = SPLIT
    change(operation, live=None, weights=SPLIT, weights_before=SPLIT)
    assert settle(operation).complete
    assert aws.ecs.desired[CANDIDATE] == 2


def test_a_candidate_that_does_not_stop_is_said_and_keeps_nobody_waiting(operation: Operation, aws: FakeAws) -> None:
    went_through(operation, "vacate")
    aws.ecs.desired[CANDIDATE] = 2
    aws.ecs.broken = {"update_service": lambda: refusal("AccessDenied", 403)}
    settled = settle(operation)
    assert settled.complete
    assert settled.traffic.startswith(f"{HOME} Could not complete: the green slot (")


def test_a_wish_to_stop_does_not_stop_the_settling(operation: Operation, aws: FakeAws) -> None:
    shifted(operation, aws)
    stop = {"by": "a rollback", "at": NOON, "reason": "said"}
    lease = operation.record.lease
    assert lease is not None
    change(operation, lease=LeaseRecord.model_validate({**lease.model_dump(), "stop": stop}))
    assert settle(operation) == Aborted(HOME, complete=True)


def test_what_settles_says_so_in_its_lease(operation: Operation, aws: FakeAws) -> None:
    shifted(operation, aws)
    settle(operation)
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.step == "traffic back"


# --- what the record says


@pytest.mark.parametrize("state", [State.FAILED, State.ABORTED, State.SUPERSEDED])
def test_an_attempt_ends_with_step_and_reason(operation: Operation, aws: FakeAws, state: State) -> None:
    began = now()
    settle(operation, Ending(state, "smoke", "it answered\n  503"))
    last = history(aws).attempts[-1]
    record = store_of(aws.s3).environment()
    assert last.failure is not None
    assert (last.state, last.failure.step, last.failure.reason, last.failure.remains) == (
        state,
        "smoke",
        "it answered\n  503",
        "",
    )
    assert last.ended_at is not None
    assert last.ended_at >= began
    assert record.last_failure == f"v1.1.0 {state} at smoke: it answered 503"
    assert record.last_failed == "v1.1.0"


def test_an_attempt_that_has_ended_keeps_how_it_ended(operation: Operation, aws: FakeAws) -> None:
    operation.journal.advance(State.ABORTED)
    settle(operation)
    last = history(aws).attempts[-1]
    assert last.state is State.ABORTED
    assert last.failure is not None
    assert last.failure.step == "smoke"


def test_an_attempt_ends_from_what_the_history_says_and_not_from_what_was_seen_of_it(
    operation: Operation, aws: FakeAws
) -> None:
    seen = operation.journal.attempt
    went_through(operation, "plan")
    operation.journal.advance(State.PLANNED)
    settle(operation, tried=seen)
    assert [s.name for s in history(aws).attempts[-1].steps][:1] == ["plan"]


def test_an_attempt_whose_history_was_lost_is_written_anew(operation: Operation, aws: FakeAws) -> None:
    tried = operation.journal.attempt
    aws.s3.objects.pop("releases/test/v1.1.0.json")
    other = operation_of(aws, settings_with(), operation.owner)
    assert settle_lost(other, tried).complete
    assert [(a.id, a.state) for a in history(aws).attempts] == [(tried.id, State.FAILED)]


@pytest.mark.parametrize(
    ("reason", "said"),
    [("x" * 300, "x" * 300), ("x" * 301, "x" * 300 + "…"), ("a\n\n b\tc ", "a b c")],
)
def test_the_last_failure_is_a_line(operation: Operation, aws: FakeAws, reason: str, said: str) -> None:
    settle(operation, Ending(State.FAILED, "smoke", reason))
    assert store_of(aws.s3).environment().last_failure == f"v1.1.0 FAILED at smoke: {said}"


def test_a_last_failure_that_cannot_be_written_keeps_nobody_waiting(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = aws.s3.put_object

    def without_the_environment(**arguments: Any) -> Any:
        if arguments["Key"].endswith("/environment.json"):
            raise refusal("AccessDenied", 403)
        return put(**arguments)

    monkeypatch.setattr(aws.s3, "put_object", without_the_environment)
    assert settle(operation).complete
    assert history(aws).attempts[-1].state is State.FAILED


def test_an_ending_that_cannot_be_written_keeps_the_environment(operation: Operation, aws: FakeAws) -> None:
    aws.s3.broken = {"put_object": lambda: refusal("AccessDenied", 403)}
    settled = settle(operation)
    assert not settled.complete
    assert settled.traffic.startswith(f"{HOME} Could not complete: the record (")


# --- who carries the traffic, in words


@pytest.mark.parametrize(
    ("facts", "weights", "sentence"),
    [
        ({}, BLUE, HOME),
        ({}, GREEN, "blue 0, green 100; v1.0.0 (blue) is live."),
        ({}, SPLIT, "blue 50, green 50; v1.0.0 (blue) is live."),
        ({"live": live("v1.1.0", Colour.GREEN)}, GREEN, "100 % on v1.1.0 (green)."),
        ({"live": None}, GREEN, "nothing was live before, and the listener is as it was."),
        ({"infrastructure": None}, BLUE, "no traffic is served."),
    ],
)
def test_who_carries_the_traffic_is_said_in_words(
    operation: Operation, aws: FakeAws, facts: dict[str, Any], weights: Weights, sentence: str
) -> None:
    change(operation, **facts)
    aws.elbv2.weights = weights
    assert traffic_now(operation) == sentence


def test_a_listener_that_does_not_answer_leaves_the_traffic_unknown(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"describe_listeners": lambda: refusal("AccessDenied", 403)}
    assert traffic_now(operation).startswith("unknown (AWS does not allow")


def test_a_listener_with_foreign_parts_is_not_called_home(operation: Operation, aws: FakeAws) -> None:
    def sticky(forward: dict[str, Any]) -> list[dict[str, Any]]:
        forward["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True}
        return [forward]

    aws.elbv2.foreign = sticky
    assert traffic_now(operation) == ("blue 100, green 0, and it has group stickiness enabled; v1.0.0 (blue) is live.")
