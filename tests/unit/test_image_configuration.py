"""What an image says of itself is foreign text: it is read up to a length."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

import pytest

from core.errors import Permanent
from systems.aws import AwsClients
from systems.ecr import RegistryImage, read_labels

IMAGE = RegistryImage("sha256:a", frozenset({"sha256:a"}), "sha256:b")


class Layers(BaseHTTPRequestHandler):
    """Answers with a configuration, or with bytes without an end."""

    sent: ClassVar[int] = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path == "/labels":
            self.wfile.write(json.dumps({"config": {"Labels": {"version": "v1"}}}).encode())
            return
        try:
            while True:
                Layers.sent += self.wfile.write(b" " * 65_536)
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Layers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def account(url: str) -> AwsClients:
    class Ecr:
        def get_download_url_for_layer(self, **_of: str) -> dict[str, str]:
            return {"downloadUrl": url}

    return cast(AwsClients, lambda _service: Ecr())


def test_labels_are_read(address: str) -> None:
    assert read_labels(account(f"{address}/labels"), "team/shop", IMAGE) == {"version": "v1"}


def test_a_configuration_without_an_end_is_refused(address: str) -> None:
    with pytest.raises(Permanent, match="could not be read") as refusal:
        read_labels(account(f"{address}/endless"), "team/shop", IMAGE)
    assert "longer than" in refusal.value.why
    assert Layers.sent < 16 * 1024 * 1024
