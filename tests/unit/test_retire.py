"""The old colour is stopped when its time has come; where there is nothing to do, a run ends well and says why."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.record import EnvironmentRecord, Frozen
from core.retirement import reason_to_skip
from flows.retire import retire_old_colour
from operation.lease import now
from operation.operation import Operation
from systems.records import RecordStore
from tests.unit.facts import NOON, environment, lease_of, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

BLUE, GREEN = Weights.all_on(Colour.BLUE), "shop-test-green"
FROZEN = Frozen(reason="someone was there", observed=BLUE, expected=BLUE, at=NOON)
LIVE, WINDOW = live("v1.0.0"), 3_600.0
DUE = NOON + timedelta(seconds=WINDOW)
HOLD = lease_of(owner("run-1"))


@pytest.mark.parametrize(
    ("record", "at", "at_once", "skipped"),
    [
        (environment(live=LIVE), DUE, False, None),
        (environment(live=LIVE), DUE - timedelta(seconds=1), False, "green stays warm until 2026-03-01 13:00:00 UTC."),
        (environment(live=LIVE), NOON, True, None),
        (environment(), DUE, False, "Nothing is live in test, so there is nothing to retire."),
        (environment(), DUE, True, "Nothing is live in test, so there is nothing to retire."),
        (environment(live=LIVE, frozen=FROZEN), DUE, False, "Skipped: test is frozen: someone was there."),
        (environment(live=LIVE, frozen=FROZEN), DUE, True, None),
        (
            environment(live=LIVE, lease=HOLD),
            DUE,
            False,
            "Skipped: test is held by release v1.1.0, at starting. The next run tries again.",
        ),
        (
            environment(live=LIVE, lease=HOLD.model_copy(update={"version": None})),
            NOON,
            False,
            "Skipped: test is held by release, at starting. The next run tries again.",
        ),
        (environment(live=LIVE, lease=HOLD), DUE, True, None),
    ],
)
def test_when_the_old_colour_is_left_alone(
    record: EnvironmentRecord, at: datetime, at_once: bool, skipped: str | None
) -> None:
    assert reason_to_skip(record, at, window=WINDOW, at_once=at_once) == skipped


@pytest.fixture
def ours(aws: FakeAws, no_waiting: None, no_run_log: None, monkeypatch: pytest.MonkeyPatch) -> Operation:
    """A `retire` of a test environment whose green slot still runs two tasks."""
    monkeypatch.setattr("tasks.retirement.see_winner", lambda *_: None)  # who answers is asked in test_confirmation
    aws.ecs.desired[GREEN] = 2
    return operation_of(aws, settings_with(), owner("ret-1", flow="retire", pid=9))


def stands(aws: FakeAws, **facts: object) -> None:
    store_of(aws.s3).change_environment(lambda _: environment(live=LIVE, weights=BLUE, **facts))


def held() -> EnvironmentRecord:
    return environment(
        live=LIVE, weights=BLUE, lease=HOLD.model_copy(update={"expires_at": now() + timedelta(hours=1)})
    )


@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_due_is_stopped(aws: FakeAws, ours: Operation, at_once: bool) -> None:
    stands(aws)
    assert retire_old_colour(ours, at_once) == "green is empty; 2 tasks stopped."
    assert aws.ecs.desired[GREEN] == 0
    assert store_of(aws.s3).environment().lease is None


@pytest.mark.parametrize(
    ("facts", "said"), [({"lease": HOLD}, "is held by release v1.1.0"), ({"frozen": FROZEN}, "is frozen")]
)
def test_on_schedule_it_leaves_alone_what_it_cannot_have(
    aws: FakeAws, ours: Operation, facts: dict[str, object], said: str
) -> None:
    stands(aws, **facts)
    assert said in retire_old_colour(ours, at_once=False)
    assert aws.ecs.desired[GREEN] == 2


@pytest.mark.parametrize(
    ("facts", "said"), [({"lease": HOLD}, "is held by release v1.1.0"), ({"frozen": FROZEN}, "is frozen")]
)
def test_a_human_who_wants_it_now_is_told_why_not(
    aws: FakeAws, ours: Operation, facts: dict[str, object], said: str
) -> None:
    stands(aws, **facts)
    with pytest.raises(Refused, match=said):
        retire_old_colour(ours, at_once=True)
    assert aws.ecs.desired[GREEN] == 2


def test_who_comes_between_the_look_and_the_taking_is_left_alone(
    aws: FakeAws, ours: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands(aws)
    change = RecordStore.change_environment

    def after_another(store: RecordStore, wanted: object) -> object:
        monkeypatch.setattr(RecordStore, "change_environment", change)
        change(store_of(aws.s3), lambda _: held())
        return change(store, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordStore, "change_environment", after_another)
    assert "is held by release v1.1.0" in retire_old_colour(ours, at_once=False)
    assert aws.ecs.desired[GREEN] == 2
