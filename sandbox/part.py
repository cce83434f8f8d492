"""What a part of the sandbox is: a command, what it needs, where it listens, how one knows that it works."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.process import User

__all__ = ["Listener", "Part", "answers", "ask", "python"]

_ASK_SECONDS = 2.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Listener:
    """A socket that a part opens: tried before its start, so that a process that has it can be named."""

    host: str
    port: int
    variable: str


@dataclass(frozen=True)
class Part:
    """One part. Command and environment are made after `prepare`, which creates what they stand on.

    `finish` completes a part that answers, and is repeated at each `up`. `healthy` answers quickly and never
    raises. `keeps_children` says that what it started may outlive it rightfully: a killed worker's flow goes on,
    and only `down` ends it.
    """

    name: str
    address: str
    healthy: Callable[[], bool]
    command: Callable[[], list[str]]
    needs: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    environment: Callable[[], Mapping[str, str]] = dict
    prepare: Callable[[], None] = lambda: None
    finish: Callable[[], None] = lambda: None
    user: Callable[[], User | None] = lambda: None
    start_seconds: float = 60.0
    stop_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    supervised: bool = False
    keeps_children: bool = False


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with the interpreter that runs us."""
    return [sys.executable, "-m", module, *arguments]


def ask(url: str, body: object = None, *, headers: Mapping[str, str] | None = None, method: str = "") -> object:
    """Send a GET, or a POST if there is a body, and return the decoded JSON; OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=sent, method=method or None)
    with _opener.open(request, timeout=_ASK_SECONDS) as answer:
        return json.loads(answer.read() or b"null")


def answers(url: str, *, seconds: float = 1.0) -> bool:
    """Whether the address answers a GET with a status below 400."""
    try:
        with _opener.open(url, timeout=seconds):
            return True
    except (OSError, ValueError):
        return False
