"""The receiver over HTTP, with one fake: whoever creates the flow runs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.errors import Permanent, Refused, Transient
from core.github_event import Release, run_key
from sandbox.github import push_payload, sign
from webhook.app import Receiver, create_app, log
from webhook.delivery import is_signed
from webhook.runs import CreatedRun

SECRET = "a secret of the tests"
REPOSITORY = "cursive-team/connections"
COMMIT = "1f" * 20
LIMIT = 64 * 1024
PATH = "/webhooks/github"
PUSH = push_payload(repository=REPOSITORY, tag="v1.2.3", commit=COMMIT)


@dataclass
class FakeRuns:
    """Keeps Prefect's promise, the same run for the same key, or fails as told."""

    runs: dict[str, CreatedRun] = field(default_factory=dict)
    failure: Exception | None = None

    async def create(self, release: Release) -> CreatedRun:
        if self.failure is not None:
            raise self.failure
        id = uuid4()
        run = CreatedRun(id, f"{release.tag} → test", "Scheduled", f"http://ui.test/v2/runs/flow-run/{id}")
        return self.runs.setdefault(run_key("test", REPOSITORY, release), run)


@pytest.fixture
def runs() -> FakeRuns:
    return FakeRuns()


@pytest.fixture
def client(runs: FakeRuns) -> Iterator[TestClient]:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Receiver]:
        yield Receiver("test", REPOSITORY, SECRET.encode(), runs, max_body_bytes=LIMIT, body_seconds=5)

    with TestClient(create_app(opener)) as client:
        yield client


@pytest.fixture
def lines(client: TestClient) -> Iterator[list[str]]:
    """The receiver's log lines of one test."""
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Keep()
    log.addHandler(handler)
    yield seen
    log.removeHandler(handler)


def post(client: TestClient, body: bytes, **headers: str | None) -> httpx.Response:
    sent: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": "0b6a-1",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": sign(SECRET, body),
    }
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    answer: httpx.Response = client.post(PATH, content=body, headers={k: v for k, v in sent.items() if v is not None})
    return answer


def body_of(payload: object) -> bytes:
    return json.dumps(payload).encode()


def test_pushed_version_is_accepted_with_its_run(client: TestClient, runs: FakeRuns) -> None:
    answer = post(client, body_of(PUSH))
    assert answer.status_code == 202
    (run,) = runs.runs.values()
    assert answer.json() == {
        "status": "accepted",
        "detail": f"v1.2.3 at {COMMIT[:12]} is released by flow run 'v1.2.3 → test', now Scheduled.",
        "flow_run_id": str(run.id),
        "url": run.url,
    }


def test_repeated_delivery_is_answered_with_the_same_run(client: TestClient, runs: FakeRuns) -> None:
    answers = [post(client, body_of(PUSH), X_GitHub_Delivery=f"d-{n}") for n in range(3)]
    assert {answer.json()["flow_run_id"] for answer in answers} == {str(run.id) for run in runs.runs.values()}
    assert len(runs.runs) == 1


DELETED = push_payload(repository=REPOSITORY, tag="v1.2.3", commit=COMMIT, deleted=True)


@pytest.mark.parametrize(
    ("event", "payload", "http", "status"),
    [
        pytest.param("ping", {"zen": "Keep it."}, 200, "pong", id="ping"),
        pytest.param("issues", {}, 202, "ignored", id="another_event"),
        pytest.param("push", DELETED, 202, "ignored", id="deleted_tag"),
        pytest.param("push", PUSH | {"ref": "refs/heads/main"}, 202, "ignored", id="branch"),
        pytest.param("push", PUSH | {"repository": {"full_name": "else/where"}}, 202, "ignored", id="elsewhere"),
        pytest.param("push", PUSH | {"ref": "refs/tags/v1.2"}, 422, "rejected", id="no_semver"),
        pytest.param("push", {}, 400, "rejected", id="fields_missing"),
        pytest.param("push", [], 400, "rejected", id="no_object"),
        pytest.param(None, PUSH, 400, "rejected", id="no_event_name"),
    ],
)
def test_each_event_gets_its_status_and_starts_nothing(
    client: TestClient, runs: FakeRuns, event: str | None, payload: object, http: int, status: str
) -> None:
    answer = post(client, body_of(payload), X_GitHub_Event=event)
    assert (answer.status_code, answer.json()["status"]) == (http, status)
    assert answer.json()["detail"].endswith(".")
    assert not runs.runs


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("sha256=", id="no_digest"),
        pytest.param(sign("another secret", body_of(PUSH)), id="another_secret"),
        pytest.param(sign(SECRET, body_of(PUSH) + b" "), id="another_body"),
        pytest.param(sign(SECRET, body_of(PUSH)).removeprefix("sha256="), id="no_prefix"),
        pytest.param(sign(SECRET, body_of(PUSH)).upper(), id="upper_case"),
    ],
)
def test_unsigned_delivery_is_refused(client: TestClient, runs: FakeRuns, signature: str | None) -> None:
    answer = post(client, body_of(PUSH), X_Hub_Signature_256=signature)
    assert answer.status_code == 401
    assert "secret" in answer.json()["detail"]
    assert not runs.runs


