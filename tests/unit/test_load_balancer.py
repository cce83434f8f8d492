"""The one module that changes live traffic: lost answers are read back, foreign weights freeze, home is always open."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused, UnknownOutcome
from core.lease import ask_to_stop, take
from operation.lease import now
from operation.operation import Operation
from operation.weights import move_weights
from tests.unit.adapters import read_weights
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP, INFRASTRUCTURE, LISTENER, NOON, owner
from tests.unit.fakes import FakeAws, Fault, closed, lost, refusal, store_of, unreachable

BLUE, GREEN, SPLIT = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN), Weights(blue=50, green=50)
DOWN = {
    "no answer": lost,
    "not reached": unreachable,
    "503": lambda: refusal("ServiceUnavailable", 503),
    "403": lambda: refusal("AccessDenied", 403),
}


def break_s3(aws: FakeAws, error: Callable[[], Exception], *, reads: bool = True) -> None:
    calls = ("put_object", "get_object") if reads else ("put_object",)
    aws.s3.broken = dict.fromkeys(calls, error)


def by_hand(aws: FakeAws) -> Callable[[], None]:
    """A person sets the listener in the console."""

    def change() -> None:
        aws.elbv2.weights = SPLIT

    return change


def taken_over(aws: FakeAws) -> Callable[[], object]:
    """Another process takes the environment."""
    return lambda: store_of(aws.s3).change_environment(
        lambda r: take(r, owner("other", pid=9), now(), expiry=7200, version=None)
    )


def test_weights_are_moved_read_back_and_recorded(operation: Operation, aws: FakeAws) -> None:
    move_weights(operation, GREEN)
    record = store_of(aws.s3).environment()
    assert aws.elbv2.history == [GREEN]
    assert read_weights(operation) == GREEN
    assert (record.weights, record.weights_intent, record.frozen) == (GREEN, None, None)


def test_the_intent_stands_in_the_record_before_the_listener_changes(operation: Operation, aws: FakeAws) -> None:
    seen: list[Weights | None] = []
    aws.elbv2.fail(
        "modify_listener",
        Fault(lost(), lands=True, meanwhile=lambda: seen.append(store_of(aws.s3).environment().weights_intent)),
    )
    move_weights(operation, GREEN)
    assert seen == [GREEN]


def test_weights_that_are_there_already_are_not_written(operation: Operation, aws: FakeAws) -> None:
    move_weights(operation, BLUE)
    assert aws.elbv2.count("modify_listener") == 0


@pytest.mark.parametrize(
    ("faults", "writes"),
    [
        pytest.param([Fault(lost(), lands=True)], 1, id="answer lost, written"),
        pytest.param([Fault(lost())], 2, id="answer lost, not written"),
        pytest.param([Fault(closed(), lands=True)], 1, id="connection closed, written"),
        pytest.param([Fault(unreachable())], 2, id="not reached"),
        pytest.param([Fault(refusal("Throttling"))], 2, id="throttled"),
        pytest.param([Fault(refusal("InternalFailure", 500), lands=True)], 1, id="AWS failed, written"),
        pytest.param([Fault(refusal("InternalFailure", 500)), Fault(lost())], 3, id="twice nothing"),
    ],
)
@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_a_lost_answer_leads_to_a_read_and_the_same_weights_again_only_if_need_be(
    operation: Operation, aws: FakeAws, faults: list[Fault], writes: int, tolerate_unwritten_record: bool
) -> None:
    aws.elbv2.fail("modify_listener", *faults)
    move_weights(operation, GREEN, tolerate_unwritten_record=tolerate_unwritten_record)
    assert aws.elbv2.weights == GREEN
    assert aws.elbv2.count("modify_listener") == writes


def test_a_read_that_fails_after_the_write_is_read_again(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.fail(
        "modify_listener",
        Fault(lost(), lands=True, meanwhile=lambda: aws.elbv2.fail("describe_listeners", Fault(lost()))),
    )
    move_weights(operation, GREEN)
    assert aws.elbv2.weights == GREEN


def test_a_listener_that_never_answers_has_an_unknown_outcome(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"modify_listener": lost}
    with pytest.raises(UnknownOutcome, match="could not be set to blue 0, green 100"):
        move_weights(operation, GREEN)
    assert store_of(aws.s3).environment().weights_intent == GREEN


def test_a_write_that_aws_refuses_is_not_tried_again(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"modify_listener": lambda: refusal("AccessDenied", 403)}
    with pytest.raises(Permanent, match="AWS does not allow"):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 1


# --- what is written, where and how often


def test_what_is_written_is_one_forward_to_both_groups_without_stickiness(operation: Operation, aws: FakeAws) -> None:
    move_weights(operation, GREEN)
    (written,) = [arguments for name, arguments in aws.elbv2.calls if name == "modify_listener"]
    (action,) = written["DefaultActions"]
    assert written["ListenerArn"] == LISTENER
    assert action == {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [
                {"TargetGroupArn": BLUE_GROUP, "Weight": 0},
                {"TargetGroupArn": GREEN_GROUP, "Weight": 100},
            ],
            "TargetGroupStickinessConfig": {"Enabled": False},
        },
    }


def test_while_https_is_being_set_up_port_80_does_not_lag_behind(operation: Operation, aws: FakeAws) -> None:
    both = INFRASTRUCTURE.model_copy(update={"http_forward_listener_arn": f"{LISTENER}80"})
    operation.records.change_environment(lambda r: r.model_copy(update={"infrastructure": both}))
    move_weights(operation, GREEN)
    calls = [
        (name, a["ListenerArn"] if name == "modify_listener" else a["ListenerArns"][0])
        for name, a in aws.elbv2.calls
        if name in ("modify_listener", "describe_listeners")
    ]
    assert calls[-4:] == [
        ("modify_listener", f"{LISTENER}80"),
        ("describe_listeners", f"{LISTENER}80"),
        ("modify_listener", LISTENER),
        ("describe_listeners", LISTENER),
    ]


@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_a_listener_is_written_five_times_with_more_and_more_time_between(
    operation: Operation, aws: FakeAws, tolerate_unwritten_record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    aws.elbv2.broken = {"modify_listener": lost}
    with pytest.raises(UnknownOutcome, match=r"AWS's answer to .* was lost") as error:
        move_weights(operation, GREEN, tolerate_unwritten_record=tolerate_unwritten_record)
    assert error.value.__cause__ is not None
    assert "reconcile" in error.value.do
    assert aws.elbv2.count("modify_listener") == 5
    assert slept == [0.4, 0.8, 1.6, 2.0]


def test_before_each_further_try_the_lease_is_looked_at(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.broken = {"modify_listener": lost}
    before = aws.s3.count("put_object")
    with pytest.raises(UnknownOutcome):
        move_weights(operation, GREEN)
    assert aws.s3.count("put_object") - before == 1 + 1 + 4, "a look and the intent, then a look before each try"


@pytest.mark.parametrize("reads", [True, False])
def test_traffic_goes_home_by_a_further_try_though_s3_takes_no_write(
    operation: Operation, aws: FakeAws, reads: bool
) -> None:
    move_weights(operation, GREEN)
    operation.lease.assert_held()
    break_s3(aws, lost, reads=reads)
    aws.elbv2.fail("modify_listener", Fault(lost()))
    move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert aws.elbv2.weights == BLUE


def test_a_listener_that_reads_back_as_before_has_an_unknown_outcome(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.stale = [BLUE] * 20
    with pytest.raises(UnknownOutcome, match="could not be set to blue 0, green 100: it still reports other weights"):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 5


def test_a_read_that_lags_once_costs_one_more_write_of_the_same(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.stale = [BLUE, BLUE]  # the look before, and the one after
    move_weights(operation, GREEN)
    assert aws.elbv2.history == [GREEN, GREEN]


def test_a_listener_that_never_reads_back_has_an_unknown_outcome(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = aws.elbv2.modify_listener

    def write_and_go(**arguments: Any) -> Any:
        aws.elbv2.broken = {"describe_listeners": lost}
        return write(**arguments)

    monkeypatch.setattr(aws.elbv2, "modify_listener", write_and_go)
    with pytest.raises(UnknownOutcome, match="reading the production listener"):
        move_weights(operation, GREEN)
    assert aws.elbv2.history == [GREEN] * 5


# --- what the record says of it


def test_the_record_says_since_when_the_listener_carries_what_was_written(operation: Operation, aws: FakeAws) -> None:
    began = now()
    move_weights(operation, GREEN)
    record = store_of(aws.s3).environment()
    assert record.weights_since is not None
    assert record.weights_since >= began
    assert operation.record.weights == GREEN


def test_weights_that_are_there_already_close_the_intent_and_have_stood_since_before(
    operation: Operation, aws: FakeAws
) -> None:
    operation.records.change_environment(lambda r: r.carrying(BLUE, since=NOON).intending(GREEN))
    operation.records.environment()
    move_weights(operation, BLUE)
    record = store_of(aws.s3).environment()
    assert (record.weights, record.weights_intent, record.weights_since) == (BLUE, None, NOON)


@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_what_was_written_forward_and_cannot_be_recorded_is_told_and_homeward_it_is_not(
    operation: Operation, aws: FakeAws, tolerate_unwritten_record: bool
) -> None:
    aws.elbv2.fail("modify_listener", Fault(lost(), lands=True, meanwhile=lambda: break_s3(aws, lost)))
    if tolerate_unwritten_record:
        move_weights(operation, GREEN, tolerate_unwritten_record=True)
        assert aws.elbv2.weights == GREEN
        return
    with pytest.raises(UnknownOutcome, match="could not be written"):
        move_weights(operation, GREEN)


def test_the_listener_that_is_named_is_the_one_that_is_read(operation: Operation, aws: FakeAws) -> None:
    operation.load_balancer.listener(rules=False)
    operation.load_balancer.listener(f"{LISTENER}80", rules=False)
    assert [a["ListenerArns"] for name, a in aws.elbv2.calls] == [[LISTENER], [f"{LISTENER}80"]]


# --- weights that we did not write


@pytest.mark.parametrize("to", [BLUE, GREEN])
@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_foreign_weights_freeze_and_nothing_is_written(
    operation: Operation, aws: FakeAws, to: Weights, tolerate_unwritten_record: bool
) -> None:
    by_hand(aws)()
    with pytest.raises(Refused, match="test is frozen") as refusal_:
        move_weights(operation, to, tolerate_unwritten_record=tolerate_unwritten_record)
    frozen = store_of(aws.s3).environment().frozen
    assert frozen is not None
    assert (frozen.observed, frozen.expected) == (SPLIT, BLUE)
    assert "unfreeze test --keep blue|green" in refusal_.value.do
    assert (aws.elbv2.weights, aws.elbv2.count("modify_listener")) == (SPLIT, 0)


def test_a_frozen_environment_stays_frozen_though_the_weights_are_ours_again(
    operation: Operation, aws: FakeAws
) -> None:
    by_hand(aws)()
    with pytest.raises(Refused):
        move_weights(operation, GREEN)
    aws.elbv2.weights = BLUE
    with pytest.raises(Refused, match="frozen"):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 0


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_weights_set_by_hand_in_the_moment_of_our_write_freeze_too(
    operation: Operation, aws: FakeAws, lands: bool, tolerate_unwritten_record: bool
) -> None:
    aws.elbv2.fail("modify_listener", Fault(lost(), lands=lands, meanwhile=by_hand(aws)))
    with pytest.raises(Refused, match="frozen"):
        move_weights(operation, GREEN, tolerate_unwritten_record=tolerate_unwritten_record)
    assert aws.elbv2.weights == SPLIT
    assert aws.elbv2.count("modify_listener") == 1


def test_foreign_weights_are_not_overwritten_though_the_freeze_cannot_be_recorded(
    operation: Operation, aws: FakeAws
) -> None:
    by_hand(aws)()
    break_s3(aws, lost)
    with pytest.raises(PointsmanError):
        move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert (aws.elbv2.weights, aws.elbv2.count("modify_listener")) == (SPLIT, 0)


# --- only the holder writes


@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_who_was_taken_over_writes_nothing(operation: Operation, aws: FakeAws, tolerate_unwritten_record: bool) -> None:
    taken_over(aws)()
    with pytest.raises(Refused, match="no longer ours"):
        move_weights(operation, GREEN, tolerate_unwritten_record=tolerate_unwritten_record)
    assert aws.elbv2.count("modify_listener") == 0


def test_who_is_taken_over_between_two_tries_does_not_try_again(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.fail("modify_listener", Fault(lost(), meanwhile=taken_over(aws)))
    with pytest.raises(Refused, match="no longer ours"):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 1


def test_who_was_asked_to_stop_does_not_go_forward(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    with pytest.raises(Refused, match="asked to stop"):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 0


# --- going home needs no record write


@pytest.mark.parametrize("how", list(DOWN))
def test_going_forward_needs_the_record(operation: Operation, aws: FakeAws, how: str) -> None:
    break_s3(aws, DOWN[how])
    with pytest.raises(PointsmanError):
        move_weights(operation, GREEN)
    assert aws.elbv2.count("modify_listener") == 0


@pytest.mark.parametrize("how", list(DOWN))
@pytest.mark.parametrize("reads", [True, False])
def test_traffic_goes_home_though_s3_takes_no_write(operation: Operation, aws: FakeAws, how: str, reads: bool) -> None:
    move_weights(operation, GREEN)
    operation.lease.assert_held()
    break_s3(aws, DOWN[how], reads=reads)
    move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert aws.elbv2.weights == BLUE


@pytest.mark.parametrize("how", list(DOWN))
def test_traffic_goes_home_though_s3_went_away_midway(operation: Operation, aws: FakeAws, how: str) -> None:
    aws.elbv2.fail("modify_listener", Fault(lost(), lands=True, meanwhile=lambda: break_s3(aws, DOWN[how])))
    with pytest.raises(PointsmanError):
        move_weights(operation, GREEN)
    assert aws.elbv2.weights == GREEN
    move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert aws.elbv2.weights == BLUE


def test_without_the_record_traffic_goes_home_only_while_the_lease_is_ours(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_weights(operation, GREEN)
    lease = operation.lease.assert_held().lease
    assert lease is not None
    later = lease.expires_at + timedelta(seconds=1)
    monkeypatch.setattr("operation.lease.now", lambda: later)
    break_s3(aws, lost)
    with pytest.raises(PointsmanError):
        move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert aws.elbv2.weights == GREEN


# --- reads


def test_target_health_counts_states_and_tells_reasons(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.healthy[Colour.GREEN] = 3
    health = operation.load_balancer.health(operation.slot(Colour.GREEN).service)
    assert (health.healthy, str(health)) == (3, "3 healthy")
    aws.elbv2.healthy[Colour.GREEN] = 0
    assert str(operation.load_balancer.health(operation.slot(Colour.GREEN).service)) == "no targets"
