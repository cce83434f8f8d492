"""How a rollback enters, whom it stops, and what it does with a target that is warm, short of tasks, or cold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import lifecycle.finish_rollback as completion
from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused
from core.history import SlotOutputs, State
from core.lease import take
from core.record import EnvironmentRecord, LeaseRecord, RollbackIntent
from core.warm import Warmth
from flows.rollback import roll_back
from lifecycle.acquire import take_at_once
from lifecycle.finish_rollback import finish_rollback, warmth_of
from lifecycle.run import Outcome
from operation.lease import now
from operation.operation import Operation
from tests.unit.facts import DIGEST, FROZEN, NOON, attempt, definition_of, lease_of, live, owner, settings_with, slot_of
from tests.unit.fakes import FakeAws, before_the_next_write, operation_of, refusal, store_of

BLUE, GREEN, SPLIT = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN), Weights(blue=50, green=50)
TARGET, LEAVING = live("v1.0.0"), live("v1.1.0", Colour.GREEN)
OLDER = live("v0.9.0", Colour.GREEN, variables={"LOG": "old"})
COLD_STEPS = (
    "init_slot",
    "plan_slot",
    "check_plan",
    "vacate_slot",
    "set_health_check",
    "apply_plan",
    "start_candidate",
    "smoke_test",
)
OTHER = owner("run-9", pid=9)


@pytest.fixture
def confirmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is probed over HTTP stands in test_confirmation.py."""
    asked: list[str] = []
    monkeypatch.setattr(completion, "confirm_release", lambda operation: asked.append(operation.journal.version))
    return asked


@pytest.fixture
def run(operation: Operation, aws: FakeAws, confirmed: list[str]) -> Iterator[Operation]:
    """A rollback that holds nothing yet: v1.1.0 is live in green, and v1.0.0 still runs in blue."""
    aws.elbv2.weights = GREEN
    aws.ecs.desired = {"shop-test-blue": 1, "shop-test-green": 1}
    aws.ecr.images = {"v1.0.0": DIGEST}
    operation.records.change_environment(
        lambda r: r.model_copy(update={"live": LEAVING, "healthy": (OLDER, TARGET), "weights": GREEN, "lease": None})
    )
    for gone, state in ((LEAVING, State.HEALTHY), (TARGET, State.HEALTHY)):
        store_of(aws.s3).change_version(
            gone.release.version,
            gone.release.commit,
            lambda r, gone=gone, state=state: r.model_copy(
                update={"attempts": (attempt(state, f"of-{gone.release.version}", release=gone.release),)}
            ),
        )
    operation.lease.stop_heartbeat()
    made = operation_of(aws, settings_with(), owner("run-2", flow="rollback", pid=7))
    yield made
    made.lease.stop_heartbeat()


def record_of(aws: FakeAws) -> EnvironmentRecord:
    return store_of(aws.s3).environment()


def change(aws: FakeAws, changed: Callable[[EnvironmentRecord], EnvironmentRecord]) -> None:
    store_of(aws.s3).change_environment(changed)


def freed(aws: FakeAws) -> None:
    change(aws, lambda r: r.model_copy(update={"lease": None}))


def in_flight(aws: FakeAws, state: State, **facts: Any) -> None:
    """A release of v1.2.0 by another run, in that state; it lives."""
    store_of(aws.s3).change_version(
        "v1.2.0",
        "c",
        lambda r: r.model_copy(update={"attempts": (attempt(state, "run-9", colour=Colour.BLUE),)}),
    )

    def taken(record: EnvironmentRecord) -> EnvironmentRecord:
        held = take(record, OTHER, now(), expiry=7200, version="v1.2.0")
        return held.model_copy(update={"lease": held.lease and held.lease.model_copy(update=facts)})

    change(aws, taken)


def ends(aws: FakeAws, state: State) -> None:
    """The release in flight ends so, and gives the environment back."""
    store_of(aws.s3).change_version(
        "v1.2.0", "c", lambda r: r.model_copy(update={"attempts": (attempt(state, "run-9", colour=Colour.BLUE),)})
    )
    freed(aws)


