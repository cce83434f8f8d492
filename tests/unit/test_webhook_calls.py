"""What the receiver asks of Prefect: what docs/webhook.md lets a proxy pass on, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings

from core.settings import parse_settings
from sandbox.github import push_payload, sign
from tests.unit.facts import SETTINGS
from tests.unit.test_webhook_runs import CREATED, DEPLOYMENT, RELEASE, FakePrefect
from webhook.app import create_app
from webhook.runs import open_prefect_runs

DOCUMENTED = Path(__file__).parents[2] / "docs" / "webhook.md"
SECRET = "a secret of the tests"
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


def test_a_receiver_with_a_file_of_secrets_makes_these_two_calls_in_all_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moon.toml").write_text(SETTINGS.replace('stage = "test"', 'stage = "moon"'))
    (tmp_path / "secrets").write_text(SECRET)
    monkeypatch.setenv("POINTSMAN_ENVIRONMENTS", str(tmp_path))
    monkeypatch.setenv("POINTSMAN_ENVIRONMENT", "moon")
    monkeypatch.setenv("POINTSMAN_WEBHOOK_SECRETS_FILE", str(tmp_path / "secrets"))
    recorder = Recorder(FakePrefect(CREATED))
    monkeypatch.setattr("webhook.app.open_prefect_runs", partial(open_prefect_runs, transport=recorder))
    repository = parse_settings("moon", (tmp_path / "moon.toml").read_text()).source.github_repository
    body = json.dumps(push_payload(repository=repository, tag="v1.2.3", commit="1f" * 20)).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": sign(SECRET, body),
    }
    # No server listens there: whatever else were asked, would fail.
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    with temporary_settings(updates=settings), TestClient(create_app()) as client:
        assert client.get("/healthz").status_code == 200
        assert recorder.calls == []
        answer = client.post("/webhooks/github", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert recorder.calls == [LOOK_UP, CREATION]


def test_the_documented_proxy_passes_on_these_calls() -> None:
    locations = re.findall(r"location = (\S+) +\{ limit_except (\w+) ", DOCUMENTED.read_text())
    passed = {(method, path.replace("production", "moon").replace("<id>", DEPLOYMENT)) for path, method in locations}
    assert passed == {LOOK_UP, CREATION}
