"""Small real HTTP servers on several loopback addresses of one port, each with answers of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from core.release import Release

Answering = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as its server was told."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked += 1
        try:
            server.answering(self)
        except OSError:  # the client has gone
            return

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def reply(self, body: bytes, status: int = 200) -> None:
        """Answer as a whole."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def as_release(release: Release, *, after: float = 0.0) -> Answering:
    """Name a release, as `/version` does."""

    def answer(handler: Handler) -> None:
        time.sleep(after)
        handler.reply(json.dumps({"version": release.version, "revision": release.revision}).encode())

    return answer


class Servers:
    """One port on several addresses."""

    def __init__(self, *addresses: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._servers: dict[str, Any] = {
            address: ThreadingHTTPServer((address, self.port), Handler) for address in addresses
        }
        for server in self._servers.values():
            server.daemon_threads = True
            server.asked = 0
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, answering: Answering, *addresses: str) -> None:
        """Let these addresses answer so, or all of them."""
        for address in addresses or self._servers:
            self._servers[address].answering = answering

    def asked(self, address: str) -> int:
        """How often an address was asked."""
        return int(self._servers[address].asked)

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
