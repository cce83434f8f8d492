"""A machine's upkeep in Prefect: made ready when it starts, its work pool held while it is upgraded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists

from blocks.__main__ import register
from blocks.environment import PROJECT
from core.errors import Refused, Transient
from deploy.environment import WORK_POOL, deploy

__all__ = ["drain", "in_flight", "resume", "set_up"]

RUNS_AT_ONCE = 4
# A worker that has fetched a run when the pool is paused still starts it.
_QUIET_SECONDS = 10.0
_POLL_SECONDS = 2.0
_TELL_SECONDS = 60.0
_WEBHOOK_VARIABLES = ("POINTSMAN_WEBHOOK_SECRET", "POINTSMAN_PREVIOUS_WEBHOOK_SECRET")
_WORKING = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
# A paused run waits in its process, a suspended one has none; both are of one type.
_PAUSED = "Paused"

Say = Callable[[str], None]


def set_up(environment: str, say: Say, *, webhook_secrets: Path | None, patience: float = 120.0) -> None:
    """Make what an environment needs in Prefect, once its server answers: blocks, work pool, deployments.

    `webhook_secrets` holds the present secret, and in a second line the former one while both are accepted. Run again,
    it changes nothing that fits. Raises `Transient` where no server answers within `patience` seconds.
    """
    _wait_for_server(patience)
    with _webhook_secrets(webhook_secrets):
        for line in register(environment):
            say(line)
    with get_client(sync_client=True) as client:
        say(_make_work_pool(client))
    for line in deploy(environment):
        say(line)


def drain(say: Say, *, timeout: float, quiet: float = _QUIET_SECONDS) -> None:
    """Let no further run start, and wait until none has worked for `quiet` seconds.

    A release that waits for its approval has no process and is not waited for; a `provision` that does has one. Raises
    `Transient` after `timeout` seconds; the work pool then starts runs again.
    """
    with get_client(sync_client=True) as client:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
        end = time.monotonic() + timeout
        last_busy = time.monotonic()
        told: tuple[str, ...] = ()
        while time.monotonic() - last_busy < quiet:
            names = in_flight(client)
            if names:
                last_busy = time.monotonic()
            if names and names != told:
                say(f"waiting for {', '.join(names)}")
                told = names
            if names and time.monotonic() > end:
                resume()
                raise Transient(
                    f"{', '.join(names)} did not end within {timeout:g} s",
                    why="an upgrade waits for what is in flight",
                    do="Runs start again. Try later, or with a longer `--timeout`.",
                )
            time.sleep(min(_POLL_SECONDS, quiet / 2))


def resume() -> None:
    """Let runs start again."""
    with get_client(sync_client=True) as client:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))


def in_flight(client: SyncPrefectClient) -> tuple[str, ...]:
    """Return the names of the runs that have a process, or are about to get one; `reconcile`'s are among them."""
    working = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_WORKING)))
    paused = FlowRunFilterState(name=FlowRunFilterStateName(any_=[_PAUSED]))
    found = [
        run.name
        for states in (working, paused)
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=states))
    ]
    return tuple(sorted(found))


def _wait_for_server(patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        with get_client(sync_client=True) as client:
            reason = client.api_healthcheck()
        if reason is None:
            return
        if time.monotonic() > end:
            raise Transient(
                f"Prefect's server did not answer within {patience:g} s",
                why=str(reason),
                do="See its log: `scripts/machine logs server`.",
            ) from (reason if isinstance(reason, httpx.HTTPError) else None)
        time.sleep(1.0)


@contextmanager
def _webhook_secrets(file: Path | None) -> Iterator[None]:
    """Set the variables that `register` reads the webhook's secrets from, while it works."""
    if file is None:
        yield
        return
    try:
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise Refused(
            f"The file of webhook secrets {file} cannot be read",
            why=str(error),
            do="Run `scripts/machine init`, which makes it and gives it to its reader.",
        ) from error
    given = dict(zip(_WEBHOOK_VARIABLES, (*lines, "", ""), strict=False))
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _make_work_pool(client: SyncPrefectClient) -> str:
    """Make the work pool, whose runs choose nothing of their process; one that exists gets the same template."""
    template = json.loads((PROJECT / "deploy" / "work-pool.json").read_text())
    wanted = WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template, concurrency_limit=RUNS_AT_ONCE)
    try:
        client.create_work_pool(wanted)
    except ObjectAlreadyExists:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))
        return f"work pool {WORK_POOL}: exists, with this template"
    return f"work pool {WORK_POOL}: made"
