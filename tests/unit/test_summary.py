"""Observers are told how an attempt ended, by whoever ends it, and decide nothing."""

from __future__ import annotations

import pytest

from core.ending import Ending
from core.errors import Permanent
from core.history import State
from lifecycle.abort import abort_attempt
from operation.journal import EndedAttempt, Journal
from operation.operation import Operation
from tasks.summary import describe_attempt


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.ended: list[EndedAttempt] = []

    def attempt_ended(self, ended: EndedAttempt) -> None:
        self.ended.append(ended)


class Broken:
    """An observer whose own system is down."""

    def attempt_ended(self, ended: EndedAttempt) -> None:
        raise ConnectionError(f"nobody to tell of {ended.version}")


def journal_with(operation: Operation, *observers: object) -> Journal:
    journal = Journal(operation.owner, operation.records, operation.lease, observers)  # type: ignore[arg-type]
    attempt = operation.journal.attempt
    journal.take_up("v1.1.0", attempt.release.commit if attempt.release else "", attempt)
    return journal


def test_every_observer_hears_of_an_end_though_one_of_them_is_broken(operation: Operation) -> None:
    heard = Heard()
    journal_with(operation, Broken(), heard).tell_ended()
    assert [(ended.environment, ended.version) for ended in heard.ended] == [("test", "v1.1.0")]


def test_a_failed_attempt_is_told_with_its_steps_and_its_reason(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setattr(operation.journal, "_observers", (heard,))
    lease = operation.record.lease
    assert lease is not None
    abort_attempt(operation, Ending(State.FAILED, "smoke", "v1.1.0 failed its smoke test"), lease)
    (ended,) = heard.ended
    assert ended.attempt.state is State.FAILED
    text = describe_attempt(ended)
    assert "| failed at | smoke |" in text
    assert "v1.1.0 failed its smoke test" in text
    assert "| traffic back |" in text


def test_what_is_in_a_summary_of_a_release_that_went_live(operation: Operation) -> None:
    with operation.journal.step("plan", "plan it") as step:
        step.done("2 to add")
    attempt = operation.journal.attempt
    text = describe_attempt(EndedAttempt("test", "v1.1.0", "c0ffee", attempt, operation.journal.steps))
    assert text.startswith("# v1.1.0 → test\n")
    assert "| plan | done |" in text
    assert "2 to add" in text
    assert str(operation.release.revision) in text


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_summary_says_what_the_candidate_and_what_is_live_were_seen_by(operation: Operation, confirmed: bool) -> None:
    with operation.journal.step("smoke", "look") as step:
        step.done("2 healthy targets are tasks of shop:7")
    if confirmed:
        with operation.journal.step("confirm", "look again") as step:
            step.done("/version answered v1.1.0")
    else:
        with pytest.raises(Permanent), operation.journal.step("confirm", "look again"):
            raise Permanent("it is sick")
    steps = operation.journal.steps
    text = describe_attempt(EndedAttempt("test", "v1.1.0", "c0ffee", operation.journal.attempt, steps))
    assert "| the candidate was seen by | 2 healthy targets are tasks of shop:7 |" in text
    assert ("| live was seen by | /version answered v1.1.0 |" in text) is confirmed
    assert ("live was seen by" in text) is confirmed, "what failed proves nothing"
