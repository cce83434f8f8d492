"""The runs of `reconcile/<environment>`: asked of Prefect, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.reconcile import reconcile
from systems.prefect_api import looks_dead

__all__ = ["Runs"]

# Prefect's own patience with a server that does not answer is several minutes.
_PATIENCE = {PREFECT_API_REQUEST_TIMEOUT: 10.0, PREFECT_CLIENT_MAX_RETRIES: 1}

_log = get_logger("pointsman.reconciler")


class Runs:
    """One environment's runs of `reconcile`, as Prefect knows them; `here` runs the flow in this process.

    A run that was asked for has `starts_within` seconds to start, and one that started `introduces_within` seconds
    (half of it where its process is proven to be gone) to say which process works on it.
    """

    def __init__(
        self,
        environment: str,
        here: Callable[[str], object] = reconcile,
        *,
        starts_within: float = 30.0,
        introduces_within: float = 10.0,
    ) -> None:
        self.environment = environment
        self._here = here
        self._starts_within, self._introduces_within = starts_within, introduces_within
        self._asked: UUID | None = None

    @property
    def deployment(self) -> str:
        """The deployment's name, as Prefect prints it."""
        return f"reconcile/{self.environment}"

    def start(self) -> None:
        """Ask Prefect for a run unless one is under way; run it in this process where Prefect gives none.

        A second run beside one that Prefect believes in is harmless: whoever cleans up takes the lease first.
        """
        try:
            with temporary_settings(updates=_PATIENCE), get_client(sync_client=True) as client:
                late = self._ask(client)
        except (httpx.HTTPError, ObjectNotFound) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            _log.warning("Prefect created no run of %s (%s): running it here", self.deployment, reason)
        else:
            if not late:
                return
            late_after = f"{self._starts_within:g} s"
            _log.warning("Run %s of %s did not start in %s: running it here", self._asked, self.deployment, late_after)
        self._here(self.environment)

    def _ask(self, client: SyncPrefectClient) -> bool:
        """Ask for a run where none is under way; return whether the one asked for before has not started in time."""
        deployment = client.read_deployment_by_name(self.deployment).id
        runs = _unfinished(client, deployment)
        if any(self._is_under_way(run) for run in runs):
            return False
        if self._asked in {
            run.id for run in runs if not run.state or run.state.is_scheduled() or run.state.is_pending()
        }:
            return True
        self._asked = client.create_flow_run_from_deployment(deployment, tags=[self.environment]).id
        _log.info("Asked for run %s of %s", self._asked, self.deployment)
        return False

    def _is_under_way(self, run: FlowRun) -> bool:
        """Whether a run works or is about to; one whose process is gone does not, whatever Prefect believes."""
        state = run.state
        if state is None:
            return False
        if state.is_scheduled() or state.is_pending():
            since = max(state.timestamp, run.expected_start_time or state.timestamp)
            return since > datetime.now(UTC) - timedelta(seconds=self._starts_within)
        return not looks_dead(run, self._introduces_within / 2)


def _unfinished(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
            expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)}),
        ),
    )
