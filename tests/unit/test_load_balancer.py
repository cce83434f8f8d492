"""The one module that changes live traffic: lost answers are read back, foreign weights freeze, home is always open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Refused, UnknownOutcome
from core.lease import ask_to_stop, take
from operation.lease import now
from operation.operation import Operation
from operation.weights import move_weights
from tests.unit.adapters import read_weights
from tests.unit.facts import owner
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
        pytest.param([Fault(refusal("Throttling"))], 2, id="asked for patience"),
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
