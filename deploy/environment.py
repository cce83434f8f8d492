"""An environment's deployments: those of prefect.yaml, each bound to the environment whose name it bears."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from blocks.environment import PROJECT, read_settings
from core.errors import Permanent, Refused

__all__ = ["WORK_POOL", "deploy"]

WORK_POOL = "pointsman"
# What changes with each call, or from one moment to the next.
_PASSING = ("id", "created", "updated", "last_polled", "labels", "schedules", "work_queue_id", "status")


def deploy(environment: str) -> list[str]:
    """Make or update the deployments of `environment`; return a line for each, saying what was done.

    Raises `Refused` where the environment has no file or Prefect no work pool, `Permanent` where Prefect makes none.
    """
    settings = read_settings(environment)
    with get_client(sync_client=True) as client:
        _refuse_without_work_pool(client)
        before = _deployments(client, environment)
        _run_prefect_deploy(
            POINTSMAN_HOME=str(PROJECT),
            POINTSMAN_ENVIRONMENT=environment,
            POINTSMAN_RETIRE_ON_SCHEDULE=str(settings.retire_on_schedule).lower(),
            POINTSMAN_DRIFT_ON_SCHEDULE=str(settings.drift_on_schedule).lower(),
        )
        after = _deployments(client, environment)
        written = {name for name, now in after.items() if name not in before or before[name].updated != now.updated}
        for name in written:
            _bind(client, after[name], environment)
        after = _deployments(client, environment)
    return [_line(name, before.get(name), now, written=name in written) for name, now in after.items()]


def _run_prefect_deploy(**variables: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env={**os.environ, **variables},
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Permanent(
            f"The deployments of {variables['POINTSMAN_ENVIRONMENT']} could not be made",
            why=(done.stderr.strip() or done.stdout.strip())[-2_000:],
            do="Run the command again; what is made already is updated.",
        )


def _bind(client: SyncPrefectClient, deployment: DeploymentResponse, environment: str) -> None:
    """Fix a deployment's parameter `environment`: the server then refuses a run with another one.

    It is what Prefect's `freeze` does to deployments that are made in Python; prefect.yaml has no word for it.
    """
    schema: dict[str, Any] = dict(deployment.parameter_openapi_schema or {})
    properties = dict(schema.get("properties", {}))
    properties["environment"] = {**properties.get("environment", {}), "readOnly": True, "enum": [environment]}
    answer = client.request(
        "PATCH",
        "/deployments/{id}",
        path_params={"id": deployment.id},
        json={"parameter_openapi_schema": {**schema, "properties": properties}},
    )
    answer.raise_for_status()


def _deployments(client: SyncPrefectClient, environment: str) -> dict[str, DeploymentResponse]:
    """Return the environment's deployments on our work pool, by their names as Prefect prints them."""
    found = client.read_deployments(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[environment])),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL])),
    )
    named = {f"{client.read_flow(d.flow_id).name}/{d.name}": d for d in found}
    return dict(sorted(named.items()))


def _refuse_without_work_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound as error:
        raise Refused(
            f"Prefect has no work pool {WORK_POOL!r}",
            why="the deployments' runs would have no worker",
            do=f"prefect work-pool create {WORK_POOL} --type process --base-job-template deploy/work-pool.json",
        ) from error


def _line(name: str, before: DeploymentResponse | None, now: DeploymentResponse, *, written: bool) -> str:
    if not written:
        return f"{name}: left alone, prefect.yaml has no such deployment"
    if before is None:
        return f"{name}: made"
    return f"{name}: unchanged" if _facts(before) == _facts(now) else f"{name}: updated"


def _facts(deployment: DeploymentResponse) -> dict[str, Any]:
    """Return what a deployment is made of."""
    schedules = [(s.schedule.model_dump(mode="json"), s.active, s.slug) for s in deployment.schedules]
    return {**deployment.model_dump(mode="json", exclude=set(_PASSING)), "schedules": schedules}
