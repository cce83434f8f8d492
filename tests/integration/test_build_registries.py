"""Base images from registries that want a login, and layers from the registry for an engine that has none."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import docker.errors
import httpx
import pytest

from core.errors import Permanent
from operation.operation import Operation
from systems.platforms import smallest_program
from tasks.image import build_image
from tests.integration.images import Place, checkout_of, configure, pushed_image
from tests.integration.test_build_secrets import Lines, log, watched_command_lines, with_dockerfile
from tests.unit.facts import live

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

STEPS = 'FROM scratch\nCOPY exit /exit\nRUN ["/exit"]\nCOPY hello /hello\n'
INLINE_CACHE = "moby.buildkit.cache.v0"


def cache_in(reference: str) -> bool:
    """Whether an image's configuration in the registry says which steps made its layers."""
    host, _, path = reference.partition("/")
    repository, _, digest = path.partition("@")
    accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = httpx.get(f"http://{host}/v2/{repository}/manifests/{digest}", headers=accepted, trust_env=False).json()
    blob = f"http://{host}/v2/{repository}/blobs/{manifest['config']['digest']}"
    return INLINE_CACHE in httpx.get(blob, follow_redirects=True, trust_env=False).json()


@pytest.mark.parametrize("cache", ["local", "registry"])
def test_layers_of_what_is_live_are_asked_of_the_registry_where_that_is_wanted(
    operation: Operation, tmp_path: Path, log: Lines, cache: str
) -> None:
    configure(operation, f'[image]\ncache = "{cache}"\n[docker]\nbuild_network = "none"\n')
    checkouts = [with_dockerfile(checkout_of(tmp_path / name, f"{name} {cache}"), STEPS) for name in ("one", "two")]
    for checkout in checkouts:
        program = checkout.directory / "exit"
        program.write_bytes(smallest_program("linux/amd64"))
        program.chmod(0o755)

    reference = pushed_image(operation, checkouts[0])
    assert cache_in(reference) is (cache == "registry")
    assert "importing cache" not in "\n".join(log.said), "nothing is live yet"

    was = live("v1.0.0")
    was = was.model_copy(update={"release": was.release.model_copy(update={"image": reference})})
    operation.records.change_environment(lambda r: r.model_copy(update={"live": was}))
    log.said.clear()
    assert pushed_image(operation, checkouts[1]) != reference
    said = "\n".join(log.said)
    assert (f"importing cache manifest from {reference}" in said) is (cache == "registry")
    assert "ERROR" not in said
