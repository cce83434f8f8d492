"""Real sockets for each ALB listener: its own port, on each of the load balancer's addresses."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from dataclasses import dataclass

from aiohttp import web

from emulator.data_plane import DataPlane
from emulator.proxy import MAX_LINE, Proxy
from emulator.settings import Settings
from emulator.upstream import tls

__all__ = ["ListenerSockets", "PortUnavailableError", "discard"]

logger = logging.getLogger("pointsman.listeners")
_GOODBYE = 5.0
_IDLE = 60.0


class PortUnavailableError(Exception):
    """A listener's port can't be opened on this machine."""


@dataclass(frozen=True, slots=True)
class _Open:
    servers: tuple[asyncio.Server, ...]
    http: web.Server


class ListenerSockets:
    """Opens, swaps and closes sockets; called from MiniStack's handlers."""

    def __init__(self, plane: DataPlane, proxy: Proxy, settings: Settings) -> None:
        self._plane = plane
        self._proxy = proxy
        self._hosts = settings.listener_hosts
        self._open: dict[str, _Open] = {}

    def bind(self, port: int) -> list[socket.socket]:
        """Bind and listen on the port of each address, so that a failure is known before the listener exists."""
        bound: list[socket.socket] = []
        try:
            for host in self._hosts:
                bound.append(_bind(host, port))
        except PortUnavailableError:
            discard(bound)
            raise
        return bound

    def serve(self, listener_arn: str, bound: list[socket.socket], protocol: str) -> None:
        """Answer on bound sockets; those that this listener had before are closed."""
        before = self._open.get(listener_arn)
        self._open[listener_arn] = self._plane.call(self._start(listener_arn, bound, protocol))
        addresses = ", ".join("{}:{}".format(*sock.getsockname()[:2]) for sock in bound)
        logger.info("listener %s open on %s", listener_arn.rsplit("/", 1)[-1], addresses)
        if before is not None:
            self._plane.submit(self._stop(before))

    def close(self, listener_arn: str) -> None:
        """Stop listening at once; requests in flight may finish."""
        opened = self._open.pop(listener_arn, None)
        if opened is None:
            return
        self._plane.call(self._stop_listening(opened))
        self._plane.submit(self._stop(opened))
        logger.info("listener %s closed", listener_arn.rsplit("/", 1)[-1])

    def close_all(self) -> None:
        """Close every socket."""
        for listener_arn in list(self._open):
            self.close(listener_arn)

    async def _start(self, listener_arn: str, bound: list[socket.socket], protocol: str) -> _Open:
        http: web.Server = web.Server(
            functools.partial(self._proxy.handle, listener_arn),
            keepalive_timeout=_IDLE,
            access_log=None,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )
        context = _self_signed() if protocol == "HTTPS" else None
        servers = [await self._plane.loop.create_server(http, sock=sock, ssl=context) for sock in bound]
        return _Open(tuple(servers), http)

    async def _stop_listening(self, opened: _Open) -> None:
        for server in opened.servers:
            server.close()

    async def _stop(self, opened: _Open) -> None:
        await self._stop_listening(opened)
        opened.http.pre_shutdown()
        await opened.http.shutdown(_GOODBYE)


def discard(bound: list[socket.socket]) -> None:
    """Close sockets that no listener got."""
    for sock in bound:
        sock.close()


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(512)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise PortUnavailableError(
            f"the sandbox opens each listener's port on {host}, but port {port} can't be opened there: "
            f"{error.strerror}. Stop what uses it, or choose another listener port."
        ) from error
    return sock


@functools.cache
def _self_signed() -> ssl.SSLContext:
    """The emulated ACM holds no private key to serve with: MiniStack's own self-signed certificate stands in."""
    certificate, key = tls.resolve_tls_material()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
