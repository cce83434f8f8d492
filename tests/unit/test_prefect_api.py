"""Which of the runs that Prefect believes alive have lost their process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from systems.prefect_api import attempt_id, looks_dead
from systems.processes import owner_of

SILENCE = 12.0
GONE = 2**22 + 1  # above the kernel's highest pid


def run_of(state: StateType, age: float, *, labels: dict[str, str] | None = None, run_count: int = 1) -> FlowRun:
    since = datetime.now(UTC) - timedelta(seconds=age)
    return FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=State(type=state, timestamp=since),
        run_count=run_count,
        labels=labels or {},
    )


def introduced(run: FlowRun, *, gone: bool, attempt: int = 1) -> FlowRun:
    """The run as its process would have labelled it."""
    owner = owner_of("release", str(run.id), attempt_id(str(run.id), attempt))
    owner = owner.model_copy(update={"pid": GONE}) if gone else owner
    return run.model_copy(update={"labels": {"pointsman.owner": owner.model_dump_json()}})


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.CANCELLING])
@pytest.mark.parametrize(
    ("age", "gone", "dead"),
    [
        pytest.param(SILENCE + 1, True, True, id="its process is gone"),
        pytest.param(SILENCE + 1, False, False, id="its process works"),
        pytest.param(1, True, False, id="a resumed run has not introduced its new process yet"),
    ],
)
def test_a_run_that_introduced_itself(state: StateType, age: float, gone: bool, dead: bool) -> None:
    assert looks_dead(introduced(run_of(state, age), gone=gone), SILENCE) is dead


@pytest.mark.parametrize(
    ("state", "age", "dead"),
    [
        pytest.param(StateType.RUNNING, 2 * SILENCE + 1, True, id="it died before its first act"),
        pytest.param(StateType.RUNNING, SILENCE + 1, False, id="it is about to"),
        pytest.param(StateType.PENDING, 60, False, id="its process starts slowly"),
        pytest.param(StateType.PENDING, 301, True, id="its process never started"),
    ],
)
def test_a_run_that_did_not_introduce_itself(state: StateType, age: float, dead: bool) -> None:
    assert looks_dead(run_of(state, age), SILENCE) is dead


def test_the_process_of_an_earlier_attempt_says_nothing_of_this_one() -> None:
    retried = introduced(run_of(StateType.RUNNING, 1, run_count=2), gone=True, attempt=1)
    assert not looks_dead(retried, SILENCE)


def test_a_label_that_is_none_of_ours_is_no_proof_of_life() -> None:
    run = run_of(StateType.RUNNING, 2 * SILENCE + 1, labels={"pointsman.owner": "somebody"})
    assert looks_dead(run, SILENCE)
