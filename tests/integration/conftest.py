"""One emulator a module, and what the tests of its behaviour stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import docker
import httpx
import pytest

from sandbox.base_image import NODE, ensure_base_image
from tests.integration.images import operation, place
from tests.integration.provisioned import Provisioned, provisioned_account
from tests.integration.stand import Emulator, Stack, make_stack, running

__all__ = ["operation", "place"]


@pytest.fixture(scope="module")
def image() -> str:
    client = docker.from_env()
    try:
        return ensure_base_image(client, "pointsman/node:sandbox", NODE)
    finally:
        client.close()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    """An account and an environment with authorization in force; made once, as a load balancer takes a minute."""
    with provisioned_account(tmp_path_factory.mktemp("provisioned")) as made:
        yield made


@pytest.fixture
def stack(aws: Emulator, image: str, request: pytest.FixtureRequest) -> Iterator[Stack]:
    made = make_stack(aws, image, f"t{abs(hash(request.node.name)) % 10**8}")
    yield made
    made.end()


@pytest.fixture
def faults(aws: Emulator) -> Iterator[Callable[..., None]]:
    url = f"{aws.url}/_pointsman/faults"

    def add(**fault: Any) -> None:
        httpx.post(url, json=fault, trust_env=False).raise_for_status()

    yield add
    httpx.delete(url, trust_env=False)
