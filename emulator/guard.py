"""Who may call the emulator: programs of this machine, never a page in a browser.

The emulator starts containers for anybody who reaches its port. A page of another origin reaches a port on loopback
too, by a plain request or by a name that it lets point there; both are told apart from a program by their headers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from emulator.asgi import Application, Receive, Scope, Send, answer

__all__ = ["Guard", "is_local"]


def is_local(authority: str) -> bool:
    """Return whether a Host header, or an origin's authority, names this machine by no name that others resolve."""
    try:
        name = urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that answers 403 to a foreign Origin and to a Host that is not loopback."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on."""
        if scope["type"] in ("http", "websocket") and (why := _refusal(scope["headers"])):
            if scope["type"] == "http":
                await answer(send, 403, "text/plain; charset=utf-8", f"{why}\n".encode())
            return
        await self._application(scope, receive, send)


def _refusal(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        text = value.decode("latin-1")
        if name.lower() == b"host" and not is_local(text):
            return f"The emulator answers on this machine's loopback addresses only, not as {text!r}."
        if name.lower() == b"origin" and not is_local(text.partition("://")[2]):
            return f"The emulator is for programs of this machine, not for pages of {text!r}."
    return ""
