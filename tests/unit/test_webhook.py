"""The receiver over HTTP, with one fake: whoever creates the flow runs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_docker import DockerHost
from pydantic import SecretStr, ValidationError

from blocks.__main__ import usable_secret
from blocks.environment import ReleaseEnvironment
from core.errors import Permanent, Refused, Transient
from core.github_event import Release, Wanted, run_key
from core.tag_pattern import TagPattern
from sandbox.github import push_payload, sign
from webhook.app import Receiver, Served, accepted_secrets, create_app, log, read_secrets
from webhook.delivery import Intake, is_signed
from webhook.runs import CreatedRun
from webhook.settings import ReceiverSettings

SECRET, PREVIOUS = "a secret of the tests", "the secret before it"
REPOSITORY = "cursive-team/connections"
COMMIT = "1f" * 20
LIMIT = 64 * 1024
BODIES = 3
WELL_FORMED = "sha256=" + "0" * 64
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
        intake = Intake(max_bytes=LIMIT, seconds=5, max_bodies=BODIES)
        yield Receiver((Served("test", Wanted(REPOSITORY), (SECRET.encode(), PREVIOUS.encode()), runs),), intake)

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
        pytest.param("push", PUSH | {"ref": "refs/tags/v1.2.3-rc.1"}, 202, "ignored", id="pre_release"),
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


def test_a_delivery_signed_with_the_previous_secret_is_accepted(client: TestClient) -> None:
    body = body_of(PUSH)
    assert post(client, body, X_Hub_Signature_256=sign(PREVIOUS, body)).status_code == 202


def test_signature_header_may_hold_any_bytes() -> None:
    assert not is_signed(b"{}", "sha256=\xff\xe9", [b"secret"])


def test_signature_is_the_one_of_githubs_documentation() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert is_signed(b"Hello, World!", f"sha256={digest}", [b"another", b"It's a Secret to Everybody"])


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
    headers = {"X-Hub-Signature-256": WELL_FORMED}
    answer = client.post(PATH, content=(b"x" * 1024 for _ in range(100)), headers=headers)
    assert answer.status_code == 413


def scope_of(**headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def asked(app: Any, receive: Any, **headers: str) -> int:
    """The status with which the app answers a request whose body `receive` gives."""
    status: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(scope_of(**headers), receive, send)
    return status[0]


def test_an_endless_body_is_read_no_further_than_the_limit(client: TestClient) -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    assert asyncio.run(asked(client.app, receive, X_Hub_Signature_256=WELL_FORMED)) == 413
    assert taken == LIMIT / 1024 + 1


@pytest.mark.parametrize(
    ("headers", "http"),
    [
        ({}, 401),
        ({"X_Hub_Signature_256": "sha256=0"}, 401),
        ({"X_Hub_Signature_256": "sha1=" + "0" * 40}, 401),
        ({"Content_Length": str(LIMIT + 1)}, 401),
        ({"X_Hub_Signature_256": WELL_FORMED, "Content_Length": str(LIMIT + 1)}, 413),
    ],
)
def test_what_the_headers_give_away_is_refused_before_the_body_is_read(
    client: TestClient, headers: dict[str, str], http: int
) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    assert asyncio.run(asked(client.app, receive, **headers)) == http


def test_only_so_many_bodies_are_read_at_a_time(client: TestClient) -> None:
    """Bodies that never come hold all places; the next delivery is told to come again, and a place is free later."""

    async def all_at_once() -> list[int]:
        go_on = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await go_on.wait()
            return {"type": "http.request", "body": b"{}", "more_body": False}

        def ask() -> asyncio.Task[int]:
            return asyncio.create_task(asked(client.app, receive, X_Hub_Signature_256=WELL_FORMED))

        waiting = [ask() for _ in range(BODIES)]
        await asyncio.sleep(0.05)
        refused = await ask()
        go_on.set()
        return [refused, *await asyncio.gather(*waiting), await ask()]

    assert asyncio.run(all_at_once()) == [503, *[401] * BODIES, 401]


def test_a_body_that_takes_too_long_is_given_up(runs: FakeRuns) -> None:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Receiver]:
        served = Served("test", Wanted(REPOSITORY), (b"x" * 16,), runs)
        yield Receiver((served,), Intake(LIMIT, seconds=0.2, max_bodies=1))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with TestClient(create_app(opener)) as client:
        assert asyncio.run(asked(client.app, receive, X_Hub_Signature_256=WELL_FORMED)) == 408


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


def test_health_tells_nobody_for_what_it_runs(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_no_redirect_names_the_host_header(client: TestClient) -> None:
    answer = client.post(f"{PATH}/", headers={"Host": "evil.example.com"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers


def environment_with(*secrets: str) -> ReleaseEnvironment:
    blocks = [Secret(value=SecretStr(secret)) for secret in secrets]
    return ReleaseEnvironment(
        stage="test",
        aws_credentials=AwsCredentials(),
        docker_host=DockerHost(),
        webhook_secret=blocks[0],
        previous_webhook_secret=blocks[1] if len(blocks) > 1 else None,
    )


@pytest.mark.parametrize(
    "secrets",
    [
        pytest.param(["a" * 16], id="one"),
        pytest.param(["a" * 16, "b" * 64], id="two"),
        pytest.param(["1234567890123456789", '"a quoted secret"'], id="what_looks_like_json"),
    ],
)
def test_secrets_are_accepted_as_they_were_typed(secrets: list[str]) -> None:
    assert accepted_secrets(environment_with(*secrets)) == tuple(secret.encode() for secret in secrets)


@pytest.mark.parametrize("secrets", [[""], ["x"], ["null"], ["a" * 15], ["a" * 16, "b" * 15]])
def test_a_secret_that_could_be_guessed_is_refused(secrets: list[str]) -> None:
    with pytest.raises(Refused, match="A webhook secret of test is not usable: it is shorter than 16 characters"):
        accepted_secrets(environment_with(*secrets))


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        pytest.param("a" * 16, ["a" * 16], id="one"),
        pytest.param(f"{'a' * 16}\r\n\n  {'b' * 64}  \n", ["a" * 16, "b" * 64], id="two lines"),
        pytest.param("a secret of some words", ["a secret of some words"], id="with spaces"),
    ],
)
def test_secrets_come_from_a_file_one_a_line(text: str, secrets: list[str], tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(text)
    assert read_secrets(file) == tuple(secret.encode() for secret in secrets)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe" * 20, "cannot be read"),
        (b"\n \n", "is not usable: there is none"),
        (b"a" * 16 + b"\n" + b"b" * 15, "is not usable: it is shorter than 16 characters"),
    ],
)
def test_a_file_without_usable_secrets_is_refused(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refused, match=why):
        read_secrets(file)


def test_a_secret_that_could_be_guessed_is_not_registered() -> None:
    assert usable_secret("test", "a" * 16) == "a" * 16
    with pytest.raises(Refused, match="too short: it has 15 characters"):
        usable_secret("test", "a" * 15)


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


# --- several applications, one receiver


API, WEB, OTHER = FakeRuns(), FakeRuns(), FakeRuns()
OTHERS_SECRET = "of another team, long enough"


@pytest.fixture
def shared() -> Iterator[TestClient]:
    """A receiver of two applications of one repository, by prefix, and of one of another repository."""
    for runs in (API, WEB, OTHER):
        runs.runs, runs.failure = {}, None

    @asynccontextmanager
    async def opener() -> AsyncIterator[Receiver]:
        served = (
            Served("api", Wanted(REPOSITORY, TagPattern("api/v*")), (SECRET.encode(),), API),
            Served("web", Wanted(REPOSITORY, TagPattern("web/v*")), (SECRET.encode(),), WEB),
            Served("other", Wanted("else/where"), (OTHERS_SECRET.encode(),), OTHER),
        )
        yield Receiver(served, Intake(max_bytes=LIMIT, seconds=5, max_bodies=BODIES))

    with TestClient(create_app(opener)) as client:
        yield client


def pushed(tag: str, repository: str = REPOSITORY) -> bytes:
    return body_of(push_payload(repository=repository, tag=tag, commit=COMMIT))


@pytest.mark.parametrize(("tag", "released"), [("api/v1.2.3", API), ("web/v1.2.3", WEB)])
def test_a_tag_is_released_by_the_application_whose_prefix_it_has(
    shared: TestClient, tag: str, released: FakeRuns
) -> None:
    answer = post(shared, pushed(tag))
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert [len(runs.runs) for runs in (API, WEB, OTHER)] == [int(runs is released) for runs in (API, WEB, OTHER)]
    assert answer.json()["detail"].startswith(f"{tag} at")


def test_a_tag_of_another_repository_is_released_by_its_application(shared: TestClient) -> None:
    body = pushed("v1.2.3", "else/where")
    answer = post(shared, body, X_Hub_Signature_256=sign(OTHERS_SECRET, body))
    assert answer.json()["status"] == "accepted"
    assert len(OTHER.runs) == 1


def test_who_may_announce_one_applications_tags_may_not_announce_anothers(shared: TestClient) -> None:
    answer = post(shared, pushed("v1.2.3", "else/where"))
    assert answer.json()["status"] == "ignored"
    body = pushed("api/v1.2.3")
    answer = post(shared, body, X_Hub_Signature_256=sign(OTHERS_SECRET, body))
    assert answer.json()["status"] == "ignored"
    assert [len(runs.runs) for runs in (API, WEB, OTHER)] == [0, 0, 0]


def test_a_tag_that_is_nobodys_is_ignored_and_told_by_each_of_its_repository(shared: TestClient) -> None:
    answer = post(shared, pushed("v1.2.3"))
    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert "api/v*" in answer.json()["detail"]
    assert "web/v*" in answer.json()["detail"]


def test_a_tag_that_fits_and_is_no_version_is_refused(shared: TestClient) -> None:
    answer = post(shared, pushed("api/v1.2"))
    assert (answer.status_code, answer.json()["status"]) == (422, "rejected")


def test_a_run_that_was_not_created_is_what_is_answered(shared: TestClient) -> None:
    API.failure = Transient("Prefect is down")
    assert post(shared, pushed("api/v1.2.3")).status_code == 503
    assert post(shared, pushed("web/v1.2.3")).status_code == 202


@pytest.mark.parametrize(
    ("given", "served"),
    [("production", ("production",)), ("api-production, web-production", ("api-production", "web-production"))],
)
def test_a_receiver_serves_the_environments_that_are_named(given: str, served: tuple[str, ...]) -> None:
    assert ReceiverSettings.model_validate({"POINTSMAN_ENVIRONMENT": given}).environments == served


@pytest.mark.parametrize("given", ["", ",", "a,,b", "a b"])
def test_a_list_with_a_hole_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        ReceiverSettings.model_validate({"POINTSMAN_ENVIRONMENT": given})
