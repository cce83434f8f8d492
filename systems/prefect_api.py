"""Prefect's API: how a run introduces itself, and what becomes of the state of a run whose process is dead."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Crashed
from pydantic import ValidationError

from core.record import Owner
from systems.processes import process_is_dead

__all__ = ["attempt_id", "close_run", "dead_runs", "label_run_with_owner", "looks_dead", "run_is_over"]

_OWNER = "pointsman.owner"
_FLOWS = (
    *("release", "rollback", "provision", "destroy", "retire", "reconcile", "status", "preflight", "unfreeze"),
    "thaw",
)
# Between Pending and Running lies the start of a process, for which a machine or a task may have to be started first.
_STARTS_WITHIN = 300.0


def attempt_id(flow_run_id: str, run_count: int) -> str:
    """Return the name of one process's try at a run: a retry counts up, a resume after an approval does not."""
    return f"{flow_run_id}-{run_count or 1}"


def label_run_with_owner(owner: Owner, tags: Iterable[str]) -> None:
    """Write on the run which process works on it, and tag it like its siblings that came by webhook.

    So a list of runs reads like a release log, and `reconcile` can tell that a run's process is dead.
    """
    # A failed write does not stop the run.
    with suppress(ValueError, httpx.HTTPError, ObjectNotFound), get_client(sync_client=True) as client:
        run_id = UUID(owner.flow_run_id)
        client.update_flow_run_labels(run_id, {_OWNER: owner.model_dump_json()})
        client.update_flow_run(run_id, tags=sorted(set(tags)))


def run_is_over(flow_run_id: str) -> bool:
    """Whether a run has ended in Prefect: finished, timed out, cancelled, or deleted."""
    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(flow_run_id))
    except ObjectNotFound:
        return True
    except ValueError:
        return False
    return run.state is not None and run.state.is_final()


@task(name="close run", cache_policy=NO_CACHE)
def close_run(flow_run_id: str, done: str) -> None:
    """Give a dead run a state that says so, where Prefect still believes that it runs."""
    with suppress(ValueError, ObjectNotFound), get_client(sync_client=True) as client:
        run_id = UUID(flow_run_id)
        run = client.read_flow_run(run_id)
        if run.state is None or not run.state.is_final():
            client.set_flow_run_state(run_id, Crashed(message=f"Its process died. {done}"), force=True)
            get_run_logger().info("Run %s was still %s and is now marked Crashed", run_id, run.state and run.state.name)


def dead_runs(environment: str, silence: float) -> set[str]:
    """Return the ids of an environment's runs that Prefect believes alive although their processes are dead."""
    alive = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED])
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(_FLOWS))),
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[environment]), state=FlowRunFilterState(type=alive)
            ),
        )
    return {str(run.id) for run in runs if looks_dead(run, silence)}


def looks_dead(run: FlowRun, silence: float) -> bool:
    """Whether a run's process is dead: proven so, or it never introduced itself, which is the first that it does.

    A run is left alone for `silence` seconds after its last change of state; twice that if it did not introduce itself,
    as Prefect may have been slow to answer; and longer while its process starts.
    """
    if run.state is None or run.state.name == "Suspended":  # which has no process
        return False
    owner = _introduced(run)
    patience = silence if owner else 2 * silence
    if run.state.is_pending():
        patience = max(patience, _STARTS_WITHIN)
    if run.state.timestamp > datetime.now(UTC) - timedelta(seconds=patience):
        return False
    return owner is None or process_is_dead(owner)


def _introduced(run: FlowRun) -> Owner | None:
    """Return which process works on a run's present attempt, if it said so."""
    with suppress(KeyError, ValidationError):
        owner = Owner.model_validate_json(str(run.labels[_OWNER]))
        if owner.attempt == attempt_id(str(run.id), run.run_count):
            return owner
    return None
