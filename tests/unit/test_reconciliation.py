"""What is left to do in an environment: the watch and the flow decide by the same table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.colour import Colour, Weights
from core.reconciliation import Beside, Work, forgotten_runs, is_waiting, pending_work, stale_waiters
from core.record import EnvironmentRecord, Frozen
from tests.unit.facts import NOON, environment, lease_of, owner, waiter

EXPIRY = 12.0
BLUE = Weights.all_on(Colour.BLUE)
HOUR = NOON + timedelta(hours=1)
FROZEN = Frozen(reason="someone was there", observed=BLUE, expected=BLUE, at=NOON)
HELD = environment(lease=lease_of(owner("run-1")), weights=BLUE)
PARKED = environment(lease=lease_of(owner("run-1"), parked_until=HOUR), weights=BLUE)
FREE = environment(weights=BLUE)


def seen(
    after: float = 0.0, *, dead: bool = False, over: bool = False, foreign: bool = False, runs: str = ""
) -> Beside:
    return Beside(NOON + timedelta(seconds=after), dead, over, foreign, frozenset(runs.split()))


@pytest.mark.parametrize(
    ("rule", "record", "beside", "work"),
    [
        ("nobody holds it and all is ours", FREE, seen(), set()),
        ("a holder at work is left alone", HELD, seen(59), set()),
        ("a holder whose process is gone is taken over", HELD, seen(dead=True), {Work.TAKE_OVER}),
        ("so is one whose heartbeat stopped", HELD, seen(60), {Work.TAKE_OVER}),
        ("who waits for approval has no process", PARKED, seen(120, dead=True), set()),
        ("its run has ended: nobody will answer", PARKED, seen(120, over=True), {Work.TAKE_OVER}),
        ("the deadline of the approval passed", PARKED, seen(3_600), {Work.TAKE_OVER}),
        ("a run that works says itself when it is over", HELD, seen(over=True), set()),
        ("a foreign hand freezes", FREE, seen(foreign=True), {Work.FREEZE}),
        ("what is frozen is a human's", environment(weights=BLUE, frozen=FROZEN), seen(foreign=True), set()),
        ("the holder looks itself", HELD, seen(foreign=True), set()),
        ("nothing of ours was written", environment(), seen(foreign=True), set()),
        (
            "nothing of ours stands",
            environment(weights=BLUE, infrastructure=None),
            seen(foreign=True),
            set(),
        ),
        ("who waits and was seen, waits", environment(queue=(waiter("v1.1.0", "run-1"),)), seen(12), set()),
        (
            "who was not seen for as long as a hold lasts is gone",
            environment(queue=(waiter("v1.1.0", "run-1"),)),
            seen(12.1),
            {Work.DROP_WAITERS},
        ),
        ("a dead run of which nothing is known is closed", FREE, seen(runs="run-9"), {Work.CLOSE_RUNS}),
        ("the holder's own is closed when it is taken over", HELD, seen(runs="run-1"), set()),
        (
            "all of it at once",
            environment(lease=lease_of(owner("run-1")), queue=(waiter("v1.1.0", "run-2"),)),
            seen(60, runs="run-1 run-2 run-3"),
            {Work.TAKE_OVER, Work.DROP_WAITERS, Work.CLOSE_RUNS},
        ),
    ],
)
def test_what_is_to_be_done(rule: str, record: EnvironmentRecord, beside: Beside, work: set[Work]) -> None:
    assert pending_work(record, beside, expiry=EXPIRY) == work, rule


@pytest.mark.parametrize(
    ("rule", "record", "left"),
    [
        ("the record knows nothing of it", environment(), {"run-1"}),
        ("it holds the environment, which is settled first", HELD, set()),
        (
            "somebody settles what it left",
            environment(lease=lease_of(owner("run-2"), takes_over=lease_of(owner("run-1")))),
            set(),
        ),
        ("it waits in the queue, and is dropped from there", environment(queue=(waiter("v1.1.0", "run-1"),)), set()),
    ],
)
def test_a_dead_run_is_forgotten_unless_the_record_knows_it(
    rule: str, record: EnvironmentRecord, left: set[str]
) -> None:
    assert forgotten_runs(record, frozenset({"run-1"})) == left, rule


@pytest.mark.parametrize(("after", "waits"), [(0, True), (EXPIRY, True), (EXPIRY + 0.001, False)])
def test_a_queued_release_waits_as_long_as_it_is_seen(after: float, waits: bool) -> None:
    queued, now = waiter("v1.1.0", "run-1"), NOON + timedelta(seconds=after)
    assert is_waiting(queued, now, EXPIRY) is waits
    assert stale_waiters(environment(queue=(queued,)), now, EXPIRY) == (() if waits else (queued,))
