"""What a dead run left is settled by whoever finds it, also where the first who tried did not come to the end."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import lifecycle.finish_rollback as completion
from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent, UnknownOutcome
from core.history import Attempt, State, StepRecord
from core.record import Owner, RollbackIntent, StopRequest
from lifecycle import finish_rollback, run
from lifecycle.takeover import take_over
from operation.lease import now
from operation.operation import Operation
from systems.processes import ATTEMPT_VARIABLE, owner_of
from systems.terraform import state_key
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


def test_a_run_that_could_not_clean_up_leaves_it_to_the_next_and_does_not_give_the_environment_back(
    aws: FakeAws, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error ends a whole run here, which aborts what is its own: what it took over is not."""
    first = finder(aws, "rec-1")
    monkeypatch.setattr(run, "open_run", lambda *_, **__: first)
    monkeypatch.setattr(run, "label_run_with_owner", lambda *_: None)
    aws.ecs.broken = {"list_tasks": lambda: refusal("ServerException", 500)}
    state = run.run_operation("reconcile", "test", lambda operation: str(take_over(operation)))
    assert state.is_failed()
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.takes_over is not None
    assert lease.takes_over.owner.attempt == dead
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


# --- what there is to settle, and for whom


def change_hold(aws: FakeAws, **facts: Any) -> None:
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(update={"lease": r.lease.model_copy(update=facts) if r.lease else None})
    )


def attempt_of(aws: FakeAws, attempt_id: str) -> Attempt:
    history = store_of(aws.s3).version("v1.1.0")
    assert history is not None
    found = history.attempt(attempt_id)
    assert found is not None
    return found


STOP = StopRequest(by="rollback run run-7", at=NOON, reason="a rollback")


@pytest.mark.parametrize(
    ("rule", "facts", "given", "state", "reason"),
    [
        ("its process died", {}, {}, State.FAILED, "its process died"),
        (
            "somebody asked it to stop, and it died over that",
            {"stop": STOP},
            {},
            State.ABORTED,
            "rollback run run-7 asked it to stop: a rollback",
        ),
        (
            "nobody answered its approval in time",
            {"parked_until": NOON},
            {},
            State.ABORTED,
            "nobody approved it in time, or its run was ended",
        ),
        (
            "a newer version takes its place",
            {"parked_until": NOON + timedelta(days=100_000)},
            {"even_parked": True, "successor": "v1.2.0"},
            State.SUPERSEDED,
            "v1.2.0 took its place while it waited for approval",
        ),
        (
            "it is ended though it waits for approval",
            {"parked_until": NOON + timedelta(days=100_000)},
            {"even_parked": True},
            State.ABORTED,
            "nobody approved it in time, or its run was ended",
        ),
    ],
)
def test_what_became_of_it_is_said_with_the_step_that_it_left(
    aws: FakeAws, dead: str, rule: str, facts: dict[str, Any], given: dict[str, Any], state: State, reason: str
) -> None:
    change_hold(aws, step="apply", **facts)
    told = take_over(finder(aws, "rec-1"), **given)
    assert told == (f"v1.1.0 → test ended {state} at apply: {reason}. Traffic: 100 % on v1.0.0 (blue)."), rule
    settled = attempt_of(aws, dead)
    assert settled.failure is not None
    assert (settled.state, settled.failure.step, settled.failure.reason) == (state, "apply", reason)
    assert store_of(aws.s3).environment().lease is None


def test_the_step_that_it_left_is_the_last_one_that_has_no_end(aws: FakeAws, dead: str) -> None:
    change_hold(aws, step="apply")
    store_of(aws.s3).change_version(
        "v1.1.0",
        "",
        lambda r: r.with_attempt(
            r.attempts[-1]
            .begun(step_without_end("plan"))
            .begun(step_without_end("start"))
            .begun(step_without_end("smoke"))
        ),
    )
    told = take_over(finder(aws, "rec-1"))
    assert told is not None
    assert "ended FAILED at smoke: " in told


