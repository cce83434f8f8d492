"""`reconcile` does what there is to do, and ends well where that is nothing."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.record import EnvironmentRecord, Frozen
from flows import reconcile
from flows.reconcile import clean_up_environment, close_forgotten_runs, look_beside
from operation.lease import now
from operation.operation import Operation
from tests.unit.facts import NOON, environment, lease_of, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

BLUE = Weights.all_on(Colour.BLUE)
FROZEN = Frozen(reason="the production listener carries 50/50", observed=BLUE, expected=BLUE, at=NOON)


@pytest.fixture
def ours(aws: FakeAws, no_waiting: None, no_run_log: None) -> Operation:
    return operation_of(aws, settings_with(), owner("rec-1", flow="reconcile", pid=9))


def stands(aws: FakeAws, record: EnvironmentRecord) -> None:
    store_of(aws.s3).change_environment(lambda _: record)


def silent(*_: object) -> set[str]:
    raise httpx.ConnectError("refused")


def test_nothing_to_do_is_a_good_end(aws: FakeAws, ours: Operation) -> None:
    stands(aws, environment(live=live("v1.0.0"), weights=BLUE))
    assert clean_up_environment(ours) == "test needs no cleanup; nobody holds it."


def test_somebody_at_work_is_a_good_end(aws: FakeAws, ours: Operation) -> None:
    stands(
        aws, environment(lease=lease_of(owner("run-1")).model_copy(update={"expires_at": now() + timedelta(hours=1)}))
    )
    assert clean_up_environment(ours) == "test is held by v1.1.0, at starting."


def test_a_freeze_that_a_human_has_to_end_is_said_and_fails_nothing(aws: FakeAws, ours: Operation) -> None:
    stands(aws, environment(live=live("v1.0.0"), weights=BLUE, frozen=FROZEN))
    aws.elbv2.weights = Weights(blue=50, green=50)
    said = clean_up_environment(ours)
    assert said.startswith("test is frozen since 2026-03-01 12:00:00 UTC: the production listener carries 50/50.")


def test_a_foreign_hand_that_nobody_saw_before_fails_the_run(aws: FakeAws, ours: Operation) -> None:
    stands(aws, environment(live=live("v1.0.0"), weights=BLUE))
    aws.elbv2.weights = Weights(blue=50, green=50)
    with pytest.raises(Refused, match="test is frozen"):
        clean_up_environment(ours)


def test_prefect_s_silence_hinders_nothing(aws: FakeAws, ours: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    parked = environment(lease=lease_of(owner("run-1"), parked_until=now() + timedelta(hours=1)))
    monkeypatch.setattr(reconcile, "run_is_over", silent)
    monkeypatch.setattr(reconcile, "dead_runs", silent)
    assert not look_beside(parked).run_over
    stands(aws, parked)
    assert clean_up_environment(ours) == "test is parked by v1.1.0, at starting."
    close_forgotten_runs(ours)
