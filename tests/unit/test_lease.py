"""Holding an environment: who may have it, and that an expired hold is a duty and no permission."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.errors import Refused
from core.lease import LeaseVerdict, ask_to_stop, drop, enqueue, is_ours, judge_lease, leave_queue, park, renew, take
from core.record import EnvironmentRecord, LeaseRecord, Owner, StopRequest
from tests.unit.facts import NOON, environment, lease_of, owner, waiter

ME, NEXT_PROCESS, OTHER = owner("run-1", pid=1), owner("run-1", attempt="run-1-2", pid=2), owner("run-2", pid=3)
HOUR = NOON + timedelta(hours=1)


def at(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("rule", "lease", "after", "dead", "verdict"),
    [
        ("nobody holds it", None, 0, False, LeaseVerdict.FREE),
        ("this process holds it", lease_of(ME), 0, False, LeaseVerdict.OURS),
        ("another works", lease_of(OTHER), 0, False, LeaseVerdict.HELD),
        ("another's last second", lease_of(OTHER), 59, False, LeaseVerdict.HELD),
        ("its heartbeat stopped", lease_of(OTHER), 60, False, LeaseVerdict.ABANDONED),
        ("its process is dead", lease_of(OTHER), 0, True, LeaseVerdict.ABANDONED),
        ("another waits for approval", lease_of(OTHER, parked_until=HOUR), 120, False, LeaseVerdict.PARKED),
        ("a parked run has no process", lease_of(OTHER, parked_until=HOUR), 120, True, LeaseVerdict.PARKED),
        ("its approval's deadline passed", lease_of(OTHER, parked_until=HOUR), 3_600, False, LeaseVerdict.ABANDONED),
        ("our run parked it", lease_of(NEXT_PROCESS, parked_until=HOUR), 120, False, LeaseVerdict.RESUMED),
        ("our run parked it too long", lease_of(NEXT_PROCESS, parked_until=HOUR), 3_600, False, LeaseVerdict.ABANDONED),
        ("our run's other process works", lease_of(NEXT_PROCESS), 0, False, LeaseVerdict.HELD),
        ("our run's other process is dead", lease_of(NEXT_PROCESS), 0, True, LeaseVerdict.ABANDONED),
        ("our run's other process is silent", lease_of(NEXT_PROCESS), 60, False, LeaseVerdict.ABANDONED),
    ],
)
def test_what_a_lease_means_for_who_wants_it(
    rule: str, lease: LeaseRecord | None, after: float, dead: bool, verdict: LeaseVerdict
) -> None:
    assert judge_lease(environment(lease=lease, fencing_token=1), ME, NOON + at(after), owner_dead=dead) is verdict, (
        rule
    )


def test_taking_raises_the_fence_and_leaves_the_queue() -> None:
    record = environment(fencing_token=4, queue=(waiter("v1.1.0", "run-1"), waiter("v1.2.0", "run-2")))
    taken = take(record, ME, NOON, expiry=60, version="v1.1.0")
    assert taken.lease is not None
    assert (taken.fencing_token, taken.lease.fencing_token) == (5, 5)
    assert (taken.lease.owner, taken.lease.version, taken.lease.expires_at) == (ME, "v1.1.0", NOON + at(60))
    assert [w.flow_run_id for w in taken.queue] == ["run-2"]


def test_taking_anew_is_another_lease_without_the_wishes_to_the_old_one() -> None:
    stop = StopRequest(by="x", at=NOON, reason="y")
    record = environment(lease=lease_of(OTHER, fencing_token=4, stop=stop, parked_until=HOUR), fencing_token=4)
    taken = take(record, ME, NOON, expiry=60, version=None)
    assert taken.lease is not None
    assert (taken.lease.stop, taken.lease.parked_until, taken.fencing_token) == (None, None, 5)


HELD = environment(lease=lease_of(ME, fencing_token=4), fencing_token=4)


def test_a_beat_prolongs_the_lease_and_says_the_stage() -> None:
    lease = renew(HELD, ME, 4, NOON + at(30), expiry=60, step="apply").lease
    assert lease is not None
    assert (lease.renewed_at, lease.expires_at, lease.step) == (NOON + at(30), NOON + at(90), "apply")


def test_a_beat_keeps_the_wish_to_stop() -> None:
    asked = ask_to_stop(HELD, "run-2", "a rollback", NOON)
    lease = renew(asked, ME, 4, NOON, expiry=60).lease
    assert lease is not None
    assert lease.stop == StopRequest(by="run-2", at=NOON, reason="a rollback")


def test_parking_keeps_the_lease_until_the_approval_s_deadline() -> None:
    lease = park(HELD, ME, 4, HOUR).lease
    assert lease is not None
    assert (lease.owner, lease.fencing_token, lease.parked_until, lease.step) == (ME, 4, HOUR, "approve")


def _beat(record: EnvironmentRecord, whose: Owner, fencing_token: int) -> EnvironmentRecord:
    return renew(record, whose, fencing_token, NOON, expiry=60)


def _park(record: EnvironmentRecord, whose: Owner, fencing_token: int) -> EnvironmentRecord:
    return park(record, whose, fencing_token, HOUR)


@pytest.mark.parametrize("act", [_beat, _park])
@pytest.mark.parametrize(
    ("why", "record", "fencing_token"),
    [
        ("another took it", environment(lease=lease_of(OTHER, fencing_token=5), fencing_token=5), 4),
        ("another took it and gave it back", environment(fencing_token=5), 4),
        (
            "our own run's next process took it",
            environment(lease=lease_of(NEXT_PROCESS, fencing_token=5), fencing_token=5),
            4,
        ),
        ("taken away and taken again", environment(lease=lease_of(ME, fencing_token=6), fencing_token=6), 4),
        ("a fence that never was", HELD, 5),
    ],
)
def test_who_lost_the_lease_can_neither_prolong_nor_park_it(
    why: str,
    record: EnvironmentRecord,
    fencing_token: int,
    act: Callable[[EnvironmentRecord, Owner, int], EnvironmentRecord],
) -> None:
    assert not is_ours(record, ME, fencing_token), why
    with pytest.raises(Refused, match="no longer ours") as refusal:
        act(record, ME, fencing_token)
    assert refusal.value.do.startswith("This run writes nothing more")


@pytest.mark.parametrize(
    ("record", "freed"),
    [
        (HELD, True),
        (environment(lease=lease_of(OTHER, fencing_token=5), fencing_token=5), False),
        (environment(lease=lease_of(ME, fencing_token=6), fencing_token=6), False),
    ],
)
def test_only_one_s_own_lease_is_given_back(record: EnvironmentRecord, freed: bool) -> None:
    after = drop(record, ME, 4)
    assert (after.lease is None) is freed
    assert after.fencing_token == record.fencing_token


def test_the_first_wish_to_stop_stands() -> None:
    twice = ask_to_stop(ask_to_stop(HELD, "a", "first", NOON), "b", "second", NOON + at(1))
    assert twice.lease is not None
    assert twice.lease.stop == StopRequest(by="a", at=NOON, reason="first")


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


@pytest.mark.parametrize(
    ("record", "holder"),
    [
        (environment(lease=lease_of(OTHER, fencing_token=5), fencing_token=5), "run-2"),
        (environment(fencing_token=5), "nobody"),
    ],
)
def test_who_lost_the_lease_is_told_who_has_it(record: EnvironmentRecord, holder: str) -> None:
    with pytest.raises(Refused, match=f"it was taken over, and now belongs to {holder}"):
        renew(record, ME, 4, NOON, expiry=60)
