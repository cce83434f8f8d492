"""Deliveries to the receiver: one run a release however often it is delivered, all else told in a sentence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sandbox.github import push_payload, send, sign
from sandbox.operator import Operator

pytestmark = pytest.mark.e2e

COMMIT, OTHER_COMMIT = "1f" * 20, "2e" * 20


@pytest.fixture
def address(operator: Operator) -> str:
    return f"{operator.sandbox.settings.webhook_url}/webhooks/github"


@pytest.fixture
def repository(operator: Operator) -> str:
    return operator.settings.source.github_repository


@pytest.fixture
def tag() -> str:
    """A version that no other test, and no earlier run of this one, has ever delivered; it has no tag to release."""
    return f"v0.0.{uuid.uuid4().int % 10**12}"


@pytest.fixture
def no_run(operator: Operator) -> Iterator[None]:
    """See that no run is made."""
    before = _count(operator)
    yield
    assert _count(operator) == before


def _count(operator: Operator, **named: Any) -> int:
    body = {"flow_runs": {"name": named}} if named else {"flows": {"name": {"any_": ["release"]}}}
    return int(operator.api.post("/flow_runs/count", json=body).raise_for_status().json())


def _post(operator: Operator, address: str, body: bytes, **headers: str | None) -> httpx.Response:
    """Send a body as GitHub would, signed; a header that is None is left out."""
    sent: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(operator.sandbox.webhook_secret(), body),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    kept = {name: value for name, value in sent.items() if value is not None}
    return httpx.post(address, content=body, headers=kept, timeout=10, trust_env=False)


def _told(answer: httpx.Response, status: int, kind: str) -> str:
    """See the status, that it took no second, and that one sentence says why; return that."""
    assert answer.status_code == status, answer.text
    assert answer.elapsed.total_seconds() < 1
    body = answer.json()
    assert set(body) == {"status", "detail"}
    assert body["status"] == kind
    sentence: str = body["detail"]
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# --- a release is one run


def test_repeated_deliveries_make_one_run(operator: Operator, address: str, repository: str, tag: str) -> None:
    secret = operator.sandbox.webhook_secret()

    def deliver(commit: str, annotated: bool) -> httpx.Response:
        payload = push_payload(repository=repository, tag=tag, commit=commit, annotated=annotated)
        return send(address, secret, "push", payload)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: deliver(COMMIT, n % 2 == 0), range(8)))
    answers.append(deliver(COMMIT, True))
    for answer in answers:
        assert answer.status_code == 202, answer.text
        assert answer.elapsed.total_seconds() < 1
        assert answer.json()["status"] == "accepted"
    (run_id,) = {answer.json()["flow_run_id"] for answer in answers}
    assert answers[0].json()["url"] == operator.page(run_id)

    moved = deliver(OTHER_COMMIT, True)
    assert moved.status_code == 202
    assert moved.json()["flow_run_id"] != run_id, "another commit is another release"

    for one, commit in ((run_id, COMMIT), (moved.json()["flow_run_id"], OTHER_COMMIT)):
        run = operator.wait(one)
        assert run.name == f"{tag} → sandbox"
        assert run.type == "FAILED"
        assert f"The tag {tag} does not exist" in run.message
        found = operator.api.get(f"/flow_runs/{one}").raise_for_status().json()
        assert found["parameters"]["tag"] == tag
        assert found["parameters"]["environment"] == "sandbox"
        assert found["parameters"]["commit"] == commit
        assert {tag, "sandbox"} <= set(found["tags"])
        for part in ("sandbox", repository, tag, commit):
            assert part in found["idempotency_key"]
    assert _count(operator, any_=[f"{tag} → sandbox"]) == 2


# --- heard, and nothing to do


@pytest.mark.usefixtures("no_run")
def test_ping_is_answered(operator: Operator, address: str, repository: str) -> None:
    payload: dict[str, object] = {
        "zen": "Design for failure.",
        "hook": {"events": ["push"]},
        "repository": {"full_name": repository},
    }
    answer = send(address, operator.sandbox.webhook_secret(), "ping", payload)
    assert repository in _told(answer, 200, "pong")


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("event", ["pull_request", "create", "release", "delete"])
def test_other_events_are_ignored(operator: Operator, address: str, repository: str, tag: str, event: str) -> None:
    payload = push_payload(repository=repository, tag=tag, commit=COMMIT)
    answer = send(address, operator.sandbox.webhook_secret(), event, payload)
    assert event in _told(answer, 202, "ignored")


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("annotated", [True, False])
def test_deleted_tag_is_ignored(operator: Operator, address: str, repository: str, tag: str, annotated: bool) -> None:
    payload = push_payload(repository=repository, tag=tag, commit=COMMIT, annotated=annotated, deleted=True)
    answer = send(address, operator.sandbox.webhook_secret(), "push", payload)
    sentence = _told(answer, 202, "ignored")
    assert tag in sentence
    assert "deleted" in sentence


@pytest.mark.usefixtures("no_run")
def test_another_repository_is_ignored(operator: Operator, address: str, repository: str, tag: str) -> None:
    payload = push_payload(repository="somebody/connections", tag=tag, commit=COMMIT)
    sentence = _told(send(address, operator.sandbox.webhook_secret(), "push", payload), 202, "ignored")
    assert "somebody/connections" in sentence
    assert repository in sentence


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/v1.4.0", "refs/tags/nightly"])
def test_what_is_no_version_tag_is_ignored(
    operator: Operator, address: str, repository: str, tag: str, ref: str
) -> None:
    payload = {**push_payload(repository=repository, tag=tag, commit=COMMIT), "ref": ref}
    sentence = _told(send(address, operator.sandbox.webhook_secret(), "push", payload), 202, "ignored")
    assert ref.removeprefix("refs/tags/") in sentence


# --- refused


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("bad", ["v1.4", "v1", "v01.2.3", "v1.2.3.4", "v1.2.3-", "vnext"])
def test_tag_that_is_no_semver_is_refused(operator: Operator, address: str, repository: str, bad: str) -> None:
    payload = push_payload(repository=repository, tag=bad, commit=COMMIT)
    answer = send(address, operator.sandbox.webhook_secret(), "push", payload)
    assert answer.status_code == 422, answer.text
    assert answer.elapsed.total_seconds() < 1
    assert answer.json()["status"] == "rejected"
    assert repr(bad) in answer.json()["detail"]
    assert "flow_run_id" not in answer.json()


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("how", ["missing", "empty", "another secret", "another body", "no prefix", "SHA-1"])
def test_bad_signature_is_refused(operator: Operator, address: str, repository: str, tag: str, how: str) -> None:
    body = json.dumps(push_payload(repository=repository, tag=tag, commit=COMMIT)).encode()
    right = sign(operator.sandbox.webhook_secret(), body)
    signature = {
        "missing": None,
        "empty": "",
        "another secret": sign("a guess", body),
        "another body": sign(operator.sandbox.webhook_secret(), body + b" "),
        "no prefix": right.removeprefix("sha256="),
        "SHA-1": right.replace("sha256=", "sha1="),
    }[how]
    answer = _post(operator, address, body, X_Hub_Signature_256=signature)
    assert "X-Hub-Signature-256" in _told(answer, 401, "rejected")
    assert right.removeprefix("sha256=") not in answer.text


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"", {}),
        (b"\xff\xfe", {}),
        (b"[]", {}),
        (b"null", {}),
        (b"{}", {}),
        (b"{}", {"X_GitHub_Event": None}),
        (b"[" * 100_000, {}),
        (b"payload=%7B%7D", {"Content_Type": "application/x-www-form-urlencoded"}),
    ],
)
def test_malformed_delivery_is_refused(
    operator: Operator, address: str, body: bytes, headers: dict[str, str | None]
) -> None:
    _told(_post(operator, address, body, **headers), 400, "rejected")


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("lost", ["ref", "repository", "head_commit"])
def test_push_without_what_a_release_needs_is_refused(
    operator: Operator, address: str, repository: str, tag: str, lost: str
) -> None:
    payload = push_payload(repository=repository, tag=tag, commit=COMMIT)
    del payload[lost]
    answer = send(address, operator.sandbox.webhook_secret(), "push", payload)
    assert lost in _told(answer, 400, "rejected")


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("signed", [True, False])
def test_delivery_that_is_too_large_is_refused(operator: Operator, address: str, signed: bool) -> None:
    body = b'{"padding": "' + b"x" * 5_000_000 + b'"}'
    headers: dict[str, str | None] = {} if signed else {"X_Hub_Signature_256": "sha256=" + "0" * 64}
    assert "larger than" in _told(_post(operator, address, body, **headers), 413, "rejected")


@pytest.mark.usefixtures("no_run")
def test_other_paths_and_methods_are_refused(operator: Operator, address: str) -> None:
    assert httpx.get(address, trust_env=False).status_code == 405
    assert httpx.post(f"{address}/more", trust_env=False).status_code == 404
    health = httpx.get(f"{operator.sandbox.settings.webhook_url}/healthz", trust_env=False)
    assert health.status_code == 200
    assert health.json() == {"status": "ok"}
