"""Which dead runs are nobody's business but Prefect's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import httpx
import pytest

from core.record import EnvironmentRecord
from flows import reconcile
from flows.reconcile import forgotten_runs
from systems.records import RecordStore
from tests.unit.facts import environment, lease_of, owner, waiter


class Store:
    """A store that holds one record."""

    environment_name = "test"

    def __init__(self, record: EnvironmentRecord) -> None:
        self._record = record

    def environment(self) -> EnvironmentRecord:
        return self._record


def forgotten(monkeypatch: pytest.MonkeyPatch, dead: Iterable[str], record: EnvironmentRecord) -> set[str]:
    monkeypatch.setattr(reconcile, "dead_runs", lambda _environment, _silence: set(dead))
    return forgotten_runs(cast(RecordStore, Store(record)), 12.0)


@pytest.mark.parametrize(
    ("rule", "record", "left"),
    [
        ("the record knows nothing of it", environment(), {"run-1"}),
        ("it holds the environment, which is settled first", environment(lease=lease_of(owner("run-1"))), set()),
        (
            "somebody settles what it left",
            environment(lease=lease_of(owner("run-2"), takes_over=lease_of(owner("run-1")))),
            set(),
        ),
        ("it waits in the queue, and is dropped from there", environment(queue=(waiter("v1.1.0", "run-1"),)), set()),
    ],
)
def test_a_dead_run_is_forgotten_unless_the_record_knows_it(
    monkeypatch: pytest.MonkeyPatch, rule: str, record: EnvironmentRecord, left: set[str]
) -> None:
    assert forgotten(monkeypatch, ["run-1"], record) == left, rule


def test_prefect_s_silence_hinders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_environment: str, _silence: float) -> set[str]:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(reconcile, "dead_runs", silent)
    assert forgotten_runs(cast(RecordStore, Store(environment())), 12.0) == set()
