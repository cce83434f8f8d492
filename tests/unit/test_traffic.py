"""What the record says once traffic has moved, wherever the run that moved it died."""

from __future__ import annotations

from typing import Any

import pytest

from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent
from core.history import State
from core.record import RollbackIntent
from lifecycle.abort import abort_attempt
from lifecycle.acquire import take_at_once
from operation.lease import now
from operation.operation import Operation
from systems.probes import Prober, Sighting
from systems.recognition import Recognition
from tasks.traffic import finish_release, finish_rollback, return_traffic, shift_traffic
from tests.unit.facts import NOON, attempt, environment, live, settings_with, slot_of
from tests.unit.fakes import FakeAws, operation_of, store_of

OLD, NEW = live("v1.0.0"), live("v1.1.0", Colour.GREEN)
WRITES = 5  # a look at the hold, who is live, two histories, and that all is done


class DiedError(BaseException):
    """A process that is gone."""


@pytest.fixture
def moved(operation: Operation) -> RollbackIntent:
    """Traffic is back on v1.0.0, left once and now named; nothing of that is on record yet but the intent."""
    intent = RollbackIntent(target=OLD, leaving=NEW, flow_run_id="run-1", at=NOON, named=True)
    facts = environment(live=NEW, healthy=(OLD,), rolled_back=(OLD.release.revision,), rollback=intent)
    operation.records.change_environment(
        lambda r: facts.model_copy(update={"lease": r.lease, "fencing_token": r.fencing_token, "nonce": r.nonce})
    )
    for release, state in ((OLD.release, State.ROLLED_BACK), (NEW.release, State.HEALTHY)):
        tried = (attempt(state, run=f"of-{release.version}", release=release),)
        operation.records.change_version(
            release.version, release.commit, lambda r, tried=tried: r.model_copy(update={"attempts": tried})
        )
    operation.journal.begin_rollback(OLD.release, OLD.colour)
    return intent


def assert_back(operation: Operation) -> None:
    record = operation.records.environment()
    assert record.live is not None
    assert record.live.release == OLD.release
    assert record.rolled_back == (NEW.release.revision,)
    assert record.rollback is None
    for version, state in (("v1.0.0", State.HEALTHY), ("v1.1.0", State.ROLLED_BACK)):
        history = operation.records.version(version)
        assert history is not None
        assert history.state is state


