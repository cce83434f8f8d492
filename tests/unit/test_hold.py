"""Holding an environment: who may have it, and that an expired hold is a duty and no permission."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.errors import Refused
from core.hold import HoldVerdict, ask_to_stop, beat, enqueue, free, is_ours, judge_hold, leave_queue, park, take
from core.record import EnvironmentRecord, Hold, Owner, StopRequest
from tests.unit.facts import NOON, environment, hold_of, owner, waiter

ME, NEXT_PROCESS, OTHER = owner("run-1", pid=1), owner("run-1", attempt="run-1-2", pid=2), owner("run-2", pid=3)
HOUR = NOON + timedelta(hours=1)


def at(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("rule", "hold", "after", "dead", "verdict"),
    [
        ("nobody holds it", None, 0, False, HoldVerdict.FREE),
        ("this process holds it", hold_of(ME), 0, False, HoldVerdict.OURS),
        ("another works", hold_of(OTHER), 0, False, HoldVerdict.HELD),
        ("another's last second", hold_of(OTHER), 59, False, HoldVerdict.HELD),
        ("its heartbeat stopped", hold_of(OTHER), 60, False, HoldVerdict.ABANDONED),
        ("its process is dead", hold_of(OTHER), 0, True, HoldVerdict.ABANDONED),
        ("another waits for approval", hold_of(OTHER, parked_until=HOUR), 120, False, HoldVerdict.PARKED),
        ("a parked run has no process", hold_of(OTHER, parked_until=HOUR), 120, True, HoldVerdict.PARKED),
        ("its approval's deadline passed", hold_of(OTHER, parked_until=HOUR), 3_600, False, HoldVerdict.ABANDONED),
        ("our run parked it", hold_of(NEXT_PROCESS, parked_until=HOUR), 120, False, HoldVerdict.RESUMED),
        ("our run parked it too long", hold_of(NEXT_PROCESS, parked_until=HOUR), 3_600, False, HoldVerdict.ABANDONED),
        ("our run's other process works", hold_of(NEXT_PROCESS), 0, False, HoldVerdict.HELD),
        ("our run's other process is dead", hold_of(NEXT_PROCESS), 0, True, HoldVerdict.ABANDONED),
        ("our run's other process is silent", hold_of(NEXT_PROCESS), 60, False, HoldVerdict.ABANDONED),
    ],
)
def test_what_a_hold_means_for_who_wants_it(
    rule: str, hold: Hold | None, after: float, dead: bool, verdict: HoldVerdict
) -> None:
    assert judge_hold(environment(hold=hold, fence=1), ME, NOON + at(after), owner_dead=dead) is verdict, rule


def test_taking_raises_the_fence_and_leaves_the_queue() -> None:
    record = environment(fence=4, queue=(waiter("v1.1.0", "run-1"), waiter("v1.2.0", "run-2")))
    taken = take(record, ME, NOON, expiry=60, version="v1.1.0")
    assert taken.hold is not None
    assert (taken.fence, taken.hold.fence) == (5, 5)
    assert (taken.hold.owner, taken.hold.version, taken.hold.expires_at) == (ME, "v1.1.0", NOON + at(60))
    assert [w.flow_run_id for w in taken.queue] == ["run-2"]


def test_taking_anew_is_another_hold_without_the_wishes_to_the_old_one() -> None:
    stop = StopRequest(by="x", at=NOON, reason="y")
    record = environment(hold=hold_of(OTHER, fence=4, stop=stop, parked_until=HOUR), fence=4)
    taken = take(record, ME, NOON, expiry=60, version=None)
    assert taken.hold is not None
    assert (taken.hold.stop, taken.hold.parked_until, taken.fence) == (None, None, 5)


HELD = environment(hold=hold_of(ME, fence=4), fence=4)


def test_a_beat_prolongs_the_hold_and_says_the_stage() -> None:
    hold = beat(HELD, ME, 4, NOON + at(30), expiry=60, stage="apply").hold
    assert hold is not None
    assert (hold.heartbeat_at, hold.expires_at, hold.stage) == (NOON + at(30), NOON + at(90), "apply")


def test_a_beat_keeps_the_wish_to_stop() -> None:
    asked = ask_to_stop(HELD, "run-2", "a rollback", NOON)
    hold = beat(asked, ME, 4, NOON, expiry=60).hold
    assert hold is not None
    assert hold.stop == StopRequest(by="run-2", at=NOON, reason="a rollback")


def test_parking_keeps_the_hold_until_the_approval_s_deadline() -> None:
    hold = park(HELD, ME, 4, HOUR).hold
    assert hold is not None
    assert (hold.owner, hold.fence, hold.parked_until) == (ME, 4, HOUR)


def _beat(record: EnvironmentRecord, whose: Owner, fence: int) -> EnvironmentRecord:
    return beat(record, whose, fence, NOON, expiry=60)


def _park(record: EnvironmentRecord, whose: Owner, fence: int) -> EnvironmentRecord:
    return park(record, whose, fence, HOUR)


@pytest.mark.parametrize("act", [_beat, _park])
@pytest.mark.parametrize(
    ("why", "record", "fence"),
    [
        ("another took it", environment(hold=hold_of(OTHER, fence=5), fence=5), 4),
        ("another took it and gave it back", environment(fence=5), 4),
        ("our own run's next process took it", environment(hold=hold_of(NEXT_PROCESS, fence=5), fence=5), 4),
        ("taken away and taken again", environment(hold=hold_of(ME, fence=6), fence=6), 4),
        ("a fence that never was", HELD, 5),
    ],
)
def test_who_lost_the_hold_can_neither_prolong_nor_park_it(
    why: str,
    record: EnvironmentRecord,
    fence: int,
    act: Callable[[EnvironmentRecord, Owner, int], EnvironmentRecord],
) -> None:
    assert not is_ours(record, ME, fence), why
    with pytest.raises(Refused, match="no longer ours") as refusal:
        act(record, ME, fence)
    assert refusal.value.do.startswith("Nothing more is written by this run")


@pytest.mark.parametrize(
    ("record", "freed"),
    [
        (HELD, True),
        (environment(hold=hold_of(OTHER, fence=5), fence=5), False),
        (environment(hold=hold_of(ME, fence=6), fence=6), False),
    ],
)
def test_only_one_s_own_hold_is_given_back(record: EnvironmentRecord, freed: bool) -> None:
    after = free(record, ME, 4)
    assert (after.hold is None) is freed
    assert after.fence == record.fence


def test_the_first_wish_to_stop_stands() -> None:
    twice = ask_to_stop(ask_to_stop(HELD, "a", "first", NOON), "b", "second", NOON + at(1))
    assert twice.hold is not None
    assert twice.hold.stop == StopRequest(by="a", at=NOON, reason="first")


def test_nobody_is_asked_to_stop_where_nobody_holds() -> None:
    assert ask_to_stop(environment(), "a", "b", NOON) == environment()


@pytest.mark.parametrize(
    ("rule", "queue", "comes", "order"),
    [
        ("joins at its time", [("a", 0, 50), ("c", 20, 50)], ("b", 10, 60), ["a", "b", "c"]),
        ("keeps its first time", [("a", 0, 50), ("b", 10, 50)], ("a", 30, 60), ["a", "b"]),
        ("the silent drop out", [("a", 0, 9), ("c", 20, 10)], ("b", 10, 60), ["b", "c"]),
        ("it has not been silent itself", [("b", 0, 1)], ("b", 10, 60), ["b"]),
    ],
)
def test_the_queue_is_in_order_of_arrival_without_the_silent(
    rule: str, queue: list[tuple[str, float, float]], comes: tuple[str, float, float], order: list[str]
) -> None:
    waiting = tuple(waiter("v1.0.0", run, queued=queued, seen=seen) for run, queued, seen in queue)
    run, queued, seen = comes
    record = enqueue(
        environment(queue=waiting), waiter("v1.0.0", run, queued=queued, seen=seen), stale_before=NOON + at(10)
    )
    assert [w.flow_run_id for w in record.queue] == order, rule
    assert next(w for w in record.queue if w.flow_run_id == run).seen_at == NOON + at(seen)


def test_who_leaves_the_queue_leaves_the_others_in_it() -> None:
    record = environment(queue=(waiter("v1.0.0", "a"), waiter("v1.1.0", "b")))
    assert [w.flow_run_id for w in leave_queue(record, "a").queue] == ["b"]
    assert leave_queue(record, "z") == record
