"""One bounded HTTP request on a fresh connection to one address, as curl makes it with --connect-to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import Permanent
from core.settings import SmokeCheck
from core.smoke import Answer

__all__ = ["KEPT", "Endpoint", "ask"]

KEPT = 64 * 1024
"""As much of a body is kept; the rest is read and dropped."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of a name: those to ask, and those left out because this machine has no route to them."""

    reachable: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """A listener as a client reaches it: the name it asks for and, where that does not resolve, its addresses."""

    scheme: str
    host: str
    port: int
    connect_to: tuple[str, ...] = ()

    def addresses(self) -> Addresses:
        """Return every address that the name resolves to, separated by whether there is a route to it."""
        if self.connect_to:
            return Addresses(self.connect_to)
        found = tuple(dict.fromkeys(str(entry[4][0]) for entry in self._resolve()))
        reachable = tuple(address for address in found if _has_route(address, self.port))
        if not reachable:
            raise Permanent(
                f"The name {self.host} has no address that this machine can reach",
                why=f"there is no route to {', '.join(found)}",
                do="Set traffic.connect_to, or give the worker a route.",
            )
        return Addresses(reachable, tuple(address for address in found if address not in reachable))

    @property
    def authority(self) -> str:
        """The host as a browser names it: with its port only where that is not the scheme's own.

        https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3
        """
        own = {"http": 80, "https": 443}.get(self.scheme)
        return self.host if self.port == own else f"{self.host}:{self.port}"

    def _resolve(self) -> list[Any]:
        try:
            # Families of which this machine has no address are left out by the resolver.
            return list(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
        except socket.gaierror as error:
            raise Permanent(
                f"The name {self.host} does not resolve",
                why=str(error),
                do="Set traffic.host or traffic.connect_to.",
            ) from error

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def _has_route(address: str, port: int) -> bool:
    """Whether the kernel has a route: connecting a UDP socket sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
    except OSError:
        return False
    return True


def ask(endpoint: Endpoint, address: str, check: SmokeCheck) -> Answer:
    """Send one request; whatever the other side does, return within the check's time and keep a bounded answer."""
    began = time.monotonic()
    host = f"[{address}]" if ":" in address else address
    deadline = _Deadline(check.within_seconds)
    try:
        with (
            deadline.running(),
            httpx.Client(timeout=check.within_seconds, trust_env=False) as client,
            client.stream(
                check.method,
                f"{endpoint.scheme}://{host}:{endpoint.port}{check.path}",
                content=check.body,
                headers=_headers(endpoint, check),
                extensions={"sni_hostname": endpoint.host, "trace": deadline.trace},
            ) as response,
        ):
            body = _first(response.iter_raw())
            text = body.decode(response.charset_encoding or "utf-8", errors="replace")
        if not deadline.passed:
            location = response.headers.get("Location", "")
            return Answer(response.status_code, text, time.monotonic() - began, location=location)
    except (httpx.HTTPError, OSError, ValueError, LookupError) as error:
        if not deadline.passed:
            return Answer(None, "", time.monotonic() - began, f"{type(error).__name__}: {error}")
    return Answer(None, "", time.monotonic() - began, f"no complete answer within {check.within_seconds:g} s")


def _headers(endpoint: Endpoint, check: SmokeCheck) -> httpx.Headers:
    headers = httpx.Headers(
        {"Host": check.host or endpoint.authority, "Connection": "close", "Accept-Encoding": "identity"}
    )
    if check.body:
        headers["Content-Type"] = "application/json"
    headers.update(check.headers)
    return headers


def _first(chunks: Iterator[bytes]) -> bytes:
    kept = bytearray()
    for chunk in chunks:
        kept += chunk[: KEPT - len(kept)]
    return bytes(kept)


class _Deadline:
    """Ends a request as a whole: httpx bounds each read, and a server that sends a byte a second never ends one."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.passed = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count down while the block runs."""
        self._timer.start()
        try:
            yield
        finally:
            self._timer.cancel()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take hold of the connection once it is made; see httpx's request extensions."""
        if event == "connection.connect_tcp.complete":
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self.passed:
                    self._shut()

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Not the TLS layer's own method, which another thread may be in.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
