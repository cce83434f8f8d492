"""How a release enters: admitted by the record, in its turn, holding the environment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.history import State
from core.lease import take
from core.record import EnvironmentRecord, LeaseRecord, Owner, QueuedRelease
from core.version import Version
from lifecycle.release_request import enter
from lifecycle.run import Outcome
from operation.lease import now
from operation.operation import Operation
from tasks.checkout import Checkout
from tests.unit.facts import COMMIT, FROZEN, attempt, live, owner, settings_with
from tests.unit.fakes import FakeAws, before_the_next_write, lost, operation_of, store_of

BLUE, GREEN = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN)
OTHER = owner("run-9", pid=9)


@pytest.fixture
def run(operation: Operation, aws: FakeAws) -> Iterator[Operation]:
    """A run that wants to release v1.2.0; v1.0.0 is live in blue, and nobody holds the environment."""
    operation.lease.drop()
    made = operation_of(aws, settings_with("queue_poll = 0.001\n"), owner("run-2", pid=7))
    yield made
    made.lease.stop_heartbeat()


def asked(run: Operation, tag: str = "v1.2.0", *, allow_downgrade: bool = False) -> Outcome | None:
    return enter(run, Checkout(Version.parse(tag), COMMIT, Path(), ()), allow_downgrade=allow_downgrade).outcome


def record_of(aws: FakeAws) -> EnvironmentRecord:
    return store_of(aws.s3).environment()


def change(aws: FakeAws, changed: Callable[[EnvironmentRecord], EnvironmentRecord]) -> None:
    store_of(aws.s3).change_environment(changed)


def held_by(aws: FakeAws, whose: Owner = OTHER, version: str | None = "v1.1.0", **facts: Any) -> None:
    """Let somebody hold the environment, who lives."""

    def taken(record: EnvironmentRecord) -> EnvironmentRecord:
        held = take(record, whose, now(), expiry=7200, version=version)
        return held.model_copy(update={"lease": held.lease and held.lease.model_copy(update=facts)})

    change(aws, taken)


def freed(aws: FakeAws) -> None:
    change(aws, lambda r: r.model_copy(update={"lease": None}))


class Polls:
    """What happens while a run waits: one thing a poll, and the queue as it was then."""

    def __init__(self, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
        self.coming: list[Callable[[], object]] = []
        self.queues: list[tuple[QueuedRelease, ...]] = []
        self.slept: list[float] = []
        self._aws = aws
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.queues.append(record_of(self._aws).queue)
        if not self.coming:
            pytest.fail("it waits for nothing")
        self.coming.pop(0)()


@pytest.fixture
def polls(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, run: Operation) -> Polls:
    return Polls(aws, monkeypatch)


def nothing() -> None:
    """Nothing happens."""


def waiting(version: str, flow_run: str, *, queued: datetime | None = None, seen: float = 0) -> QueuedRelease:
    at = now()
    return QueuedRelease(
        version=version, flow_run_id=flow_run, queued_at=queued or at, seen_at=at - timedelta(seconds=seen)
    )


# --- nobody is in the way


def test_a_release_takes_the_environment_and_begins_its_attempt(run: Operation, aws: FakeAws) -> None:
    assert asked(run) is None
    record, history = record_of(aws), store_of(aws.s3).version("v1.2.0")
    assert record.lease is not None
    assert history is not None
    begun = history.attempts[-1]
    assert (record.lease.owner, record.lease.version) == (run.owner, "v1.2.0")
    assert (begun.id, begun.state, begun.colour, history.commit) == (
        run.owner.attempt,
        State.BUILDING,
        Colour.GREEN,
        COMMIT,
    )
    assert run.lease.held


@pytest.mark.parametrize(
    ("rule", "facts", "candidate"),
    [
        ("blue is live", {"live": live("v1.0.0", Colour.BLUE), "weights": GREEN}, Colour.GREEN),
        ("green is live", {"live": live("v1.0.0", Colour.GREEN), "weights": BLUE}, Colour.BLUE),
        ("nothing is live, blue carries", {"live": None, "weights": BLUE}, Colour.GREEN),
        ("nothing is live, green carries", {"live": None, "weights": GREEN}, Colour.BLUE),
        ("nothing is live, nothing was written", {"live": None, "weights": None}, Colour.GREEN),
    ],
)
def test_a_release_may_touch_the_slot_that_carries_nothing(
    run: Operation, aws: FakeAws, rule: str, facts: dict[str, Any], candidate: Colour
) -> None:
    change(aws, lambda r: r.model_copy(update=facts))
    assert asked(run) is None
    assert run.candidate.colour is candidate, rule


@pytest.mark.parametrize(("facts", "before"), [({"live": None}, GREEN), ({}, None)])
def test_what_a_first_release_found_on_the_listener_is_written_down(
    run: Operation, aws: FakeAws, facts: dict[str, Any], before: Weights | None
) -> None:
    change(aws, lambda r: r.model_copy(update={"weights": GREEN, **facts}))
    asked(run)
    assert record_of(aws).weights_before == before


def test_a_release_takes_up_the_environment_that_its_own_run_parked(
    operation: Operation, aws: FakeAws, run: Operation
) -> None:
    held_by(aws, run.owner.model_copy(update={"pid": 1}), "v1.2.0", parked_until=now() + timedelta(hours=1))
    assert asked(run) is None
    lease = record_of(aws).lease
    assert lease is not None
    assert (lease.owner, lease.parked_until) == (run.owner, None)


def test_what_is_live_already_is_left_as_it_is(run: Operation, aws: FakeAws) -> None:
    before = record_of(aws)
    ended = asked(run, "v1.0.0")
    assert ended is not None
    assert ended.is_completed()
    assert ended.message == "v1.0.0 is already live in test; nothing was changed."
    assert record_of(aws) == before
    assert not run.lease.held


# --- somebody is in the way


def test_a_release_waits_in_the_queue_until_the_environment_is_free(run: Operation, aws: FakeAws, polls: Polls) -> None:
    began = now()
    held_by(aws)
    polls.coming = [nothing, nothing, lambda: freed(aws)]
    assert asked(run) is None
    ((first,), (second,), (third,)) = polls.queues
    assert (first.version, first.flow_run_id) == ("v1.2.0", "run-2")
    assert first.queued_at == second.queued_at == third.queued_at >= began
    assert first.seen_at == second.seen_at == third.seen_at, "each sight is a write, and none is due yet"
    assert polls.slept == [0.001] * 3
    assert record_of(aws).queue == ()
    lease = record_of(aws).lease
    assert lease is not None
    assert lease.owner == run.owner


def test_who_waits_is_seen_often_enough_not_to_count_as_gone(
    run: Operation, aws: FakeAws, polls: Polls, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, looks = now(), itertools.count()
    a_third = timedelta(seconds=run.settings.timing.lease_expiry / 3)
    monkeypatch.setattr("lifecycle.release_request.now", lambda: began + next(looks) * a_third / 4)
    held_by(aws)
    polls.coming = [nothing, nothing, nothing, lambda: freed(aws)]
    assert asked(run) is None
    seen = [q.seen_at for (q,) in polls.queues]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def test_waiters_that_were_not_seen_for_as_long_as_a_lease_lasts_drop_out_of_the_queue(
    run: Operation, aws: FakeAws, polls: Polls
) -> None:
    held_by(aws)
    gone, there = waiting("v1.1.5", "gone", seen=7_300), waiting("v1.1.6", "there", seen=7_100)
    change(aws, lambda r: r.model_copy(update={"queue": (gone, there)}))
    polls.coming = [lambda: freed(aws)]
    asked(run)
    assert [w.flow_run_id for w in polls.queues[0]] == ["there", "run-2"]


@pytest.mark.parametrize(("silent", "superseded"), [(7_100, True), (7_300, False)])
def test_a_newer_waiter_supersedes_while_it_is_seen(
    run: Operation, aws: FakeAws, silent: float, superseded: bool
) -> None:
    change(aws, lambda r: r.model_copy(update={"queue": (waiting("v1.3.0", "newer", seen=silent),)}))
    ended = asked(run)
    assert (ended is not None) is superseded
    assert run.lease.held is not superseded


def test_a_release_that_a_newer_one_waits_behind_gives_way_and_its_history_says_so(
    run: Operation, aws: FakeAws, polls: Polls
) -> None:
    held_by(aws)
    newer = waiting("v1.3.0", "newer")
    polls.coming = [lambda: change(aws, lambda r: r.model_copy(update={"queue": (*r.queue, newer)}))]
    ended = asked(run)
    assert ended is not None
    assert (ended.is_cancelled(), ended.name) == (True, "Superseded")
    assert ended.message == "v1.2.0 → test was superseded by a newer version while it waited."
    history = store_of(aws.s3).version("v1.2.0")
    assert history is not None
    last = history.attempts[-1]
    assert last.failure is not None
    assert (last.state, last.failure.step, last.failure.reason) == (
        State.SUPERSEDED,
        "queue",
        "a newer version was waiting too",
    )
    assert record_of(aws).queue == (newer,)


@pytest.mark.parametrize(("queue", "waits"), [("newest", False), ("in-order", True)])
def test_an_older_release_that_came_first_goes_first_only_where_they_go_in_order(
    run: Operation, aws: FakeAws, queue: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = waiting("v1.1.0", "earlier", queued=now() - timedelta(seconds=5))
    change(aws, lambda r: r.model_copy(update={"queue": (earlier,)}))
    ordered = operation_of(aws, settings_with("queue_poll = 0.001\n").model_copy(update={"queue": queue}), run.owner)
    polls = Polls(aws, monkeypatch)
    polls.coming = [lambda: change(aws, lambda r: r.model_copy(update={"queue": r.queue[1:]}))]
    assert asked(ordered) is None
    ordered.lease.stop_heartbeat()
    assert len(polls.slept) == (1 if waits else 0)


def test_who_loses_the_race_for_a_free_environment_waits_for_the_winner(
    run: Operation, aws: FakeAws, polls: Polls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_next_write(monkeypatch, aws.s3, lambda: held_by(aws))
    polls.coming = [lambda: freed(aws)]
    monkeypatch.setattr("random.random", lambda: 0.0)
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds) if seconds else None)
    assert asked(run) is None
    lease = record_of(aws).lease
    assert lease is not None
    assert lease.owner == run.owner
    assert len(polls.queues) == 1


# --- the dead and the parked


def left_over(aws: FakeAws, version: str, *, parked: bool) -> LeaseRecord:
    """Another run's attempt: parked for approval, or left by a process that died."""
    store = store_of(aws.s3)
    store.change_version(
        version,
        COMMIT,
        lambda r: r.with_attempt(attempt(State.AWAITING_APPROVAL, "run-9", colour=Colour.GREEN)),
    )
    held_by(
        aws,
        version=version,
        step="approve",
        expires_at=now() - timedelta(seconds=1),
        parked_until=now() + timedelta(hours=1) if parked else None,
    )
    lease = store.environment().lease
    assert lease is not None
    return lease


