"""What a dead run left is settled by whoever finds it, also where the first who tried did not come to the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent, UnknownOutcome
from core.history import State
from core.record import RollbackIntent
from lifecycle import finish_rollback
from lifecycle.takeover import take_over
from operation.lease import now
from operation.operation import Operation
from tests.unit.adapters import abort
from tests.unit.facts import NOON, definition_of, lease_of, live, owner, settings_with, slot_of
from tests.unit.fakes import FakeAws, Task, operation_of, refusal, store_of

GREEN = "shop-test-green"


def expire(aws: FakeAws) -> None:
    """Its heartbeat stopped long ago."""
    past = {"expires_at": now() - timedelta(seconds=1)}
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(update={"lease": r.lease.model_copy(update=past) if r.lease else None})
    )


def finder(aws: FakeAws, run: str) -> Operation:
    return operation_of(aws, settings_with(), owner(run, flow="reconcile", pid=9))


@pytest.fixture
def dead(operation: Operation, aws: FakeAws) -> str:
    """A release that died while its migration ran and its candidate was up; returns its attempt's id."""
    operation.journal.advance(State.PLANNED)
    operation.journal.advance(State.APPLIED)
    with operation.journal.step("vacate", "empty green") as step:
        step.done("said")
    with operation.journal.step("migrate", "apply 1_a") as step:
        step.done("said")
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(update={"lease": r.lease.model_copy(update={"version": "v1.1.0"}) if r.lease else None})
    )
    operation.lease.stop_heartbeat()
    aws.ecs.tasks = [Task("arn:aws:ecs:eu-west-1:123456789012:task/c/0", operation.owner.attempt)]
    aws.ecs.desired[GREEN] = 2
    expire(aws)
    return operation.owner.attempt


def assert_settled(aws: FakeAws, attempt_id: str) -> None:
    record, history = store_of(aws.s3).environment(), store_of(aws.s3).version("v1.1.0")
    assert history is not None
    attempt = history.attempt(attempt_id)
    assert attempt is not None
    assert attempt.state is State.FAILED
    assert attempt.failure is not None
    assert record.lease is None
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)
    assert aws.ecs.desired == {"shop-test-blue": 1, GREEN: 0}
    assert [t.last for t in aws.ecs.tasks] == ["STOPPED"]


def test_a_dead_release_is_settled(aws: FakeAws, dead: str) -> None:
    assert take_over(finder(aws, "rec-1")) is not None
    assert_settled(aws, dead)


def test_what_one_could_not_settle_the_next_does(aws: FakeAws, dead: str) -> None:
    first = finder(aws, "rec-1")
    aws.ecs.broken = {"list_tasks": lambda: refusal("ServerException", 500)}
    with pytest.raises(UnknownOutcome, match=r"Could not clean up after v1\.1\.0"):
        take_over(first)
    first.lease.stop_heartbeat()
    aws.ecs.broken = {}
    expire(aws)
    assert take_over(finder(aws, "rec-2")) is not None
    assert_settled(aws, dead)


def test_what_one_died_over_the_next_settles(aws: FakeAws, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = finder(aws, "rec-1")

    class Killed(BaseException):
        """The process ends here."""

    def killed(**_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(aws.ecs, "list_tasks", killed)
        with pytest.raises(Killed):
            take_over(first)
    first.lease.stop_heartbeat()
    expire(aws)
    assert take_over(finder(aws, "rec-2")) is not None
    assert_settled(aws, dead)


# --- a dead rollback, whose takeover fails too


TARGET = live("v0.9.0").model_copy(update={"slot": slot_of("green:4", GREEN)})


@pytest.fixture
def rolling_back(operation: Operation, aws: FakeAws) -> RollbackIntent:
    """Its run wrote the intent and died; nothing runs in green, and blue carries all traffic."""
    operation.lease.stop_heartbeat()
    leaving = operation.record.live
    assert leaving is not None
    intent = RollbackIntent(target=TARGET, leaving=leaving, flow_run_id="run-1", at=NOON)
    gone = lease_of(owner(flow="rollback"), fencing_token=operation.record.fencing_token, version=None)
    operation.records.change_environment(
        lambda r: r.model_copy(update={"rollback": intent, "healthy": (TARGET,), "lease": gone})
    )
    aws.ecs.definitions["green:4"] = definition_of(TARGET.release)
    return intent


def test_a_rollback_that_moved_is_not_undone_by_whoever_fails_to_complete_it(
    aws: FakeAws, rolling_back: RollbackIntent, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of(aws.s3).change_environment(lambda r: r.carrying(Weights.all_on(Colour.GREEN)))
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    aws.ecs.desired[GREEN], aws.ecs.uses[GREEN] = 1, "green:4"

    def refuse(*_: object) -> None:
        raise Permanent("S3 refuses")

    monkeypatch.setattr(finish_rollback, "confirm_release", lambda _: None)
    monkeypatch.setattr(finish_rollback, "record_rollback", refuse)
    run = finder(aws, "rec-1")
    with pytest.raises(Permanent, match="S3 refuses"):
        take_over(run)
    aborted = abort(run, Ending(State.FAILED, "record", "said"))
    run.lease.stop_heartbeat()
    assert aws.elbv2.history == []
    assert "The rollback is kept" in aborted.traffic
    assert not aborted.complete, "the lease stays for the next look to find"
    assert store_of(aws.s3).environment().rollback == rolling_back


def test_a_cold_rollback_that_cannot_be_started_is_given_up_by_whoever_found_it(
    aws: FakeAws, rolling_back: RollbackIntent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Permanent("terraform plan failed")

    monkeypatch.setattr(finish_rollback, "start_cold", refuse)
    run = finder(aws, "rec-1")
    with pytest.raises(Permanent, match="plan failed"):
        take_over(run)
    if run.lease.held:
        abort(run, Ending(State.FAILED, "plan", "said"))
    run.lease.stop_heartbeat()
    record = store_of(aws.s3).environment()
    assert aws.elbv2.history == []
    assert record.rollback is None, "else the next failure of anything would be taken for this rollback's"
