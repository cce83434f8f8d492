"""Names and ports as this machine reaches them."""

from __future__ import annotations

import socket

from core.preflight.traffic import Resolved

__all__ = ["connects", "resolve"]


def resolve(host: str) -> Resolved:
    """Return a name's canonical name and its addresses; nothing where it does not resolve."""
    try:
        canonical, _, _ = socket.gethostbyname_ex(host)
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return Resolved()
    return Resolved(canonical, frozenset(str(entry[4][0]) for entry in found))


def connects(address: str, port: int, within: float) -> bool:
    """Whether a connection to an address is accepted within so many seconds."""
    try:
        with socket.create_connection((address, port), timeout=within):
            return True
    except OSError:
        return False
