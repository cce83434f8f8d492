"""One run's work on an environment: intent before, outcome after, and nothing written once the hold is gone."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused
from core.history import Attempt, Failure, State, VersionRecord
from core.lease import LeaseVerdict, ask_to_stop, take
from core.record import LeaseRecord
from core.version import Version
from lifecycle.acquire import take_at_once
from lifecycle.release_request import enter
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, step
from operation.workspace import remove_workspace
from systems.processes import owner_of
from tasks.checkout import Checkout
from tasks.infrastructure import _take as take_from_the_dead
from tests.unit.facts import COMMIT, FROZEN, definition_of, lease_of, owner, release, settings_with, waiter
from tests.unit.fakes import FakeAws, Fault, lost, operation_of, store_of

UNKNOWN_TAG = Failure(step="checkout", reason="The tag does not exist")


def history(aws: FakeAws, version: str = "v1.1.0") -> VersionRecord:
    found = store_of(aws.s3).version(version)
    assert found is not None
    return found


def attempt_of(aws: FakeAws) -> Attempt:
    return history(aws).attempts[-1]


def taken_over(aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: take(r, owner("other", pid=9), now(), expiry=7200, version=None))


def test_a_step_s_intent_stands_in_the_record_before_and_its_outcome_after(operation: Operation, aws: FakeAws) -> None:
    with operation.journal.step("apply", "apply plan abc") as step:
        written = attempt_of(aws).steps
        assert [(s.name, s.intent, s.outcome) for s in written] == [("apply", "apply plan abc", None)]
        step.done("it is applied")
    assert [(s.outcome, s.detail) for s in attempt_of(aws).steps] == [("done", "it is applied")]
    assert attempt_of(aws).steps[0].seconds is not None


def test_a_step_s_name_tells_what_it_works_on(operation: Operation, aws: FakeAws) -> None:
    @step("stop {colour}", "stop the tasks in {colour}")
    def stop(_operation: Operation, colour: Colour) -> Done[None]:
        return done(f"{operation.lease.step} is what others see")

    stop.fn(operation, Colour.GREEN)
    [written] = attempt_of(aws).steps
    assert (written.name, written.intent) == ("stop green", "stop the tasks in green")
    assert written.detail == "stop green is what others see"


def test_a_step_with_nothing_to_do_says_why(operation: Operation, aws: FakeAws) -> None:
    with operation.journal.step("apply", "apply plan abc") as step:
        step.skip("the plan changes nothing")
    assert [(s.outcome, s.detail) for s in attempt_of(aws).steps] == [("skipped", "the plan changes nothing")]


@pytest.mark.parametrize("error", [Permanent("It broke"), KeyboardInterrupt(), ValueError("x")])
def test_a_step_that_breaks_off_is_written_down_as_failed(
    operation: Operation, aws: FakeAws, error: BaseException
) -> None:
    with pytest.raises(type(error)), operation.journal.step("apply", "apply plan abc"):
        raise error
    assert [s.outcome for s in attempt_of(aws).steps] == ["failed"]


def test_an_error_says_which_step_it_left_though_another_began_since(operation: Operation) -> None:
    def break_while_another_step_runs() -> None:
        operation.lease.step = "push"
        raise Permanent("It broke")

    with pytest.raises(Permanent) as raised, operation.journal.step("init", "initialise Terraform"):
        break_while_another_step_runs()
    assert raised.value.step == "init"


def test_what_ran_beside_a_step_that_failed_was_broken_off(operation: Operation, aws: FakeAws) -> None:
    def break_as_the_run_ends() -> None:
        operation.journal.ending = True
        raise Permanent("terraform init failed", why="interrupted")

    with (
        pytest.raises(Refused, match="init was interrupted: another step failed"),
        operation.journal.step("init", "say"),
    ):
        break_as_the_run_ends()
    assert attempt_of(aws).steps[-1].detail == "init was interrupted: another step failed."


def test_what_an_abort_could_not_do_is_told_with_its_own_reason(operation: Operation) -> None:
    operation.journal.ending = True
    with pytest.raises(Permanent, match="The listener is frozen"), operation.journal.step("traffic back", "go home"):
        raise Permanent("The listener is frozen")


def test_a_failure_is_told_though_it_cannot_be_written_down(operation: Operation, aws: FakeAws) -> None:
    def break_with_s3() -> None:
        aws.s3.broken = {"put_object": lost, "get_object": lost}
        raise Permanent("It broke")

    with pytest.raises(Permanent, match="It broke"), operation.journal.step("apply", "apply plan abc"):
        break_with_s3()


def test_a_step_does_not_begin_once_the_environment_was_taken_over(operation: Operation, aws: FakeAws) -> None:
    taken_over(aws)
    with pytest.raises(Refused, match="no longer ours"), operation.journal.step("apply", "apply plan abc"):
        pytest.fail("it began")


def test_a_step_does_not_begin_once_somebody_wants_it_to_stop(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    with (
        pytest.raises(Refused, match=r"v1\.1\.0 was asked to stop: a rollback asked it to: it said so"),
        operation.journal.step("apply", "apply plan abc"),
    ):
        pytest.fail("it began")


def test_what_settles_a_stopped_run_is_not_stopped_by_the_same_wish(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    with pytest.raises(Refused):
        operation.lease.assert_held()
    operation.lease.disregard_stop()
    operation.lease.assert_held()
    assert not operation.lease.asked_to_stop


def test_a_lease_that_expired_stops_the_work(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = operation.lease.assert_held().lease
    assert lease is not None
    later = lease.expires_at + timedelta(seconds=1)
    monkeypatch.setattr("operation.lease.now", lambda: later)
    with pytest.raises(Refused):
        operation.lease.check()


def test_only_one_s_own_lease_is_given_back(operation: Operation, aws: FakeAws) -> None:
    taken_over(aws)
    operation.lease.drop()
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.owner.flow_run_id == "other"


def test_an_environment_that_is_held_is_not_taken(operation: Operation, aws: FakeAws) -> None:
    other = operation_of(aws, settings_with(), owner("run-2", pid=9))
    with pytest.raises(Refused, match="test is held by release") as refusal:
        take_at_once(other)
    assert "reconcile" in refusal.value.do


@pytest.mark.parametrize("lands", [True, False])
def test_taking_the_lease_survives_a_lost_answer(operation: Operation, aws: FakeAws, lands: bool) -> None:
    operation.lease.drop()
    other = operation_of(aws, settings_with(), owner("run-2", pid=9))
    before = other.records.environment().fencing_token
    aws.s3.fail("put_object", Fault(lost(), lands=lands))
    take_at_once(other)
    record = store_of(aws.s3).environment()
    assert record.lease is not None
    assert (record.lease.owner, record.fencing_token, other.lease.fencing_token) == (
        other.owner,
        before + 1,
        before + 1,
    )
    other.lease.stop_heartbeat()


def test_an_attempt_moves_by_the_table_and_not_otherwise(operation: Operation, aws: FakeAws) -> None:
    operation.journal.advance(State.PLANNED)
    operation.journal.advance(State.PLANNED)
    assert attempt_of(aws).state is State.PLANNED
    with pytest.raises(Permanent, match="cannot move from PLANNED to SHIFTING"):
        operation.journal.advance(State.SHIFTING)
    assert attempt_of(aws).state is State.PLANNED


def test_a_run_that_is_suspended_takes_up_its_own_attempt(operation: Operation, aws: FakeAws) -> None:
    operation.journal.advance(State.PLANNED)
    again = operation_of(aws, settings_with(), operation.owner)
    assert again.journal.begin_attempt("v1.1.0", COMMIT, Colour.GREEN).state is State.PLANNED
    assert len(history(aws).attempts) == 1


def test_a_retry_is_an_attempt_of_its_own_and_closes_the_one_that_died(operation: Operation, aws: FakeAws) -> None:
    operation.journal.advance(State.PLANNED)
    retried = operation_of(aws, settings_with(), owner("run-1", attempt="run-1-2"))
    retried.journal.begin_attempt("v1.1.0", COMMIT, Colour.GREEN)
    assert [a.state for a in history(aws).attempts] == [State.ABORTED, State.BUILDING]


def test_a_waiter_that_is_superseded_leaves_the_attempt_of_the_run_that_works(
    operation: Operation, aws: FakeAws
) -> None:
    """Two runs of v1.1.0: one works, the other waits until v1.2.0 comes."""
    operation.journal.advance(State.PLANNED)
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(
            update={
                "lease": r.lease.model_copy(update={"version": "v1.1.0"}) if r.lease else None,
                "queue": (waiter("v1.2.0", "run-3").model_copy(update={"seen_at": now()}),),
            }
        )
    )
    second = operation_of(aws, settings_with(), owner("run-2", pid=9))
    ended = enter(second, Checkout(Version.parse("v1.1.0"), COMMIT, Path(), ()), allow_downgrade=False)
    assert ended.outcome is not None
    assert ended.outcome.name == "Superseded"
    operation.journal.advance(State.APPLIED)
    first = history(aws).attempt(operation.owner.attempt)
    assert first is not None
    assert first.state is State.APPLIED


def test_a_refused_retry_leaves_the_record_of_what_is_live(operation: Operation, aws: FakeAws) -> None:
    for state in (State.PLANNED, State.APPLIED, State.MIGRATED, State.RUNNING, State.VERIFIED):
        operation.journal.advance(state)
    for state in (State.SHIFTING, State.BAKING, State.HEALTHY):
        operation.journal.advance(state)
    other = operation_of(aws, settings_with(), owner("run-2", pid=9))
    other.journal.record_early_failure("v1.1.0", COMMIT, State.FAILED, UNKNOWN_TAG)
    assert [a.state for a in history(aws).attempts] == [State.HEALTHY]


def test_a_failure_before_the_lease_is_written_down(aws: FakeAws, operation: Operation) -> None:
    other = operation_of(aws, settings_with(), owner("run-2", pid=9))
    other.journal.record_early_failure("v9.0.0", "", State.FAILED, UNKNOWN_TAG)
    failed = history(aws, "v9.0.0").attempts[-1]
    assert failed.failure is not None
    assert (failed.state, failed.failure.step, failed.failure.reason) == (
        State.FAILED,
        "checkout",
        "The tag does not exist",
    )


def test_a_release_that_is_superseded_while_it_waits_is_on_record_with_its_commit(
    operation: Operation, aws: FakeAws
) -> None:
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(update={"queue": (waiter("v1.3.0", "run-3").model_copy(update={"seen_at": now()}),)})
    )
    second = operation_of(aws, settings_with(), owner("run-2", pid=9))
    ended = enter(second, Checkout(Version.parse("v1.2.0"), COMMIT, Path(), ()), allow_downgrade=False)
    assert ended.outcome is not None
    superseded = history(aws, "v1.2.0")
    assert (superseded.state, superseded.commit) == (State.SUPERSEDED, COMMIT), "else nobody could see its tag move"


def test_nothing_is_known_of_an_environment_that_was_not_provisioned(aws: FakeAws, no_run_log: None) -> None:
    with pytest.raises(PointsmanError, match="no infrastructure yet"):
        _ = operation_of(aws, settings_with(), owner()).infrastructure


def test_what_a_dead_run_left_on_disk_goes_and_a_living_one_s_stays(
    operation: Operation, aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = operation_of(aws, settings_with(), owner("run-2"))
    dead, alive = operation.workspace.folder("slot"), other.workspace.folder("slot")
    remove_workspace(operation.owner.attempt)
    assert (dead.exists(), alive.exists()) == (False, True)
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_writes_down_no_secret(operation: Operation, aws: FakeAws) -> None:
    with pytest.raises(RuntimeError), operation.journal.step("migrate", "migrate"):
        raise RuntimeError("input: 'postgres://app:hun ter2@db'")
    (step,) = attempt_of(aws).steps
    assert step.detail == "input: '***'"


@pytest.mark.parametrize("by_default", [True, False])
def test_a_step_s_result_is_never_written_to_prefect_s_storage(by_default: bool) -> None:
    with temporary_settings(updates={PREFECT_RESULTS_PERSIST_BY_DEFAULT: by_default}):

        @step("init", "initialise")
        def secret(_operation: Operation) -> Done[str]:
            return done("initialised", "AWS_SECRET_ACCESS_KEY")

        assert secret.persist_result is False


def test_a_record_that_names_another_role_leads_nowhere(operation: Operation) -> None:
    found = operation.record.infrastructure
    assert found is not None
    foreign = found.model_copy(update={"task_role_arn": "arn:aws:iam::123456789012:role/admin"})
    operation.records.change_environment(lambda r: r.model_copy(update={"infrastructure": foreign}))
    with pytest.raises(Refused, match="task_role_arn"):
        operation.infrastructure  # noqa: B018


# --- the look before a side effect


def test_going_forward_the_look_before_a_side_effect_needs_the_record(operation: Operation, aws: FakeAws) -> None:
    aws.s3.broken = {"put_object": lost, "get_object": lost}
    with pytest.raises(PointsmanError):
        operation.lease.assert_held()


def test_on_the_way_home_the_record_as_it_was_seen_last_is_enough(operation: Operation, aws: FakeAws) -> None:
    before = operation.lease.assert_held()
    aws.s3.broken = {"put_object": lost, "get_object": lost}
    assert operation.lease.assert_held(tolerate_unwritten_record=True) == before


def test_the_look_before_a_side_effect_returns_the_record_as_it_is_now(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"last_failure": "said"}))
    assert operation.lease.assert_held(tolerate_unwritten_record=True).last_failure == "said"
    assert operation.record.last_failure == "said"


def test_the_look_before_a_side_effect_prolongs_the_lease_and_says_the_step(operation: Operation, aws: FakeAws) -> None:
    operation.lease.step = "apply"
    began = now()
    operation.lease.assert_held()
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.step == "apply"
    assert lease.expires_at - began >= timedelta(seconds=7200)


@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_who_was_taken_over_may_not_look_past_it(
    operation: Operation, aws: FakeAws, tolerate_unwritten_record: bool
) -> None:
    taken_over(aws)
    with pytest.raises(Refused, match="no longer ours"):
        operation.lease.assert_held(tolerate_unwritten_record=tolerate_unwritten_record)


@pytest.mark.parametrize(("left", "over"), [(-1, True), (60, False)])
def test_a_lease_ends_the_work_once_its_time_is_up_and_not_before(
    operation: Operation, left: float, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = operation.lease.assert_held().lease
    assert lease is not None
    monkeypatch.setattr("operation.lease.now", lambda: lease.expires_at - timedelta(seconds=left))
    if not over:
        operation.lease.check()
        return
    with pytest.raises(Refused, match="The lease on test expired: the record could not be written") as refusal:
        operation.lease.check()
    assert "reconcile" in refusal.value.do


def test_the_first_wish_to_stop_ends_the_work_until_it_is_disregarded(operation: Operation, aws: FakeAws) -> None:
    assert not operation.lease.asked_to_stop
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    with pytest.raises(Refused, match=r"v1\.1\.0 was asked to stop"):
        operation.lease.assert_held()
    assert operation.lease.asked_to_stop
    operation.records.change_environment(
        lambda r: r.model_copy(update={"lease": r.lease.model_copy(update={"version": None}) if r.lease else None})
    )
    with pytest.raises(Refused, match="The run was asked to stop"):
        operation.lease.check()


def test_a_lease_taken_anew_heeds_a_wish_to_stop_again(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    with pytest.raises(Refused):
        operation.lease.assert_held()
    operation.lease.disregard_stop()
    operation.lease.drop()
    take_at_once(operation)
    operation.lease.assert_held()
    assert not operation.lease.asked_to_stop
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "again", now()))
    with pytest.raises(Refused, match="asked to stop: a rollback asked it to: again"):
        operation.lease.assert_held()
    operation.lease.drop()


# --- the heartbeat


class Beats:
    """The writes of other threads than the test's: each is told when it begins, and waits for its leave."""

    def __init__(self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.leave = threading.Event(), threading.Event()
        self.order: list[str] = []
        self.within: Callable[[], None] = lambda: None
        self._put, self._test = aws.s3.put_object, threading.current_thread()
        monkeypatch.setattr(aws.s3, "put_object", self.put_object)

    def put_object(self, **arguments: Any) -> Any:
        """Write, as S3 does."""
        if threading.current_thread() is not self._test:
            self.begun.set()
            self.leave.wait(5)
            self.within()
            answer = self._put(**arguments)
            self.order.append("beat")
            return answer
        self.order.append("run")
        return self._put(**arguments)


@pytest.fixture
def beating(aws: FakeAws, no_waiting: None, no_run_log: None) -> Iterator[Operation]:
    """An operation that holds the environment and whose heart beats without a pause."""
    made = operation_of(aws, settings_with(heartbeat="0.01"), owner())
    yield made
    made.lease.stop_heartbeat()


def test_the_heart_prolongs_the_lease_while_the_work_goes_on(
    beating: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_at_once(beating)
    before = store_of(aws.s3).environment().lease
    beats = Beats(aws, monkeypatch)
    beats.leave.set()
    assert beats.begun.wait(5)
    beating.lease.stop_heartbeat()
    after = store_of(aws.s3).environment().lease
    assert before is not None
    assert after is not None
    assert after.expires_at > before.expires_at


def test_a_beat_that_is_under_way_is_over_before_the_lease_is_given_back(
    beating: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_at_once(beating)
    beats = Beats(aws, monkeypatch)
    assert beats.begun.wait(5)
    threading.Timer(0.1, beats.leave.set).start()
    beating.lease.drop()
    assert beats.order[-2:] == ["beat", "run"]
    assert store_of(aws.s3).environment().lease is None
    assert not beating.lease.lost


@pytest.mark.parametrize("end", ["drop", "park", "stop_heartbeat"])
def test_the_heart_beats_no_more_once_the_lease_is_given_back_or_parked(
    beating: Operation, aws: FakeAws, end: str
) -> None:
    take_at_once(beating)
    beating.lease.park(now() + timedelta(hours=1)) if end == "park" else getattr(beating.lease, end)()
    written = aws.s3.written
    threading.Event().wait(0.05)
    assert aws.s3.written == written


def test_the_heart_s_own_thread_may_end_it(beating: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def end_from_within() -> None:
        beating.lease.stop_heartbeat()
        ended.append("without an error")

    take_at_once(beating)
    beats = Beats(aws, monkeypatch)
    beats.within = end_from_within
    beats.leave.set()
    assert beats.begun.wait(5)
    beating.lease.stop_heartbeat()
    assert ended == ["without an error"]


def test_a_heart_that_never_began_to_beat_can_be_ended(aws: FakeAws) -> None:
    operation_of(aws, settings_with(), owner()).lease.stop_heartbeat()
    assert aws.s3.calls == []


def test_a_beat_that_fails_is_followed_by_the_next(beating: Operation, aws: FakeAws) -> None:
    take_at_once(beating)
    aws.s3.broken = {"put_object": lost, "get_object": lost}
    tried = aws.s3.count("put_object")
    _until(lambda: aws.s3.count("put_object") > tried + 20)  # more than one beat tries for
    aws.s3.broken = {}
    written = aws.s3.written
    _until(lambda: aws.s3.written > written)
    assert not beating.lease.lost
    beating.lease.check()


def test_a_beat_that_finds_the_environment_taken_over_ends_the_work(beating: Operation, aws: FakeAws) -> None:
    take_at_once(beating)
    assert not beating.lease.lost
    taken_over(aws)
    _until(lambda: beating.lease.lost)
    with pytest.raises(Refused, match=r"The lease on test was lost: .*no longer ours"):
        beating.lease.check()
    written = aws.s3.written
    threading.Event().wait(0.05)
    assert aws.s3.written == written, "nothing of it is written any more"


def test_a_beat_hears_a_wish_to_stop(beating: Operation, aws: FakeAws) -> None:
    take_at_once(beating)
    store_of(aws.s3).change_environment(lambda r: ask_to_stop(r, "a rollback", "it said so", now()))
    _until(lambda: beating.lease.asked_to_stop)


def _until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, for five seconds at most."""
    pause = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail("it did not come to that")


# --- taking


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("even_frozen", [True, False])
def test_a_frozen_environment_is_taken_only_by_who_asks_for_that(
    operation: Operation, aws: FakeAws, frozen: bool, even_frozen: bool
) -> None:
    operation.lease.drop()
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"frozen": FROZEN if frozen else None}))
    other = operation_of(aws, settings_with(), owner("run-2", pid=9))
    if frozen and not even_frozen:
        with pytest.raises(Refused, match="test is frozen"):
            take_at_once(other, even_frozen=even_frozen)
        assert not other.lease.held
        return
    assert take_at_once(other, even_frozen=even_frozen).lease == store_of(aws.s3).environment().lease
    assert other.lease.held
    other.lease.drop()
    assert not other.lease.held


def test_who_holds_the_environment_is_named_with_version_and_stage(operation: Operation, aws: FakeAws) -> None:
    store_of(aws.s3).change_environment(
        lambda r: r.model_copy(
            update={"lease": r.lease.model_copy(update={"version": "v1.1.0", "step": "apply"}) if r.lease else None}
        )
    )
    with pytest.raises(Refused, match=r"test is held by release v1\.1\.0: it is at apply"):
        take_at_once(operation_of(aws, settings_with(), owner("run-2", pid=9)))


def test_one_s_own_lease_is_taken_anew_with_the_next_fence(operation: Operation, aws: FakeAws) -> None:
    before = operation.lease.fencing_token
    take_at_once(operation)
    assert operation.lease.fencing_token == before + 1


def dead_hold(aws: FakeAws, **facts: Any) -> LeaseRecord:
    """Somebody else's hold that expired."""
    lease = lease_of(owner("dead", pid=9), fencing_token=5, left=-60, **facts)
    store_of(aws.s3).change_environment(lambda r: r.model_copy(update={"lease": lease, "fencing_token": 5}))
    return lease


def test_what_a_dead_holder_was_about_stays_in_the_lease_until_it_is_done(operation: Operation, aws: FakeAws) -> None:
    operation.lease.stop_heartbeat()
    dead = dead_hold(aws)
    other = operation_of(aws, settings_with(), owner("run-2", flow="provision", pid=7))
    assert take_from_the_dead(other) == dead
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert (lease.owner, lease.version, lease.takes_over) == (other.owner, "v1.1.0", dead)
    other.lease.clear_takeover()
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert (lease.owner, lease.takes_over) == (other.owner, None)
    assert other.record.lease == lease
    other.lease.drop()


def test_what_a_dead_holder_settled_for_another_is_still_that_other_s(operation: Operation, aws: FakeAws) -> None:
    operation.lease.stop_heartbeat()
    first = lease_of(owner("first", pid=8), fencing_token=4, version="v1.0.9")
    dead_hold(aws, takes_over=first)
    other = operation_of(aws, settings_with(), owner("run-2", flow="provision", pid=7))
    assert take_from_the_dead(other) == first
    assert other.record.lease is not None
    assert other.record.lease.version == "v1.0.9"
    other.lease.drop()


def test_from_the_living_nothing_is_taken(operation: Operation, aws: FakeAws) -> None:
    with pytest.raises(Refused, match="test is held by release"):
        take_from_the_dead(operation_of(aws, settings_with(), owner("run-2", flow="provision", pid=7)))


@pytest.mark.parametrize("held", [True, False])
def test_where_nobody_died_there_is_nothing_left_to_do(operation: Operation, held: bool) -> None:
    if not held:
        operation.lease.drop()
    left = take_from_the_dead(operation)
    assert (left is None) is (not held)
    operation.lease.drop()


def test_what_another_holds_is_not_called_done(operation: Operation, aws: FakeAws) -> None:
    operation.lease.stop_heartbeat()
    takes_over = lease_of(owner("first", pid=8), fencing_token=4)
    dead_hold(aws, takes_over=takes_over)
    operation.lease.clear_takeover()
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert lease.takes_over == takes_over


def test_where_nobody_holds_nothing_is_called_done(operation: Operation) -> None:
    operation.lease.drop()
    operation.lease.clear_takeover()
    assert operation.record.lease is None


@pytest.mark.parametrize(("dead", "verdict"), [(True, LeaseVerdict.ABANDONED), (False, LeaseVerdict.HELD)])
def test_a_holder_whose_process_is_gone_from_this_machine_has_abandoned_the_environment(
    operation: Operation, aws: FakeAws, dead: bool, verdict: LeaseVerdict
) -> None:
    here = owner_of("release", "gone", "gone-1")
    holder = here.model_copy(update={"process_started": "0"}) if dead else here
    record = store_of(aws.s3).environment().model_copy(update={"lease": lease_of(holder, left=10**9)})
    assert operation.lease.judge(record) is verdict
    assert operation.lease.judge(record.model_copy(update={"lease": None})) is LeaseVerdict.FREE


def test_a_parked_lease_waits_for_its_deadline_without_a_holder(operation: Operation, aws: FakeAws) -> None:
    until = now() + timedelta(hours=1)
    operation.lease.park(until)
    lease = store_of(aws.s3).environment().lease
    assert lease is not None
    assert (lease.parked_until, lease.step) == (until, "approve")
    assert not operation.lease.held


def test_a_beat_that_is_under_way_is_over_before_the_process_goes(
    beating: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_at_once(beating)
    beats = Beats(aws, monkeypatch)
    assert beats.begun.wait(5)
    threading.Timer(0.1, beats.leave.set).start()
    beating.lease.stop_heartbeat()
    assert beats.order == ["beat"]


def test_who_holds_the_environment_without_a_version_is_named_by_its_flow(beating: Operation, aws: FakeAws) -> None:
    take_at_once(beating)
    with pytest.raises(Refused, match="test is held by release: it is at starting"):
        take_at_once(operation_of(aws, settings_with(), owner("run-2", pid=9)))


def test_who_has_done_nothing_yet_has_lost_nothing_and_is_starting(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    fresh = operation_of(aws, settings_with(), owner("run-2", pid=9))
    assert (fresh.lease.lost, fresh.lease.asked_to_stop, fresh.lease.held) == (False, False, False)
    fresh.lease.check()
    take_at_once(fresh)
    lease = fresh.lease.assert_held().lease
    fresh.lease.drop()
    assert lease is not None
    assert (lease.step, lease.fencing_token) == ("starting", fresh.lease.fencing_token)


def test_a_lease_that_is_taken_anew_has_one_heart(beating: Operation) -> None:
    take_at_once(beating)
    take_at_once(beating)
    assert len([thread for thread in threading.enumerate() if thread.name == "heartbeat"]) == 1
    beating.lease.check()


@pytest.mark.parametrize(
    ("named", "path", "definition"),
    [
        pytest.param("v1.0.0", "/version", "", id="it names itself"),
        pytest.param("v1.0.0", "", "shop-test-blue:1", id="its service's definition names it"),
        pytest.param("v0.9.0", "", None, id="its service's definition names another"),
    ],
)
def test_a_release_whose_definition_the_record_does_not_know(
    operation: Operation, aws: FakeAws, named: str, path: str, definition: str | None
) -> None:
    aws.ecs.definitions["shop-test-blue:1"] = definition_of(release(named))
    of = release("v1.0.0", version_path=path)
    if definition is None:
        with pytest.raises(Permanent, match=r"does not run v1\.0\.0"):
            operation.deployed_as(of, Colour.BLUE, None)
    else:
        assert operation.deployed_as(of, Colour.BLUE, None).definition == definition
    assert operation.deployed_as(of, Colour.BLUE, "shop-test-blue:7").definition == "shop-test-blue:7"