def state_of(aws: FakeAws, version: str) -> State | None:
    history = store_of(aws.s3).version(version)
    return history.state if history else None


def test_what_a_dead_run_left_is_settled_before_a_release_begins(run: Operation, aws: FakeAws) -> None:
    left_over(aws, "v1.3.0", parked=False)
    assert asked(run) is None
    assert state_of(aws, "v1.3.0") is State.FAILED
    assert run.journal.attempt.state is State.BUILDING
    assert run.journal.version == "v1.2.0"


def test_an_older_release_that_waits_for_approval_is_superseded(run: Operation, aws: FakeAws) -> None:
    left_over(aws, "v1.1.5", parked=True)
    assert asked(run) is None
    assert state_of(aws, "v1.1.5") is State.SUPERSEDED
    history = store_of(aws.s3).version("v1.1.5")
    assert history is not None
    last = history.attempts[-1].failure
    assert last is not None
    assert last.reason == "v1.2.0 took its place while it waited for approval"
    assert run.journal.version == "v1.2.0"
    assert run.journal.subject == "v1.2.0"


@pytest.mark.parametrize("version", ["v1.2.0", "v1.3.0", None])
def test_what_is_not_older_is_not_superseded_while_it_waits_for_approval(
    run: Operation, aws: FakeAws, polls: Polls, version: str | None
) -> None:
    until = now() + timedelta(hours=1)
    held_by(aws, version=version, parked_until=until)
    held = record_of(aws).lease
    seen: list[LeaseRecord | None] = []

    def look() -> None:
        seen.append(record_of(aws).lease)
        freed(aws)

    polls.coming = [look]
    assert asked(run) is None
    assert seen == [held]


