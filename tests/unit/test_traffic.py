"""What the record says once traffic has moved, wherever the run that moved it died."""

from __future__ import annotations

from typing import Any

import pytest

from core.colour import Colour, Weights
from core.errors import Permanent
from core.history import State
from core.record import RollbackIntent
from lifecycle.abort import Ending, abort_attempt
from operation.operation import Operation
from tasks.traffic import finish_rollback
from tests.unit.facts import NOON, attempt, environment, live
from tests.unit.fakes import FakeAws

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
        finish_rollback.fn(operation, moved)
    monkeypatch.undo()
    assert operation.records.environment().rollback == moved
    finish_rollback.fn(operation, moved)
    assert_back(operation)


def test_a_rollback_recorded_twice_is_recorded_once(operation: Operation, moved: RollbackIntent) -> None:
    finish_rollback.fn(operation, moved)
    finish_rollback.fn(operation, moved)
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
            finish_rollback.fn(operation, moved)
    lease = operation.record.lease
    assert lease is not None
    settled = abort_attempt(operation, Ending(State.FAILED, "record", "said"), lease)
    assert not settled.complete, "whoever finds it goes on"
    assert aws.elbv2.weights == Weights.all_on(OLD.colour)
    assert operation.records.environment().rollback == moved
