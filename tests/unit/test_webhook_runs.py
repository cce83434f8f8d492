"""How the receiver talks to Prefect: what is tried again, what its answers mean. The network is the fake."""

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings

from core.errors import Permanent, PointsmanError, Transient
from core.github_event import Release
from webhook.runs import CreatedRun, PrefectRuns, open_prefect_runs

DEPLOYMENT = "11111111-1111-1111-1111-111111111111"
REMADE = "22222222-2222-2222-2222-222222222222"
FLOW = "33333333-3333-3333-3333-333333333333"
RUN = "44444444-4444-4444-4444-444444444444"
RELEASE = Release("v1.2.3", "1f" * 20)

CREATED = httpx.Response(201, json={"id": RUN, "flow_id": FLOW, "name": "v1.2.3 → moon"})
GONE = httpx.Response(404, json={"detail": "Deployment not found"})

Step = httpx.Response | Exception


class FakePrefect(httpx.AsyncBaseTransport):
    """Answers creations with `steps` in order, the last one for ever, and look-ups with `deployments`."""

    def __init__(self, *steps: Step, deployments: tuple[str, ...] = (DEPLOYMENT,)) -> None:
        self.creations: list[tuple[str, dict[str, Any]]] = []
        self.lookups = 0
        self._steps: Iterator[Step] = chain(steps, repeat(steps[-1]))
        self._deployments = chain(deployments, repeat(deployments[-1])) if deployments else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        if request.method == "GET":
            self.lookups += 1
            if self._deployments is None:
                return httpx.Response(404, json={"detail": "Not found"})
            deployment = {"id": next(self._deployments), "flow_id": FLOW, "name": "moon"}
            return httpx.Response(200, json=deployment)
        self.creations.append((request.url.path, json.loads(request.content)))
        step = next(self._steps)
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, content=step.content, headers=step.headers)


@pytest.fixture(autouse=True)
def _prefect_settings() -> Iterator[None]:
    updates = {PREFECT_API_URL: "http://prefect.test/api", PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with temporary_settings(updates=updates):
        yield


def with_runs(prefect: FakePrefect, use: Callable[[PrefectRuns], Any], *, deadline: float = 30) -> Any:
    async def main() -> Any:
        async with open_prefect_runs("moon", "owner/app", deadline_seconds=deadline, transport=prefect) as runs:
            return await use(runs)

    return asyncio.run(main())


def create(prefect: FakePrefect, *, deadline: float = 30) -> CreatedRun:
    run: CreatedRun = with_runs(prefect, lambda runs: runs.create(RELEASE), deadline=deadline)
    return run


def test_run_carries_parameters_name_tags_and_key() -> None:
    prefect = FakePrefect(CREATED)
    assert create(prefect) == CreatedRun(
        UUID(RUN), "v1.2.3 → moon", "Scheduled", f"http://prefect.test/v2/runs/flow-run/{RUN}"
    )
    ((path, body),) = prefect.creations
    assert path == f"/api/deployments/{DEPLOYMENT}/create_flow_run"
    assert body["parameters"] == {"tag": "v1.2.3", "environment": "moon", "commit": RELEASE.commit}
    assert body["name"] == "v1.2.3 → moon"
    assert set(body["tags"]) == {"moon", "v1.2.3"}
    assert body["idempotency_key"] == f"release:moon:owner/app:v1.2.3:{RELEASE.commit}"
    assert body["state"]["type"] == "SCHEDULED"


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(503, headers={"Retry-After": "5"}), id="503_that_asks_for_more_time"),
        pytest.param(httpx.Response(502), id="502"),
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.ConnectError("refused"), id="connection_refused"),
        pytest.param(httpx.ReadError("reset"), id="answer_lost"),
        pytest.param(httpx.RemoteProtocolError("closed"), id="connection_closed"),
    ],
)
def test_busy_or_absent_prefect_is_asked_again_with_the_same_key(step: Step) -> None:
    prefect = FakePrefect(step, step, CREATED)
    assert create(prefect).id == UUID(RUN)
    assert len({body["idempotency_key"] for _, body in prefect.creations}) == 1
    assert len(prefect.creations) == 3


def test_answer_comes_at_the_deadline_when_prefect_stays_busy() -> None:
    with pytest.raises(Transient, match=r"not certain.*within 0\.3 s \(Prefect answered 503\).*Redeliver"):
        create(FakePrefect(httpx.Response(503)), deadline=0.3)


@pytest.mark.parametrize(
    ("prefect", "error", "sentence"),
    [
        pytest.param(FakePrefect(CREATED, deployments=()), Permanent, "no deployment release/moon", id="no_deployment"),
        pytest.param(
            FakePrefect(httpx.Response(409, json={})), Permanent, "refused a run .* with 409", id="parameters"
        ),
        pytest.param(FakePrefect(httpx.Response(401, json={})), Permanent, "with 401", id="not_authorised"),
        pytest.param(FakePrefect(httpx.Response(500, json={})), Permanent, "with 500", id="unlisted_status"),
    ],
)
def test_refusal_is_not_tried_again(prefect: FakePrefect, error: type[PointsmanError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        create(prefect)
    assert len(prefect.creations) <= 1


def test_deployment_is_looked_up_once_and_again_when_it_was_made_anew() -> None:
    prefect = FakePrefect(CREATED, GONE, CREATED, deployments=(DEPLOYMENT, REMADE))

    async def twice(runs: PrefectRuns) -> None:
        await runs.create(RELEASE)
        await runs.create(RELEASE)

    with_runs(prefect, twice)
    assert prefect.lookups == 2
    assert [path.split("/")[3] for path, _ in prefect.creations] == [DEPLOYMENT, DEPLOYMENT, REMADE]


def test_repetitions_at_the_same_time_share_one_call() -> None:
    prefect = FakePrefect(CREATED)

    async def at_once(runs: PrefectRuns) -> list[CreatedRun]:
        return await asyncio.gather(*(runs.create(RELEASE) for _ in range(20)))

    assert {run.id for run in with_runs(prefect, at_once)} == {UUID(RUN)}
    assert len(prefect.creations) == 1
