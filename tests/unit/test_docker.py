"""What a push says, in each dialect of the engine; what the client gets of the worker's environment."""

from __future__ import annotations

from typing import Any

import pytest

from systems.docker import PushEnd, child_environment, read_push
from tests.unit.facts import DIGEST

Lines = list[dict[str, Any]]
OTHER = "sha256:" + "cd" * 32

CLASSIC: Lines = [
    {"status": "The push refers to repository [registry/team/shop]"},
    {"status": "Preparing", "progressDetail": {}, "id": "5d6f"},
    {"status": "Pushing", "progressDetail": {"current": 512, "total": 9_000}, "progress": "[=> ]", "id": "5d6f"},
    {"status": "Pushed", "progressDetail": {}, "id": "5d6f"},
    {"status": f"v1.1.0: digest: {DIGEST} size: 528"},
    {"progressDetail": {}, "aux": {"Tag": "v1.1.0", "Digest": DIGEST, "Size": 528}},
]
CONTAINERD: Lines = [
    {"status": "The push refers to repository [registry/team/shop]"},
    {"status": "Waiting", "progressDetail": {}, "id": "5d6f"},
    {"status": "Pushed", "progressDetail": {"current": 512, "total": 512}, "id": "5d6f"},
    {"status": f"v1.1.0: digest: {DIGEST} size: 856"},
]
ONE_PLATFORM_OF_AN_INDEX: Lines = [
    *CONTAINERD,
    {"aux": {"ManifestPushedInsteadOfIndex": True, "OriginalIndex": {"digest": OTHER}}},
]
REFUSED: Lines = [
    {"status": "Preparing", "progressDetail": {}, "id": "5d6f"},
    {"errorDetail": {"message": "denied: not authorized"}, "error": "denied: not authorized"},
]


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        pytest.param(CLASSIC, PushEnd(digest=DIGEST), id="classic store"),
        pytest.param(CLASSIC[-1:], PushEnd(digest=DIGEST), id="an object alone"),
        pytest.param(CONTAINERD, PushEnd(digest=DIGEST), id="containerd store"),
        pytest.param(ONE_PLATFORM_OF_AN_INDEX, PushEnd(digest=DIGEST), id="an object without a digest comes after it"),
        pytest.param(REFUSED, PushEnd(refusal="denied: not authorized"), id="refused"),
        pytest.param([{"errorDetail": {"message": "EOF"}}], PushEnd(refusal="EOF"), id="refused in the newer form"),
        pytest.param([*CONTAINERD, *REFUSED], PushEnd(DIGEST, "denied: not authorized"), id="refused after a digest"),
        pytest.param([{"status": "x: digest: sha256:abc size: 1"}], PushEnd(), id="no whole digest"),
        pytest.param([], PushEnd(), id="silence"),
    ],
)
def test_a_push_ends_as_the_engine_says(lines: Lines, end: PushEnd) -> None:
    assert read_push(lines, lambda _line: None) == end


def test_progress_is_left_out_of_what_a_push_says() -> None:
    said: list[str] = []
    read_push(CLASSIC, said.append)
    assert [line for line in said if line] == [
        "The push refers to repository [registry/team/shop]",
        "5d6f Preparing",
        "5d6f Pushed",
        f"v1.1.0: digest: {DIGEST} size: 528",
    ]


PASSED = {
    "PATH": "/usr/bin",
    "HOME": "/home/pointsman",
    "DOCKER_CERT_PATH": "/certs",
    "BUILDX_CONFIG": "/buildx",
    "BUILDKIT_COLORS": "run=green",
    "HTTPS_PROXY": "http://proxy:3128",
    "no_proxy": "localhost",
    "SSL_CERT_FILE": "/ca.pem",
}
KEPT_BACK = {
    "AWS_SECRET_ACCESS_KEY": "k",
    "AWS_SESSION_TOKEN": "t",
    "PREFECT_API_AUTH_STRING": "admin:p",
    "POINTSMAN_WEBHOOK_SECRET": "w",
    "POINTSMAN_SOURCE_TOKEN": "g",
    "DATABASE_URL": "postgresql://",
    "MY_PATH": "/elsewhere",
    "MY_DOCKER_THING": "1",
}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PASSED, **KEPT_BACK, "BUILDX_NO_DEFAULT_ATTESTATIONS": "maybe"}.items():
        monkeypatch.setenv(name, value)


def test_a_docker_client_gets_named_variables_and_no_secret(worker: None) -> None:
    environment = child_environment("tcp://engine:2376", attestations=False)
    assert PASSED.items() <= environment.items()
    assert not KEPT_BACK.keys() & environment.keys()
    assert environment["DOCKER_HOST"] == "tcp://engine:2376"
    assert environment["DOCKER_BUILDKIT"] == "1"


@pytest.mark.parametrize(("wanted", "off"), [(False, "1"), (True, "0")])
def test_attestations_are_made_only_where_they_are_asked_for(worker: None, wanted: bool, off: str) -> None:
    assert child_environment(None, attestations=wanted)["BUILDX_NO_DEFAULT_ATTESTATIONS"] == off
