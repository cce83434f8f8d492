"""What a RUN step reaches on a real Docker engine: the stand-in of a machine's metadata service, or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest

from systems.docker import Build, build, child_environment
from systems.metadata import Services, answers_here, reached_by_builds
from tests.integration.stand import free_port

pytestmark = pytest.mark.integration


class Metadata:
    """An instance's metadata service on the address that containers know this machine by."""

    def __init__(self, gateway: str) -> None:
        self.answers = {"PUT": 200, "GET": 401}
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                owner.asked.append(f"{self.command} {self.path}")
                status = owner.answers[self.command]
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "5")
                    self.end_headers()
                    self.wfile.write(b"token")

            do_PUT = do_GET = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((gateway, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"{gateway}:{self._server.server_port}"
        self.nowhere = f"{gateway}:{free_port()}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    client = docker.from_env()
    try:
        gateway = client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    finally:
        client.close()
    made = Metadata(gateway)
    yield made
    made.close()


def reached(image: str, metadata: Metadata, folder: Path, *, network: str, task: bool = False) -> Any:
    services = Services(metadata.nowhere, metadata.address) if task else Services(metadata.address, metadata.nowhere)
    environment = child_environment(None, attestations=False)
    return reached_by_builds(
        image, network=network, environment=environment, folder=folder, timeout=120, services=services
    )


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        pytest.param({"PUT": 200, "GET": 401}, True, id="a token is given"),
        pytest.param({"PUT": 403, "GET": 200}, True, id="no token is asked for"),
        pytest.param({"PUT": 0, "GET": 401}, False, id="the token stays on the way, as by a hop limit of 1"),
    ],
)
def test_a_run_step_is_told_to_reach_credentials_where_it_does(
    image: str, metadata: Metadata, tmp_path: Path, answers: dict[str, int], found: bool
) -> None:
    metadata.answers = answers
    assert reached(image, metadata, tmp_path, network="default") == ((metadata.address,) if found else ())
    assert metadata.asked == ["PUT /latest/api/token", "GET /latest/meta-data/"]


def test_any_answer_of_a_task_s_endpoint_is_one_too_many(image: str, metadata: Metadata, tmp_path: Path) -> None:
    assert reached(image, metadata, tmp_path, network="default", task=True) == (metadata.address,)


def test_a_build_without_a_network_reaches_nothing(image: str, metadata: Metadata, tmp_path: Path) -> None:
    assert reached(image, metadata, tmp_path, network="none") == ()
    assert metadata.asked == []


def test_no_image_is_left_of_a_look(image: str, metadata: Metadata, tmp_path: Path) -> None:
    client = docker.from_env()
    try:
        before = {i.id for i in client.images.list(all=True)}
        reached(image, metadata, tmp_path, network="none")
        after = {i.id: i for i in client.images.list(all=True)}
        ours = [i for id, i in after.items() if id not in before and "pointsman-probe" in str(i.history())]
    finally:
        client.close()
    assert ours == []


def test_what_cannot_be_looked_at_is_not_called_closed(metadata: Metadata, tmp_path: Path) -> None:
    assert reached("scratch", metadata, tmp_path, network="default") is None


def test_this_machine_s_own_way_there_is_seen(metadata: Metadata) -> None:
    assert answers_here(Services(metadata.nowhere, metadata.address))
    assert not answers_here(Services(metadata.nowhere, metadata.nowhere))


def test_the_engine_itself_fetches_an_added_address_whatever_network_the_build_has(
    image: str, metadata: Metadata, tmp_path: Path
) -> None:
    """So a build without a network does not replace tokens: `ADD` asks without one, from the engine's own network."""
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD http://{metadata.address}/latest/meta-data/ /told\n")

    def built() -> str | None:
        wanted = Build(
            reference=f"pointsman-test/added:{metadata.address.rpartition(':')[2]}",
            platform="linux/amd64",
            dockerfile=tmp_path / "Dockerfile",
            context=tmp_path,
            id_file=tmp_path / "id",
            target=None,
            build_args={},
            labels={},
            network="none",
        )
        return build(
            wanted, environment=child_environment(None, attestations=False), on_line=lambda _: None, timeout=60
        )

    assert built() is None, "a service that asks for a token gives nothing"
    metadata.answers = {"PUT": 200, "GET": 200}
    made = built()
    assert made is not None
    client = docker.from_env()
    client.images.remove(made, force=True)
    client.close()