def test_signature_header_may_hold_any_bytes() -> None:
    assert not is_signed(b"{}", "sha256=\xff\xe9", b"secret")


def test_signature_is_the_one_of_githubs_documentation() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert is_signed(b"Hello, World!", f"sha256={digest}", b"It's a Secret to Everybody")


def test_signature_is_checked_before_the_body_is_parsed(client: TestClient) -> None:
    assert post(client, b"{no json", X_Hub_Signature_256="sha256=0").status_code == 401


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"{no json", "application/json", id="no_json"),
        pytest.param(b"", "application/json", id="empty"),
        pytest.param(b"\xff\xfe\xfa", "application/json", id="no_text"),
        pytest.param(b"[" * 50_000, "application/json", id="too_deep"),
        pytest.param(b"payload=%7B%7D", "application/x-www-form-urlencoded", id="form"),
        pytest.param(body_of(PUSH), None, id="no_content_type"),
        pytest.param(body_of(PUSH), "text/plain", id="text"),
    ],
)
def test_malformed_delivery_is_refused(
    client: TestClient, runs: FakeRuns, body: bytes, content_type: str | None
) -> None:
    answer = post(client, body, Content_Type=content_type)
    assert answer.status_code == 400
    assert not runs.runs


def test_charset_after_the_content_type_is_accepted(client: TestClient) -> None:
    assert post(client, body_of(PUSH), Content_Type="application/json; charset=utf-8").status_code == 202


@pytest.mark.parametrize(("size", "http"), [(LIMIT, 202), (LIMIT + 1, 413)])
def test_body_is_limited(client: TestClient, size: int, http: int) -> None:
    body = body_of(PUSH)
    assert post(client, body + b" " * (size - len(body))).status_code == http


def test_body_of_unknown_length_is_limited_while_it_comes(client: TestClient) -> None:
    answer = client.post(PATH, content=(b"x" * 1024 for _ in range(100)))
    assert answer.status_code == 413


def test_reading_ends_at_githubs_cap_however_much_is_sent(client: TestClient) -> None:
    """An endless body is not read to its end, which does not exist."""
    taken = 0
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 1_000_000, "more_body": True}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert status == [413]
    assert taken <= 30


@pytest.mark.parametrize(
    ("failure", "http"),
    [(Transient("Prefect is busy. Redeliver."), 503), (Permanent("There is no deployment."), 500)],
)
def test_failure_to_create_the_run_is_told_to_the_sender(
    client: TestClient, runs: FakeRuns, failure: Exception, http: int
) -> None:
    runs.failure = failure
    answer = post(client, body_of(PUSH))
    assert answer.status_code == http
    assert answer.json() == {"status": "failed", "detail": str(failure)}


def test_log_line_is_one_object_with_delivery_and_run_but_no_payload_and_no_secret(
    client: TestClient, lines: list[str]
) -> None:
    payload = PUSH | {"pusher": {"email": "somebody@example.org"}}
    answer = post(client, body_of(payload))
    (line,) = lines
    record = json.loads(line)
    assert record["delivery"] == "0b6a-1"
    assert record["http"] == 202
    assert UUID(record["flow_run_id"]) == UUID(answer.json()["flow_run_id"])
    assert "\n" not in line
    assert SECRET not in line
    assert "somebody@example.org" not in line


def test_delivery_id_that_is_none_is_not_logged(client: TestClient, lines: list[str]) -> None:
    post(client, b"{}", X_GitHub_Delivery="x" * 4000, X_Hub_Signature_256="sha256=0")
    (line,) = lines
    assert json.loads(line)["delivery"] is None


def test_health_names_environment_and_repository(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.json() == {"status": "ok", "environment": "test", "repository": REPOSITORY}


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_receiver_describes_itself_to_nobody(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def failed_start(app: FastAPI) -> list[str]:
    """The messages with which the app refuses to start."""
    messages: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        assert message["type"] == "lifespan.startup.failed"
        messages.append(message["message"])

    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send))
    return messages


def test_refused_start_is_one_sentence() -> None:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Receiver]:
        raise Refused("There is no block for 'moon'.")
        yield

    assert failed_start(create_app(opener)) == ["There is no block for 'moon'."]


def test_unforeseen_failure_of_the_start_ends_it_as_well() -> None:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Receiver]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError), TestClient(create_app(opener)):
        pass


def test_start_without_an_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POINTSMAN_ENVIRONMENT", raising=False)
    (message,) = failed_start(create_app())
    assert "POINTSMAN_ENVIRONMENT" in message
    assert "\n" not in message
