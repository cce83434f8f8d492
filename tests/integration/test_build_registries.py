"""Base images from registries that want a login, and layers from the registry for an engine that has none."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import docker.errors
import httpx
import pytest
import requests.exceptions
from prefect_docker import DockerHost

from core.errors import Permanent
from operation.operation import Operation
from systems.docker import remove_images
from systems.platforms import _program
from tasks.image import build_image
from tests.integration.images import Place, checkout_of, configure, pushed_image
from tests.integration.test_build_secrets import Lines, log, watched_command_lines, with_dockerfile
from tests.unit.facts import live
from tests.unit.fakes import Block

__all__ = ["log"]

pytestmark = pytest.mark.integration
USER, PASSWORD = "acme", "dckr_pat_0123456789abcdef"


@dataclass
class Private:
    """A registry that wants a login, before one that does not; who came, and with what."""

    address: str
    seen: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def private(place: Place) -> Iterator[Private]:
    upstream = f"http://127.0.0.1:{place.port}"
    made = Private("")

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            made.seen.append((self.path, given))
            if given != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = {"Accept": self.headers.get("Accept", "*/*")}
            answer = httpx.request(self.command, upstream + self.path, headers=wanted, trust_env=False)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Docker-Content-Digest"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", answer.headers.get("Content-Length", str(len(answer.content))))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.content)

        do_HEAD = do_GET  # noqa: N815 - http.server calls it so

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    made.address = f"localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def base(place: Place, private: Private, tmp_path: Path) -> str:
    """A base image in the private registry, which the engine does not have."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /of-the-base\n")
    place.ecr.create_repository(repositoryName=f"team/base{private.address[-5:]}")
    pushed = f"localhost:{place.port}/team/base{private.address[-5:]}:v1"
    client = docker.from_env()
    try:
        client.images.build(path=str(tmp_path / "base"), tag=pushed)
        assert "digest" in client.images.push(pushed)
        client.images.remove(pushed)
    finally:
        client.close()
    return f"{private.address}/team/base{private.address[-5:]}:v1"


def registry(private: Private) -> str:
    return f"""
[image.registries."{private.address}"]
username = "{USER}"
password = {{ secret = "team/hub", key = "token" }}
"""


@pytest.fixture
def password(place: Place) -> Iterator[None]:
    place.secrets.create_secret(Name="team/hub", SecretString=json.dumps({"token": PASSWORD}))
    yield
    place.secrets.delete_secret(SecretId="team/hub", ForceDeleteWithoutRecovery=True)


def test_a_private_base_image_is_pulled_with_the_login_that_nobody_else_sees(
    operation: Operation, private: Private, base: str, password: None, tmp_path: Path, log: Lines
) -> None:
    checkout = with_dockerfile(checkout_of(tmp_path, "private"), f"FROM {base}\nCOPY hello /\n")
    with pytest.raises(Permanent, match="could not be built"):
        build_image.fn(operation, checkout)
    private.seen.clear()

    configure(operation, registry(private))
    with watched_command_lines() as command_lines:
        reference = pushed_image(operation, checkout)
    assert reference
    assert any(given.startswith("Basic ") for _, given in private.seen)
    told = "\n".join([*command_lines, *log.said, operation.record.model_dump_json()])
    for secret in (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert secret not in told
    # Neither is it in a file that the run made.
    written = [path for path in operation.workspace.folder("look").parent.rglob("*") if path.is_file()]
    assert any(path.name == "config.json" for path in written)
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]


def test_a_wrong_password_fails_with_the_registry_s_reason(
    operation: Operation, place: Place, private: Private, base: str, password: None, tmp_path: Path
) -> None:
    place.secrets.put_secret_value(SecretId="team/hub", SecretString=json.dumps({"token": "wrong-password"}))
    configure(operation, registry(private))
    checkout = with_dockerfile(checkout_of(tmp_path, "wrong"), f"FROM {base}\nCOPY hello /hello-wrong\n")
    with pytest.raises(Permanent, match="could not be built") as failure:
        build_image.fn(operation, checkout)
    assert "401" in failure.value.why or "authorization failed" in failure.value.why
    assert "wrong-password" not in str(failure.value)


# --- layers from the registry


@pytest.fixture
def other_engine(tmp_path: Path) -> Iterator[DockerHost]:
    """Another worker's engine: its own images and its own cache; it ends with the test."""
    address = f"unix://{tmp_path}/engine.sock"
    with (tmp_path / "engine.log").open("wb") as said:
        process = subprocess.Popen(
            [
                "dockerd",
                f"--data-root={tmp_path}/data",
                f"--exec-root={tmp_path}/exec",
                f"--pidfile={tmp_path}/engine.pid",
                f"--host={address}",
                "--storage-driver=vfs",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-masq=false",
            ],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    engine = DockerHost(base_url=address)
    try:
        _wait_for(engine, tmp_path / "engine.log")
        yield engine
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(engine: DockerHost, said: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with engine.get_client() as client:
                client.ping()
            return
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            time.sleep(0.3)
    raise AssertionError(said.read_text()[-2000:])


STEPS = 'FROM scratch\nCOPY exit /exit\nRUN ["/exit"]\nCOPY hello /hello\n'


def test_an_engine_that_has_nothing_takes_the_layers_of_what_is_live_from_the_registry(
    operation: Operation, place: Place, other_engine: DockerHost, tmp_path: Path, log: Lines
) -> None:
    configure(operation, '[image]\ncache = "registry"\n[docker]\nbuild_network = "none"\n')
    first = with_dockerfile(checkout_of(tmp_path / "first", "first"), STEPS)
    second = with_dockerfile(checkout_of(tmp_path / "second", "second"), STEPS)
    for checkout in (first, second):
        program = checkout.directory / "exit"
        program.write_bytes(_program("linux/amd64"))
        program.chmod(0o755)

    reference = pushed_image(operation, first)
    was = live("v1.0.0")
    was = was.model_copy(update={"release": was.release.model_copy(update={"image": reference})})
    operation.records.change_environment(lambda r: r.model_copy(update={"live": was}))

    assert isinstance(operation.block, Block)
    operation.block.docker_host = other_engine
    log.said.clear()
    pushed_image(operation, second)
    said = "\n".join(log.said)
    assert f"importing cache manifest from {reference}" in said
    step = next(line.split()[0] for line in log.said if 'RUN ["/exit"]' in line)
    assert f"{step} CACHED" in said, said
    history = operation.records.version("v1.1.0")
    assert history is not None
    assert len({image.built for image in history.images}) == 2
    remove_images(other_engine, [f"{place.repository}:{history.images[-1].tag}"])


def test_without_it_such_an_engine_builds_each_layer(
    operation: Operation, other_engine: DockerHost, tmp_path: Path, log: Lines
) -> None:
    configure(operation, '[docker]\nbuild_network = "none"\n')
    checkout = with_dockerfile(checkout_of(tmp_path / "local", "local"), STEPS)
    (checkout.directory / "exit").write_bytes(_program("linux/amd64"))
    (checkout.directory / "exit").chmod(0o755)
    assert isinstance(operation.block, Block)
    operation.block.docker_host = other_engine
    build_image.fn(operation, checkout)
    assert "CACHED" not in "\n".join(log.said)