@pytest.mark.parametrize("writes", range(WRITES))
def test_a_rollback_that_died_while_it_was_recorded_is_recorded_by_the_next(
    operation: Operation, aws: FakeAws, moved: RollbackIntent, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [writes]
    put = aws.s3.put_object

    def put_until_dead(**arguments: Any) -> Any:
        if not left[0]:
            raise DiedError
        left[0] -= 1
        return put(**arguments)

    monkeypatch.setattr(aws.s3, "put_object", put_until_dead)
    with pytest.raises(DiedError):
        finish_rollback(operation, moved)
    monkeypatch.undo()
    assert operation.records.environment().rollback == moved
    finish_rollback(operation, moved)
    assert_back(operation)


def test_a_rollback_recorded_twice_is_recorded_once(operation: Operation, moved: RollbackIntent) -> None:
    finish_rollback(operation, moved)
    finish_rollback(operation, moved)
    assert_back(operation)


def test_a_rollback_whose_histories_cannot_be_written_keeps_its_traffic_and_is_completed_later(
    operation: Operation, aws: FakeAws, moved: RollbackIntent, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.elbv2.weights = Weights.all_on(OLD.colour)

    def refuse(*_: object) -> None:
        raise Permanent("S3 refuses the history")

    with monkeypatch.context() as patched:
        patched.setattr(operation.records, "change_version", refuse)
        with pytest.raises(Permanent, match="S3 refuses"):
            finish_rollback(operation, moved)
    lease = operation.record.lease
    assert lease is not None
    aborted = abort_attempt(operation, Ending(State.FAILED, "record", "said"), lease)
    assert not aborted.complete, "whoever finds it goes on"
    assert aws.elbv2.weights == Weights.all_on(OLD.colour)
    assert operation.records.environment().rollback == moved


# --- a rollback's histories


@pytest.mark.parametrize(
    ("rule", "tries", "after"),
    [
        ("its last healthy attempt", [("a", State.HEALTHY), ("b", State.HEALTHY)], [State.HEALTHY, State.ROLLED_BACK]),
        ("a failed one since is none", [("a", State.HEALTHY), ("b", State.FAILED)], [State.ROLLED_BACK, State.FAILED]),
        ("it stands already", [("a", State.ROLLED_BACK)], [State.ROLLED_BACK]),
        ("none was ever healthy", [("a", State.FAILED)], [State.FAILED]),
    ],
)
def test_what_was_left_says_so_in_its_last_attempt_that_was_healthy(
    operation: Operation, moved: RollbackIntent, rule: str, tries: list[tuple[str, State]], after: list[State]
) -> None:
    tried = tuple(attempt(state, run=run, release=NEW.release) for run, state in tries)
    operation.records.change_version("v1.1.0", "", lambda r: r.model_copy(update={"attempts": tried}))
    finish_rollback(operation, moved)
    history = operation.records.version("v1.1.0")
    assert history is not None
    assert [a.state for a in history.attempts] == after, rule


def test_an_attempt_at_another_revision_of_what_was_left_says_nothing(
    operation: Operation, moved: RollbackIntent
) -> None:
    other = live("v1.1.0", Colour.GREEN, variables={"LOG": "other"}).release
    tried = (
        attempt(State.HEALTHY, run="a", release=NEW.release),
        attempt(State.HEALTHY, run="b", release=other),
        attempt(State.HEALTHY, run="c"),
    )
    operation.records.change_version("v1.1.0", "", lambda r: r.model_copy(update={"attempts": tried}))
    finish_rollback(operation, moved)
    history = operation.records.version("v1.1.0")
    assert history is not None
    assert [a.state for a in history.attempts] == [State.ROLLED_BACK, State.HEALTHY, State.HEALTHY]


def test_the_target_of_a_rollback_is_live_where_it_was_started_with_what_its_apply_put_out(
    operation: Operation, moved: RollbackIntent
) -> None:
    began = now()
    operation.journal.change(lambda a: a.started_as(slot_of("shop-test-blue:9")))
    finish_rollback(operation, moved)
    record = operation.records.environment().live
    assert record is not None
    assert (record.colour, record.slot) == (OLD.colour, slot_of("shop-test-blue:9"))
    assert record.since >= began
    assert operation.record.rollback is None
    assert operation.journal.steps[-1].detail == f"{OLD.release} is live in blue; v1.1.0 was rolled back"


@pytest.mark.parametrize(("named", "left"), [(True, ()), (False, (OLD.release.revision,))])
def test_a_step_forward_leaves_what_was_live_a_target_only_where_a_human_named_it(
    operation: Operation, moved: RollbackIntent, named: bool, left: tuple[str, ...]
) -> None:
    forward = moved.model_copy(update={"target": NEW, "leaving": OLD, "named": named})
    operation.records.change_environment(
        lambda r: r.model_copy(update={"live": OLD, "healthy": (NEW,), "rolled_back": (), "rollback": forward})
    )
    operation.journal.begin_rollback(NEW.release, NEW.colour)
    finish_rollback(operation, forward)
    assert operation.records.environment().rolled_back == left


# --- a release's traffic


@pytest.fixture
def verified(operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A release of v1.1.0 that was verified in green; returns what is asked of its test listener."""
    for state in (State.PLANNED, State.APPLIED, State.MIGRATED, State.RUNNING, State.VERIFIED):
        operation.journal.advance(state)
    operation.journal.change(
        lambda a: a.started_as(slot_of("shop-test-green:1", "shop-test-green")).migrated(None, None, ("1_a",))
    )
    aws.ecs.desired["shop-test-green"] = 1
    asked: list[tuple[Any, ...]] = []

    def probe(_: Prober, recognition: Recognition, *, patience: float) -> Sighting:
        endpoint, version = recognition.endpoint, recognition.deployed.release.version
        asked.append((endpoint.host, endpoint.port, version, patience, aws.elbv2.weights))
        return Sighting(1, "seen")

    monkeypatch.setattr(Prober, "see_release", probe)
    return asked


def test_all_traffic_goes_to_a_candidate_that_answers_as_the_release_on_its_own_listener(
    operation: Operation, aws: FakeAws, verified: list[tuple[Any, ...]]
) -> None:
    shift_traffic(operation)
    blue, green = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN)
    assert verified == [("shop-test.example.com", 8082, "v1.1.0", 0.05, blue)]
    assert aws.elbv2.history == [green]
    assert operation.journal.attempt.state is State.BAKING
    step = operation.journal.steps[-1]
    assert (step.name, step.outcome, step.detail) == (
        "shift",
        "done",
        "the production listener has blue 0, green 100",
    )


def test_the_record_says_that_a_release_shifts_before_the_listener_does(
    operation: Operation, aws: FakeAws, verified: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[State | None] = []
    write = aws.elbv2.modify_listener

    def look(**arguments: Any) -> Any:
        history = store_of(aws.s3).version("v1.1.0")
        seen.append(history.state if history else None)
        return write(**arguments)

    monkeypatch.setattr(aws.elbv2, "modify_listener", look)
    shift_traffic(operation)
    assert seen == [State.SHIFTING]


@pytest.mark.parametrize(("wanted", "healthy", "shifts"), [(2, 2, True), (2, 1, False), (1, 0, False), (1, 2, True)])
def test_a_candidate_with_too_few_healthy_targets_gets_no_traffic(
    operation: Operation, aws: FakeAws, verified: list[tuple[Any, ...]], wanted: int, healthy: int, shifts: bool
) -> None:
    aws.elbv2.healthy = {Colour.BLUE: 9, Colour.GREEN: healthy}
    operation.lease.drop()
    run = operation_of(aws, settings_with(desired_count=str(wanted)), operation.owner)
    take_at_once(run)
    run.journal.begin_attempt("v1.1.0", "", Colour.GREEN)
    if shifts:
        shift_traffic(run)
        assert aws.elbv2.history == [Weights.all_on(Colour.GREEN)]
    else:
        with pytest.raises(Permanent, match=r"v1\.1\.0 has too few healthy targets") as error:
            shift_traffic(run)
        assert error.value.why == f"{f'{healthy} healthy' if healthy else 'no targets'}; wanted {wanted}"
        assert error.value.do
        assert aws.elbv2.history == []
        assert verified == [], "it is not even asked"
        assert run.journal.attempt.state is State.VERIFIED
    run.lease.stop_heartbeat()


def test_a_candidate_that_does_not_answer_as_the_release_gets_no_traffic(
    operation: Operation, aws: FakeAws, verified: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubt(*_: Any, **__: Any) -> int:
        raise Permanent("it does not answer")

    monkeypatch.setattr(Prober, "see_release", doubt)
    with pytest.raises(Permanent, match="it does not answer"):
        shift_traffic(operation)
    assert aws.elbv2.history == []
    assert operation.journal.attempt.state is State.VERIFIED


@pytest.mark.parametrize("first", [True, False])
def test_a_release_is_live_with_what_its_apply_and_its_database_said(
    operation: Operation, aws: FakeAws, verified: list[tuple[Any, ...]], first: bool
) -> None:
    if first:
        operation.records.change_environment(lambda r: r.model_copy(update={"live": None}))
    shift_traffic(operation)
    began = now()
    finish_release(operation)
    record, history = store_of(aws.s3).environment(), store_of(aws.s3).version("v1.1.0")
    assert record.live is not None
    assert history is not None
    assert record.live.model_dump(exclude={"since"}) == {
        **live("v1.1.0", Colour.GREEN, migrations=("1_a",)).model_dump(exclude={"since", "slot"}),
        "slot": slot_of("shop-test-green:1", "shop-test-green").model_dump(),
    }
    assert record.live.since >= began
    assert [h.release.version for h in record.healthy] == ([] if first else ["v1.0.0"])
    ended = history.attempts[-1]
    assert ended.state is State.HEALTHY
    assert ended.ended_at is not None
    assert ended.ended_at >= began
    warm = "" if first else "; v1.0.0 stays warm in blue"
    assert ended.steps[-1].detail == f"{operation.release} is live in green{warm}"
    assert operation.record.live == record.live


def test_traffic_returns_to_what_a_rollback_took_up(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    operation.records.change_environment(lambda r: r.carrying(aws.elbv2.weights))
    operation.journal.begin_rollback(OLD.release, OLD.colour)
    return_traffic(operation)
    assert aws.elbv2.history == [Weights.all_on(Colour.BLUE)]
    step = operation.journal.steps[-1]
    assert (step.name, step.intent, step.detail) == (
        "return",
        f"give all traffic to {OLD.release} in the blue slot",
        "the production listener has blue 100, green 0",
    )
