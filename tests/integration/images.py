"""The scene of the tests of images: a real engine, a real registry, and a release's operation between them."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import docker
import httpx
import pytest
from botocore.config import Config
from prefect.logging import disable_run_logger
from prefect_docker import DockerHost

from core.colour import Colour
from core.version import Version
from lifecycle.acquire import take_at_once
from operation.operation import Operation
from systems.docker import list_images, remove_images
from tasks.checkout import Checkout
from tasks.image import build_image, push_image
from tests.unit.facts import COMMIT, INFRASTRUCTURE, environment, owner, settings_with
from tests.unit.fakes import Block, FakeAws, operation_of

ROOT = Path(__file__).resolve().parents[2]
# Only with an endpoint of its own may a registry stand elsewhere than at AWS.
EMULATED = '[aws]\nendpoint_url = "http://127.0.0.1:4566"\n'
DOCKERFILE = """\
FROM scratch AS base
ARG WORD=none
COPY . /
LABEL word=$WORD
FROM base AS test
COPY hello /only-for-tests
"""


@dataclass
class Account(FakeAws):
    """Records in memory, images in a real registry."""

    registry: Any = None
    secrets: Any = None

    def __call__(self, service: str, region: str | None = None) -> Any:
        real = {"ecr": self.registry, "secretsmanager": self.secrets}
        return real[service] if service in real else super().__call__(service)


@dataclass
class Place:
    """A registry's address, and the names of what was made in it."""

    port: int
    ecr: Any
    secrets: Any
    made: list[str] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"localhost:{self.port}/team/shop"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("registry")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator"],
            cwd=ROOT,
            env={**os.environ, "GATEWAY_PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: httpx.get(f"{url}/_ministack/health", trust_env=False).status_code == 200)
        ecr, secrets = (
            boto3.client(
                service,
                endpoint_url=url,
                region_name="eu-west-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(proxies={}),
            )
            for service in ("ecr", "secretsmanager")
        )
        ecr.create_repository(repositoryName="team/shop", imageTagMutability="IMMUTABLE")
        yield Place(port, ecr, secrets)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def _wait(ready: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no registry within {seconds} s")


@pytest.fixture
def operation(place: Place) -> Iterator[Operation]:
    host = DockerHost()
    account = Account(registry=place.ecr, secrets=place.secrets)
    made = operation_of(account, settings_with(EMULATED), owner(), docker_host=host)
    infrastructure = INFRASTRUCTURE.model_copy(update={"ecr_repository_url": place.repository})
    made.records.change_environment(lambda r: environment(infrastructure=infrastructure))
    with disable_run_logger():
        take_at_once(made)
        made.journal.begin_attempt("v1.1.0", COMMIT, Colour.GREEN)
        yield made
        made.close()
        remove_images(host, [tag for image in list_images(host, place.repository) for tag in image.references])


def checkout_of(folder: Path, word: str) -> Checkout:
    root = folder / "source"
    (root / ".git").mkdir(parents=True)
    (root / "app" / ".git").mkdir(parents=True)
    for path, text in {
        "Dockerfile": DOCKERFILE,
        ".dockerignore": "!.git\n!.git/config\n!**/.git/config\n",
        "hello": word,
        ".git/config": "secret",
        "app/.git/config": "secret",
    }.items():
        (root / path).write_text(text)
    return Checkout(Version.parse("v1.1.0"), hashlib.sha1(word.encode()).hexdigest(), root, ())


def configure(operation: Operation, more: str) -> None:
    assert isinstance(operation.block, Block)
    operation.block.settings = settings_with(EMULATED + more)


def tags(operation: Operation, place: Place) -> set[str]:
    found = list_images(operation.block.docker_host, place.repository)
    return {tag.rpartition(":")[2] for image in found for tag in image.references}


def files_of(image: str) -> set[str]:
    client = docker.from_env()
    try:
        container = client.api.create_container(image, command=["none"])["Id"]
        try:
            exported = b"".join(client.api.export(container))
        finally:
            client.api.remove_container(container)
    finally:
        client.close()
    listed = subprocess.run(["tar", "--list"], input=exported, capture_output=True, check=True).stdout
    return {name for name in listed.decode().splitlines() if not name.endswith("/")}


def pushed_image(operation: Operation, checkout: Checkout) -> str:
    """Build and push a version's image, as a release does one after the other; return its reference."""
    return push_image.fn(operation, build_image.fn(operation, checkout))
