"""What the receiver asks of Prefect: what docs/webhook.md lets a proxy pass on, and nothing else."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings

from tests.unit.test_webhook_runs import CREATED, DEPLOYMENT, RELEASE, FakePrefect
from webhook.runs import open_prefect_runs

DOCUMENTED = Path(__file__).parents[2] / "docs" / "webhook.md"
LOOK_UP = ("GET", "/api/deployments/name/release/moon")
CREATION = ("POST", f"/api/deployments/{DEPLOYMENT}/create_flow_run")


class Recorder(httpx.AsyncBaseTransport):
    """Writes down each call that leaves the receiver."""

    def __init__(self, prefect: FakePrefect) -> None:
        self.calls: list[tuple[str, str]] = []
        self._prefect = prefect

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.append((request.method, request.url.path))
        return await self._prefect.handle_async_request(request)


def calls_of(*steps: httpx.Response | Exception) -> list[tuple[str, str]]:
    """The calls of two deliveries of one release, of which the first meets `steps`."""
    recorder = Recorder(FakePrefect(*steps, CREATED))

    async def deliver_twice() -> None:
        async with open_prefect_runs("moon", "owner/app", deadline_seconds=2, transport=recorder) as runs:
            await runs.create(RELEASE)
            await runs.create(RELEASE)

    settings = {PREFECT_API_URL: "http://prefect.test/api", PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with temporary_settings(updates=settings):
        asyncio.run(deliver_twice())
    return recorder.calls


def test_a_delivery_makes_two_calls_and_the_next_one() -> None:
    assert calls_of() == [LOOK_UP, CREATION, CREATION]


@pytest.mark.parametrize(
    "step",
    [httpx.Response(503), httpx.Response(404, json={"detail": "gone"}), httpx.ReadTimeout("lost")],
    ids=["busy", "gone", "lost"],
)
def test_what_goes_wrong_leads_to_no_other_call(step: httpx.Response | Exception) -> None:
    assert set(calls_of(step)) == {LOOK_UP, CREATION}


def test_the_documented_proxy_passes_on_these_calls() -> None:
    locations = re.findall(r"location = (\S+) +\{ limit_except (\w+) ", DOCUMENTED.read_text())
    passed = {(method, path.replace("production", "moon").replace("<id>", DEPLOYMENT)) for path, method in locations}
    start = ("GET", "/api/block_types/slug/release-environment/block_documents/name/pointsman-moon")
    assert passed == {LOOK_UP, CREATION, start}