class Polls:
    """What happens while a rollback waits: one thing a poll, and the lease as it was then."""

    def __init__(self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
        self.coming: list[Callable[[], object]] = []
        self.holds: list[LeaseRecord | None] = []
        self.slept: list[float] = []
        self._aws = aws
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.holds.append(record_of(self._aws).lease)
        if self.coming:
            self.coming.pop(0)()


@pytest.fixture
def polls(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, run: Operation) -> Polls:
    return Polls(aws, monkeypatch)


def keeps_slot(run: Operation) -> bool:
    assert run.journal.entry is not None
    return run.journal.entry.keeps_slot


def message(ended: str | Outcome) -> str:
    return ended if isinstance(ended, str) else ended.message or ""


# --- warm, with nobody in the way


def test_a_warm_rollback_moves_weights_and_nothing_else(run: Operation, aws: FakeAws, confirmed: list[str]) -> None:
    began = now()
    said = roll_back(run, None, None)
    record = record_of(aws)
    assert said == "test is back on v1.0.0 (blue, warm), rolled back from v1.1.0."
    assert aws.elbv2.history == [BLUE]
    assert aws.ecs.count("update_service") == 0
    assert confirmed == ["v1.0.0"]
    assert record.live is not None
    assert (record.live.release, record.live.colour) == (TARGET.release, Colour.BLUE)
    assert record.live.since >= began
    assert record.rolled_back == (LEAVING.release.revision,)
    assert (record.rollback, record.lease) == (None, None)


@pytest.mark.parametrize(("to_version", "named"), [(None, False), ("v1.0.0", True)])
def test_the_target_stands_in_the_record_before_anything_moves(
    run: Operation, aws: FakeAws, to_version: str | None, named: bool
) -> None:
    seen: list[EnvironmentRecord] = []
    write = aws.elbv2.modify_listener

    def look(**arguments: Any) -> Any:
        seen.append(record_of(aws))
        return write(**arguments)

    aws.elbv2.modify_listener = look  # type: ignore[method-assign]
    roll_back(run, to_version, None)
    intent, lease = seen[0].rollback, seen[0].lease
    assert intent is not None
    assert lease is not None
    assert (intent.target, intent.leaving, intent.flow_run_id, intent.named) == (TARGET, LEAVING, "run-2", named)
    assert (lease.owner, lease.version) == (run.owner, to_version)


def test_a_rollback_that_is_refused_writes_nothing_and_holds_nothing(run: Operation, aws: FakeAws) -> None:
    change(aws, lambda r: r.model_copy(update={"healthy": ()}))
    before = record_of(aws)
    with pytest.raises(Refused, match="no healthy predecessor"):
        roll_back(run, None, None)
    assert record_of(aws) == before


def test_a_foreign_hand_freezes_before_the_target_is_written(run: Operation, aws: FakeAws) -> None:
    aws.elbv2.weights = SPLIT
    with pytest.raises(Refused, match="test is frozen"):
        roll_back(run, None, None)
    assert record_of(aws).rollback is None
    assert aws.elbv2.history == []


@pytest.mark.parametrize("warm", [True, False])
def test_an_image_that_is_gone_matters_only_where_it_has_to_be_started(
    run: Operation, aws: FakeAws, warm: bool
) -> None:
    aws.ecr.images = {}
    if warm:
        assert message(roll_back(run, None, None)).startswith("test is back on v1.0.0")
        return
    aws.ecs.desired["shop-test-blue"] = 0
    with pytest.raises(
        Refused, match=r"The image of v1\.0\.0 no longer exists in ECR: team/shop has no sha256:abab"
    ) as refused:
        roll_back(run, None, None)
    assert "another version" in refused.value.do
    assert record_of(aws).rollback is None


# --- somebody holds the environment


@pytest.mark.parametrize("parked", [True, False])
def test_what_waits_for_approval_or_died_is_settled_first(run: Operation, aws: FakeAws, parked: bool) -> None:
    past, later = now() - timedelta(seconds=1), now() + timedelta(hours=1)
    in_flight(aws, State.AWAITING_APPROVAL, expires_at=past, parked_until=later if parked else None)
    assert message(roll_back(run, None, None)).startswith("test is back on v1.0.0")
    history = store_of(aws.s3).version("v1.2.0")
    assert history is not None
    assert history.state is (State.ABORTED if parked else State.FAILED)


@pytest.mark.parametrize(("state", "abort"), [(State.SHIFTING, None), (State.BAKING, None), (State.PLANNED, True)])
@pytest.mark.parametrize("ended", [State.ABORTED, State.FAILED])
def test_a_release_that_is_stopped_leaves_the_last_healthy_version_where_it_was(
    run: Operation, aws: FakeAws, polls: Polls, state: State, abort: bool | None, ended: State
) -> None:
    in_flight(aws, state)
    polls.coming = [lambda: None, lambda: ends(aws, ended)]
    outcome = roll_back(run, None, abort)
    assert not isinstance(outcome, str)
    assert outcome.is_completed()
    assert outcome.message == "v1.2.0 was stopped; v1.1.0 is live in test and has all traffic."
    asked = polls.holds[0]
    assert asked is not None
    assert asked.stop is not None
    assert (asked.stop.by, asked.stop.reason) == ("rollback run run-2", "a rollback")
    assert polls.holds[1] == asked, "it is asked once"
    assert polls.slept == [run.settings.timing.poll] * 2
    assert aws.elbv2.history == []
    assert record_of(aws).lease is None


def test_where_nothing_was_live_a_release_that_is_stopped_leaves_nothing_live(
    run: Operation, aws: FakeAws, polls: Polls
) -> None:
    in_flight(aws, State.SHIFTING)
    change(aws, lambda r: r.model_copy(update={"live": None, "healthy": ()}))
    polls.coming = [lambda: ends(aws, State.FAILED)]
    assert message(roll_back(run, None, None)) == "v1.2.0 was stopped; nothing is live in test and has all traffic."


@pytest.mark.parametrize(
    ("rule", "to_version", "ended"),
    [
        ("the target was named, and is another one than what is live", "v1.0.0", State.ABORTED),
        ("the release came to its good end all the same", None, State.HEALTHY),
    ],
)
def test_a_rollback_goes_on_after_the_release_has_ended(
    run: Operation, aws: FakeAws, polls: Polls, rule: str, to_version: str | None, ended: State
) -> None:
    in_flight(aws, State.SHIFTING)
    polls.coming = [lambda: ends(aws, ended)]
    assert message(roll_back(run, to_version, None)).startswith("test is back on v1.0.0"), rule
    assert aws.elbv2.weights == BLUE


@pytest.mark.parametrize(("state", "abort"), [(State.PLANNED, None), (State.SHIFTING, False)])
def test_a_release_that_may_not_be_stopped_is_not_asked_to(
    run: Operation, aws: FakeAws, state: State, abort: bool | None
) -> None:
    in_flight(aws, state)
    with pytest.raises(Refused, match=r"v1\.2\.0 is in flight in test"):
        roll_back(run, None, abort)
    lease = record_of(aws).lease
    assert lease is not None
    assert lease.stop is None


def test_a_release_of_which_nothing_is_recorded_yet_is_stopped_only_on_wish(run: Operation, aws: FakeAws) -> None:
    in_flight(aws, State.BUILDING)
    aws.s3.objects.pop("releases/test/v1.2.0.json")
    with pytest.raises(Refused, match=r"v1\.2\.0 is in flight in test"):
        roll_back(run, None, None)


def test_nobody_is_stopped_for_a_rollback_that_would_be_refused(run: Operation, aws: FakeAws) -> None:
    in_flight(aws, State.SHIFTING)
    with pytest.raises(Refused, match=r"v7\.0\.0 was never healthy"):
        roll_back(run, "v7.0.0", None)
    lease = record_of(aws).lease
    assert lease is not None
    assert lease.stop is None


def test_who_settles_for_a_dead_run_is_waited_for_and_not_stopped(run: Operation, aws: FakeAws, polls: Polls) -> None:
    in_flight(aws, State.SHIFTING, takes_over=lease_of(owner("dead", pid=8), fencing_token=1))
    polls.coming = [lambda: freed(aws)]
    roll_back(run, None, None)
    assert polls.holds[0] is not None
    assert polls.holds[0].stop is None
    assert aws.elbv2.weights == BLUE


@pytest.mark.parametrize("seconds", [7_190, 7_210])
def test_who_was_asked_to_stop_and_does_not_is_waited_for_as_long_as_a_lease_and_a_slot_s_emptying_last(
    run: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    in_flight(aws, State.SHIFTING)
    clock = [0.0]

    def pass_at_once(_: float) -> None:
        if clock[0] == seconds:
            freed(aws)
        clock[0] = seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", pass_at_once)
    if seconds < run.settings.timing.lease_expiry + run.settings.timing.vacate:
        assert message(roll_back(run, "v1.0.0", None)).startswith("test is back on v1.0.0")
        return
    with pytest.raises(Refused, match=r"v1\.2\.0 did not stop: it still holds test, at starting") as refused:
        roll_back(run, None, None)
    assert "reconcile" in refused.value.do


def test_who_loses_the_race_for_a_free_environment_waits_for_the_winner(
    run: Operation, aws: FakeAws, polls: Polls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_next_write(monkeypatch, aws.s3, lambda: in_flight(aws, State.SHIFTING))
    polls.coming = [lambda: None] * 2 + [lambda: ends(aws, State.HEALTHY)]
    assert message(roll_back(run, None, None)).startswith("test is back on v1.0.0")


def test_a_target_that_is_refused_in_the_moment_of_taking_the_environment_leaves_it_free(
    run: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_next_write(
        monkeypatch, aws.s3, lambda: change(aws, lambda r: r.model_copy(update={"rollback_floor": "v1.0.1"}))
    )
    with pytest.raises(Refused, match="below the rollback floor"):
        roll_back(run, "v1.0.0", None)
    assert record_of(aws).lease is None


# --- completed: warm, short, cold


@pytest.fixture
def held(run: Operation, aws: FakeAws) -> Operation:
    take_at_once(run)
    return run


def intent_of(run: Operation, **facts: Any) -> RollbackIntent:
    made = RollbackIntent(
        **{"target": TARGET, "leaving": LEAVING, "flow_run_id": "run-2", "at": NOON, "named": False, **facts}
    )
    run.records.change_environment(lambda r: r.model_copy(update={"rollback": made}))
    return made


@pytest.fixture
def cold_steps(monkeypatch: pytest.MonkeyPatch, aws: FakeAws) -> list[str]:
    """The steps of a cold start, which need Terraform: each says that it was called."""
    called: list[str] = []
    started = slot_of("shop-test-blue:7")

    def step(name: str) -> Callable[..., object]:
        def call(operation: Operation, *given: object) -> object:
            called.append(name)
            assert isinstance(operation, Operation)
            if name == "apply_plan":
                operation.journal.change(lambda a: a.started_as(started))
                aws.ecs.uses["shop-test-blue"] = started.task_definition_arn
                aws.ecs.definitions[started.task_definition_arn] = definition_of(TARGET.release)
            if name == "start_candidate":
                aws.ecs.desired["shop-test-blue"] = 1
            assert all(one == f"what {before}" for one, before in zip(given, _given(name), strict=True))
            return f"what {name}"

        return call

    for name in COLD_STEPS:
        monkeypatch.setattr(completion, name, step(name))
    return called


def _given(step: str) -> tuple[str, ...]:
    return {"plan_slot": ("init_slot",), "check_plan": ("plan_slot",), "apply_plan": ("plan_slot",)}.get(step, ())


def test_a_cold_target_is_planned_and_checked_before_its_slot_is_emptied_and_proven_before_it_gets_traffic(
    held: Operation, aws: FakeAws, cold_steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ecs.desired["shop-test-blue"] = 0
    write = aws.elbv2.modify_listener

    def traffic(**arguments: Any) -> Any:
        cold_steps.append("traffic")
        return write(**arguments)

    monkeypatch.setattr(aws.elbv2, "modify_listener", traffic)
    said = finish_rollback(held, intent_of(held))
    assert said == "test is back on v1.0.0 (blue, cold), rolled back from v1.1.0."
    assert cold_steps == [*COLD_STEPS, "traffic"]
    record = record_of(aws)
    assert record.live is not None
    assert record.live.slot == slot_of("shop-test-blue:7")
    assert not keeps_slot(held)


def test_a_cold_target_is_known_by_its_new_definition_before_it_is_started(
    held: Operation, aws: FakeAws, cold_steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ecs.desired["shop-test-blue"] = 0
    seen: list[SlotOutputs | None] = []

    def start(_: Operation) -> None:
        rollback = record_of(aws).rollback
        seen.append(rollback and rollback.slot)
        raise Permanent("it did not become healthy")

    monkeypatch.setattr(completion, "start_candidate", start)
    with pytest.raises(Permanent):
        finish_rollback(held, intent_of(held))
    assert seen == [slot_of("shop-test-blue:7")]
    assert held.record.rollback is not None
    assert held.record.rollback.slot == slot_of("shop-test-blue:7")
    assert aws.elbv2.history == []


def test_an_apply_that_put_out_nothing_leaves_the_target_as_it_was_known(
    held: Operation, aws: FakeAws, cold_steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ecs.desired["shop-test-blue"] = 0
    monkeypatch.setattr(completion, "apply_plan", lambda *_: None)
    finish_rollback(held, intent_of(held))
    assert aws.elbv2.weights == BLUE


@pytest.mark.parametrize(("desired", "kind", "keeps"), [(1, "warm", True), (2, "warm", True)])
def test_a_warm_target_is_not_planned_and_its_slot_is_kept_whatever_fails(
    held: Operation, aws: FakeAws, cold_steps: list[str], desired: int, kind: str, keeps: bool
) -> None:
    aws.ecs.desired["shop-test-blue"] = desired
    assert f"(blue, {kind})" in finish_rollback(held, intent_of(held))
    assert cold_steps == []
    assert keeps_slot(held) is keeps


def test_a_target_short_of_tasks_is_filled_and_not_started_anew(
    held: Operation, aws: FakeAws, cold_steps: list[str]
) -> None:
    held.lease.stop_heartbeat()
    wants_two = operation_of(aws, settings_with(desired_count="2"), held.owner)
    take_at_once(wants_two)
    aws.elbv2.filling[Colour.BLUE] = [1, 1, 2]
    assert "(blue, warm)" in finish_rollback(wants_two, intent_of(wants_two))
    wants_two.lease.stop_heartbeat()
    assert [a["desiredCount"] for name, a in aws.ecs.calls if name == "update_service"] == [2]
    assert aws.ecs.deployments.get("shop-test-blue", 0) == 0
    assert cold_steps == []
    assert keeps_slot(wants_two)


def test_a_target_that_is_live_by_the_record_is_not_started_whatever_its_slot_looks_like(
    held: Operation, aws: FakeAws, cold_steps: list[str]
) -> None:
    made = intent_of(held)
    held.records.change_environment(lambda r: r.model_copy(update={"live": TARGET, "weights": BLUE}))
    aws.elbv2.weights = BLUE
    aws.elbv2.healthy[Colour.BLUE] = 0
    aws.ecs.desired["shop-test-blue"] = 1
    finish_rollback(held, made)
    assert cold_steps == []
    record = record_of(aws)
    assert record.rollback is None
    assert aws.ecs.count("update_service") == 0


def test_a_target_is_found_by_the_definition_that_its_record_names(held: Operation, aws: FakeAws) -> None:
    known = TARGET.model_copy(update={"slot": slot_of("shop-test-blue:1")})
    finish_rollback(held, intent_of(held, target=known))
    assert held.journal.attempt.slot == known.slot
    assert record_of(aws).live == known.model_copy(update={"since": record_of(aws).live.since})  # type: ignore[union-attr]


def test_a_target_whose_slot_was_deployed_anew_meanwhile_gets_no_traffic(
    held: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = TARGET.model_copy(update={"slot": slot_of("shop-test-blue:1")})
    judged = completion.warmth_of

    def deploy_after(*given: Any) -> Warmth:
        warmth = judged(*given)
        aws.ecs.uses["shop-test-blue"] = "other:7"
        aws.ecs.definitions["other:7"] = definition_of(TARGET.release)
        return warmth

    monkeypatch.setattr(completion, "warmth_of", deploy_after)
    with pytest.raises(PointsmanError, match="The blue slot no longer runs"):
        finish_rollback(held, intent_of(held, target=known))
    assert aws.elbv2.history == []


def test_a_foreign_hand_stops_a_rollback_that_is_completed(
    held: Operation, aws: FakeAws, cold_steps: list[str]
) -> None:
    made = intent_of(held)
    aws.ecs.desired["shop-test-blue"] = 0
    aws.elbv2.weights = SPLIT
    with pytest.raises(Refused, match="test is frozen"):
        finish_rollback(held, made)
    assert cold_steps == []


# --- how warm a slot is


@pytest.mark.parametrize(
    ("rule", "arrange", "warmth"),
    [
        ("it runs the target", {}, Warmth.WARM),
        ("nothing is desired", {"desired": 0}, Warmth.COLD),
        ("no target is healthy", {"healthy": 0}, Warmth.COLD),
        ("no target is healthy, and it carries the traffic", {"healthy": 0, "weights": BLUE}, Warmth.WARM),
        ("no target is healthy, and it carries some of it", {"healthy": 0, "weights": SPLIT}, Warmth.WARM),
        ("it runs another release", {"uses": "shop-test-green:1"}, Warmth.COLD),
        ("it has no service", {"desired": None}, Warmth.COLD),
    ],
)
def test_a_slot_is_warm_by_what_ecs_and_the_load_balancer_say(
    held: Operation, aws: FakeAws, rule: str, arrange: dict[str, Any], warmth: Warmth
) -> None:
    aws.ecs.desired["shop-test-blue"] = arrange.get("desired", 1)
    if arrange.get("desired", 1) is None:
        del aws.ecs.desired["shop-test-blue"]
    aws.elbv2.healthy = {Colour.BLUE: arrange.get("healthy", 1), Colour.GREEN: 5}
    aws.elbv2.weights = arrange.get("weights", GREEN)
    if "uses" in arrange:
        aws.ecs.uses["shop-test-blue"] = arrange["uses"]
    assert warmth_of(held, TARGET, Colour.BLUE) is warmth, rule


@pytest.mark.parametrize(("desired", "looks"), [(1, 1), (0, 2)])
def test_only_a_cold_slot_is_looked_at_again_after_a_moment(
    held: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, desired: int, looks: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    aws.ecs.desired["shop-test-blue"] = desired
    before = aws.ecs.count("describe_services")
    warmth_of(held, TARGET, Colour.BLUE)
    assert aws.ecs.count("describe_services") - before == looks
    assert slept == [held.settings.timing.consistency] * (looks - 1)


def test_a_doubt_ends_a_rollback_that_does_not_insist_and_is_said_where_it_does(
    held: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubt(_: Operation) -> None:
        raise Permanent("It does not answer")

    monkeypatch.setattr(completion, "confirm_release", doubt)
    made = intent_of(held)
    with pytest.raises(Permanent, match="It does not answer"):
        finish_rollback(held, made)
    assert record_of(aws).rollback == made
    said = finish_rollback(held, made, insists=True)
    assert said.endswith("rolled back from v1.1.0. Not confirmed: It does not answer.")
    assert record_of(aws).rollback is None


def test_a_frozen_environment_is_not_rolled_back(run: Operation, aws: FakeAws) -> None:
    change(aws, lambda r: r.model_copy(update={"frozen": FROZEN}))
    with pytest.raises(Refused, match="test is frozen"):
        roll_back(run, None, None)
    assert aws.elbv2.history == []


def test_a_listener_that_refuses_the_weights_leaves_the_target_on_record(run: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"modify_listener": lambda: refusal("AccessDenied", 403)}
    with pytest.raises(Permanent):
        roll_back(run, None, None)
    assert record_of(aws).rollback is not None
    assert record_of(aws).lease is not None


def test_the_target_that_was_named_must_still_be_one_in_the_moment_of_taking_the_environment(
    run: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_next_write(
        monkeypatch, aws.s3, lambda: change(aws, lambda r: r.model_copy(update={"healthy": (OLDER,)}))
    )
    with pytest.raises(Refused, match=r"v1\.0\.0 was never healthy"):
        roll_back(run, "v1.0.0", None)
    assert record_of(aws).lease is None


def test_the_image_is_looked_for_where_the_application_s_images_are(run: Operation, aws: FakeAws) -> None:
    roll_back(run, None, None)
    asked = next(arguments for name, arguments in aws.ecr.calls if name == "describe_images")
    assert (asked["repositoryName"], asked["imageIds"]) == ("team/shop", [{"imageDigest": DIGEST}])
