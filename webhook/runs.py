"""Creating the flow run of a release through Prefect's client, within a deadline."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from core.errors import Permanent, Transient
from core.github_event import Release, run_key

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.2
_BUSY = frozenset({408, 429, 502, 503, 504})
_REDELIVER = "Redeliver it (Settings → Webhooks → Recent Deliveries): GitHub does not repeat it by itself."


@dataclass(frozen=True)
class CreatedRun:
    """A release's flow run, made now or by an earlier delivery: its id, name, state and page in the UI."""

    id: UUID
    name: str
    state: str
    url: str


class RunCreator(Protocol):
    """The receiver's only way out. Whoever implements it gives the same run for the same release."""

    async def create(self, release: Release) -> CreatedRun:
        """Give the release's run; raises Transient if another delivery may succeed, Permanent if not."""
        ...


@dataclass
class PrefectRuns:
    """Creates runs of `release/<environment>`, or finds the one that an earlier delivery made.

    Sending the creation again is safe because of its idempotency key: a lost answer is asked for again.
    `context` carries the Prefect settings under which the client is to be called.
    """

    client: PrefectClient
    context: Context
    environment: str
    repository: str
    deadline_seconds: float
    ui_url: str
    _deployment_id: UUID | None = field(default=None, init=False)
    _in_flight: dict[Release, asyncio.Task[CreatedRun]] = field(default_factory=dict, init=False)

    @property
    def deployment(self) -> str:
        """The deployment's name, as Prefect prints it."""
        return f"release/{self.environment}"

    async def create(self, release: Release) -> CreatedRun:
        """Give the release's run; deliveries that repeat one under way share its call to Prefect."""
        task = self._in_flight.get(release)
        if task is None:
            task = asyncio.create_task(self._create_in_time(release), context=self.context.copy())
            self._in_flight[release] = task
            task.add_done_callback(lambda _: self._in_flight.pop(release))
        return await asyncio.shield(task)

    async def _create_in_time(self, release: Release) -> CreatedRun:
        """Try again while Prefect is busy or gone, until the deadline."""
        latest = "no answer"
        pause = _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(self.deadline_seconds):
                while True:
                    try:
                        return self._describe(await self._create_once(release))
                    except (Transient, httpx.TransportError) as error:
                        latest = str(error) or type(error).__name__
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        except TimeoutError as error:
            raise Transient(
                f"It is not certain that {release.tag} was queued",
                why=f"Prefect created no run within {self.deadline_seconds:g} s ({latest.rstrip('.')})",
                do=_REDELIVER,
            ) from error

    async def _create_once(self, release: Release) -> FlowRun:
        try:
            return await self.client.create_flow_run_from_deployment(
                await self._find_deployment(),
                name=f"{release.tag} → {self.environment}",
                parameters={"tag": release.tag, "environment": self.environment, "commit": release.commit},
                tags=[self.environment, release.tag],
                idempotency_key=run_key(self.environment, self.repository, release),
            )
        except ObjectNotFound as error:
            raise self._no_deployment(release) from error
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                # Deleted since it was looked up; if it was made again, it has a new id.
                self._deployment_id = None
                raise Transient(f"{self.deployment} has changed") from error
            raise Permanent(
                f"{release.tag} was not queued",
                why=f"Prefect refused a run of {self.deployment} with {error.response.status_code}",
                do=f"Fix the deployment or its parameters. {_REDELIVER}",
            ) from error

    async def _find_deployment(self) -> UUID:
        if self._deployment_id is None:
            self._deployment_id = (await self.client.read_deployment_by_name(self.deployment)).id
        return self._deployment_id

    def _no_deployment(self, release: Release) -> Permanent:
        return Permanent(
            f"{release.tag} was not queued",
            why=f"Prefect has no deployment {self.deployment}",
            do=f"Create it with `python -m flows deploy {self.environment}`. {_REDELIVER}",
        )

    def _describe(self, run: FlowRun) -> CreatedRun:
        return CreatedRun(
            id=run.id,
            name=run.name,
            state=run.state_name or "Scheduled",
            url=f"{self.ui_url}/v2/runs/flow-run/{run.id}",
        )


@asynccontextmanager
async def open_prefect_runs(
    environment: str,
    repository: str,
    *,
    deadline_seconds: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[PrefectRuns]:
    """Keep one connected client for the life of the receiver, so that a delivery pays for no handshake.

    `transport` replaces the network.
    """
    # Prefect's client waits 2 s before its first retry, longer than the sender may wait: PrefectRuns retries
    # instead. The setting counts where the client is called, and changing it costs 20 ms: once, in a context.
    with temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 0}):
        context = copy_context()
    httpx_settings: dict[str, Any] = {"event_hooks": {"response": [_raise_if_busy]}}
    if transport is not None:
        httpx_settings["transport"] = transport
    async with get_client(httpx_settings=httpx_settings) as client:
        ui_url = (get_current_settings().ui_url or "").rstrip("/")
        yield PrefectRuns(client, context, environment, repository, deadline_seconds, ui_url)


async def _raise_if_busy(response: httpx.Response) -> None:
    """Answer at once: even without retries the client sleeps 2 s on these statuses before it gives up."""
    if response.status_code in _BUSY:
        raise Transient(f"Prefect answered {response.status_code}")