def step_without_end(name: str) -> StepRecord:
    return StepRecord(name=name, intent="said", started_at=NOON)


@pytest.mark.parametrize(
    ("rule", "facts", "given"),
    [
        ("it works", {"expires_at": NOON + timedelta(days=100_000)}, {}),
        ("it works, and a newer version waits", {"expires_at": NOON + timedelta(days=100_000)}, {"even_parked": True}),
        ("it waits for approval", {"parked_until": NOON + timedelta(days=100_000)}, {}),
    ],
)
def test_what_is_not_abandoned_is_left_alone(
    aws: FakeAws, dead: str, rule: str, facts: dict[str, Any], given: dict[str, Any]
) -> None:
    change_hold(aws, **facts)
    before = store_of(aws.s3).environment()
    assert take_over(finder(aws, "rec-1"), **given) is None, rule
    assert store_of(aws.s3).environment() == before


def test_where_nobody_holds_there_is_nothing_to_settle(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    before = store_of(aws.s3).environment()
    assert take_over(finder(aws, "rec-1")) is None
    assert store_of(aws.s3).environment() == before


def test_while_it_is_settled_the_lease_says_who_settles_and_what(
    aws: FakeAws, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    listed = aws.ecs.list_tasks

    def look(**arguments: Any) -> Any:
        seen.append(store_of(aws.s3).environment().lease)
        return listed(**arguments)

    monkeypatch.setattr(aws.ecs, "list_tasks", look)
    reconciler = finder(aws, "rec-1")
    take_over(reconciler)
    assert seen[0].owner == reconciler.owner
    assert (seen[0].version, seen[0].takes_over.owner.attempt) == ("v1.1.0", dead)


def test_who_settled_is_about_nothing_any_more(aws: FakeAws, dead: str) -> None:
    reconciler = finder(aws, "rec-1")
    take_over(reconciler)
    assert (reconciler.journal.version, reconciler.journal.entry, reconciler.lease.held) == (None, None, False)


def test_what_could_not_be_settled_keeps_its_lease_and_says_why(aws: FakeAws, dead: str) -> None:
    reconciler = finder(aws, "rec-1")
    aws.ecs.broken = {"list_tasks": lambda: refusal("AccessDenied", 403)}
    with pytest.raises(UnknownOutcome, match=r"Could not clean up after v1\.1\.0: .*one-off tasks") as error:
        take_over(reconciler)
    assert error.value.do
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.owner == reconciler.owner
    reconciler.lease.stop_heartbeat()


def test_before_anything_was_live_traffic_goes_back_to_what_the_first_release_found(aws: FakeAws, dead: str) -> None:
    blue = Weights.all_on(Colour.BLUE)
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(update={"live": None, "weights_before": blue, "weights": Weights.all_on(Colour.GREEN)})
    )
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    take_over(finder(aws, "rec-1"))
    assert aws.elbv2.weights == blue


def test_once_something_is_live_traffic_goes_to_that(aws: FakeAws, dead: str) -> None:
    green = Weights.all_on(Colour.GREEN)
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"weights_before": green, "weights": green}))
    aws.elbv2.weights = green
    take_over(finder(aws, "rec-1"))
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)


@pytest.mark.parametrize("version", ["v1.1.0", None])
def test_a_lease_without_an_attempt_is_settled_by_what_held_it(
    operation: Operation, aws: FakeAws, version: str | None
) -> None:
    operation.lease.stop_heartbeat()
    task = Task("arn:aws:ecs:eu-west-1:123456789012:task/c/0", "local-1-1")
    aws.ecs.tasks = [task]
    lease = lease_of(owner("local-1", flow="run", pid=9), version=version, fencing_token=9, step="run")
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"lease": lease, "fencing_token": 9}))
    told = take_over(finder(aws, "rec-1"))
    subject = "v1.1.0 → test" if version else "run"
    assert told == (f"{subject} ended FAILED at run: its process died. Traffic: 100 % on v1.0.0 (blue).")
    assert task.last == "STOPPED"
    assert attempt_of(aws, operation.owner.attempt).failure is None, "that attempt is another's"