# --- no place for it


@pytest.mark.parametrize(
    ("tag", "allow_downgrade", "refusal"),
    [("v0.9.0", False, r"v0\.9\.0 is older than the live v1\.0\.0"), ("v0.9.0", True, "")],
)
def test_an_older_version_is_released_only_on_wish(
    run: Operation, tag: str, allow_downgrade: bool, refusal: str
) -> None:
    if not refusal:
        assert asked(run, tag, allow_downgrade=allow_downgrade) is None
        return
    with pytest.raises(Refused, match=refusal):
        asked(run, tag, allow_downgrade=allow_downgrade)
    assert not run.lease.held


def test_a_release_that_is_refused_while_it_waits_leaves_the_queue(run: Operation, aws: FakeAws, polls: Polls) -> None:
    held_by(aws)
    polls.coming = [lambda: change(aws, lambda r: r.model_copy(update={"frozen": FROZEN}))]
    with pytest.raises(Refused, match="test is frozen"):
        asked(run)
    assert [w.flow_run_id for w in polls.queues[0]] == ["run-2"]
    assert record_of(aws).queue == ()


def test_a_release_that_is_refused_in_the_moment_it_takes_the_environment_does_not_hold_it(
    run: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_next_write(monkeypatch, aws.s3, lambda: change(aws, lambda r: r.model_copy(update={"frozen": FROZEN})))
    with pytest.raises(Refused, match="test is frozen"):
        asked(run)
    assert record_of(aws).lease is None


def test_a_refusal_is_told_though_the_queue_cannot_be_left(run: Operation, aws: FakeAws, polls: Polls) -> None:
    held_by(aws)

    def freeze_and_break() -> None:
        change(aws, lambda r: r.model_copy(update={"frozen": FROZEN}))
        aws.s3.broken = {"put_object": lost}

    polls.coming = [freeze_and_break, *[nothing] * 20]
    with pytest.raises(Refused, match="test is frozen"):
        asked(run)


def test_an_environment_that_was_never_provisioned_takes_no_release(run: Operation, aws: FakeAws) -> None:
    change(aws, lambda r: r.model_copy(update={"infrastructure": None}))
    with pytest.raises(Refused, match="test has no infrastructure yet"):
        asked(run)


def test_a_secret_that_was_not_provisioned_refuses_the_release(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    run = operation_of(
        aws, settings_with('[service.secrets.KEY]\nsecret = "team/other"\nkey = "k"\n'), owner("run-2", pid=7)
    )
    with pytest.raises(Refused, match="not provisioned with the secrets team/other"):
        asked(run)


def test_the_live_version_with_another_configuration_is_a_release(operation: Operation, aws: FakeAws) -> None:
    operation.lease.drop()
    run = operation_of(aws, settings_with('[service.variables]\nLOG = "debug"\n'), owner("run-2", pid=7))
    assert asked(run, "v1.0.0") is None
    run.lease.stop_heartbeat()
    assert run.lease.held