def test_what_a_command_left_that_could_not_be_settled_is_named_by_it(operation: Operation, aws: FakeAws) -> None:
    operation.lease.stop_heartbeat()
    lease = lease_of(owner("local-1", flow="run", pid=9), version=None, fencing_token=9)
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"lease": lease, "fencing_token": 9}))
    aws.ecs.broken = {"list_tasks": lambda: refusal("AccessDenied", 403)}
    reconciler = finder(aws, "rec-1")
    with pytest.raises(UnknownOutcome, match="Could not clean up after run"):
        take_over(reconciler)
    reconciler.lease.stop_heartbeat()


def test_the_dead_run_s_folders_go(aws: FakeAws, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"pointsman-{dead}-x").mkdir()
    (tmp_path / "pointsman-other-1-x").mkdir()
    take_over(finder(aws, "rec-1"))
    assert [folder.name for folder in tmp_path.iterdir()] == ["pointsman-other-1-x"]


@pytest.mark.parametrize("here", [True, False])
def test_children_of_who_died_over_the_settling_are_ended_where_they_are(aws: FakeAws, dead: str, here: bool) -> None:
    first = store_of(aws.s3).environment().lease
    assert first is not None
    # Its id is this process's own, so that no other test's children are meant.
    attempt = f"settler-{os.getpid()}"
    gone = owner_of("reconcile", attempt, attempt).model_copy(update={"process_started": "0"})
    settler: Owner = gone if here else gone.model_copy(update={"host": "elsewhere"})
    change_hold(aws, owner=settler, takes_over=first)
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, ATTEMPT_VARIABLE: attempt}, start_new_session=True)
    try:
        assert take_over(finder(aws, "rec-2")) is not None
        assert (child.poll() is not None) is here
    finally:
        child.kill()
        child.wait()
    assert_settled(aws, dead)


# --- a rollback is completed, never undone


def test_a_dead_rollback_is_completed_and_a_doubt_is_said(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubt(_: Operation) -> None:
        raise Permanent("It does not answer")

    monkeypatch.setattr(completion, "confirm_release", doubt)
    operation.lease.stop_heartbeat()
    leaving, target = live("v1.1.0", Colour.GREEN), live("v1.0.0")
    intent = RollbackIntent(target=target, leaving=leaving, flow_run_id="dead", at=NOON)
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    aws.ecs.desired[GREEN] = 1
    gone = owner_of("rollback", "dead", "dead-1").model_copy(update={"process_started": "0"})
    lease = lease_of(gone, version="v1.0.0", fencing_token=9).model_copy(
        update={"acquired_at": now() - timedelta(seconds=60)}
    )
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(
            update={
                "lease": lease,
                "fencing_token": 9,
                "live": leaving,
                "healthy": (target,),
                "rollback": intent,
                "weights": Weights.all_on(Colour.GREEN),
            }
        )
    )
    key = lock_of_slot(aws, "blue")
    told = take_over(finder(aws, "rec-1"))
    assert told == ("test is back on v1.0.0 (blue, warm), rolled back from v1.1.0. Not confirmed: It does not answer.")
    record = store_of(aws.s3).environment()
    assert record.live is not None
    assert record.live.release == target.release
    assert (record.rollback, record.lease) == (None, None)
    assert aws.elbv2.history == [Weights.all_on(Colour.BLUE)]
    assert key not in aws.s3.objects, "what its Terraform left locked is released before the slot is planned"


def lock_of_slot(aws: FakeAws, state: str) -> str:
    """A state lock that a Terraform of this machine took a moment ago."""
    key = f"{state_key('test', state)}.tflock"
    told = {"ID": "1-2", "Who": f"root@{os.uname().nodename}", "Created": f"{now():%Y-%m-%dT%H:%M:%S}.123456789Z"}
    aws.s3.objects[key] = (json.dumps(told).encode(), '"1"')
    return key
