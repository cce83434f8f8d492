"""What a part of the sandbox is: a command, what it needs, where it listens, how one knows that it works."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.process import Identity, User, read_pid_file
from sandbox.settings import CODE, Settings

__all__ = ["Listener", "Part", "answers", "ask", "python"]

_ASK_SECONDS = 2.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Listener:
    """A socket that a part opens: tried before its start, so that a process that has it can be named."""

    host: str
    port: int
    variable: str


class Part(ABC):
    """One part of a sandbox: what it is, and what there is of it beyond a process.

    Command and environment are asked for after `prepare`, which creates what they stand on.
    """

    name: str
    needs: tuple[str, ...] = ()
    start_seconds: float = 60.0
    stop_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    supervised: bool = False
    """Whether a supervisor starts it again when it dies."""
    keeps_children: bool = False
    """Whether what it started may outlive it: a killed worker's flow goes on, and only `down` ends it."""
    shared: bool = False
    """Whether one that somebody else started does as well. What is not ours is never stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is found, for people."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs it."""

    @abstractmethod
    def is_healthy(self) -> bool:
        """Return whether it does its work: quickly, and without raising."""

    def listeners(self) -> tuple[Listener, ...]:
        """Return the sockets that it opens."""
        return ()

    def environment(self) -> Mapping[str, str]:
        """Return what it has in its environment besides what all parts have."""
        return {}

    def directory(self) -> Path:
        """Return where it works."""
        return CODE

    def user(self) -> User | None:
        """Return the account that it runs as, if not ours."""
        return None

    def prepare(self) -> None:  # noqa: B027
        """Create what its start needs."""

    def finish(self) -> None:  # noqa: B027
        """Complete one that is healthy; done at each `up`."""

    def leftovers(self) -> list[Identity]:
        """Return processes of an earlier start that carry no mark."""
        return []

    def clean_up(self) -> str:
        """Remove what it leaves besides processes, once it has stopped; return what was removed, or nothing."""
        return ""

    def server(self) -> Identity | None:
        """Return who does the work of a shared part that we did not start, as far as that can be seen."""
        return None

    def used_by_others(self) -> str:
        """Return who else needs a shared part, which then goes on; or nothing."""
        return ""

    @property
    def log_file(self) -> Path:
        """Where it writes what it has to say."""
        return self.settings.directories.logs / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Who was started: the part, or its supervisor."""
        return self.settings.directories.run / f"{self.name}.pid"

    @property
    def child_file(self) -> Path:
        """Whom the supervisor started, if it has one."""
        return self.settings.directories.run / f"{self.name}.child.pid"

    def started(self) -> Identity | None:
        """Return who was started, alive or not."""
        return read_pid_file(self.pid_file)

    def worker(self) -> Identity | None:
        """Return who does the work, alive or not: below a supervisor, not the supervisor."""
        return read_pid_file(self.child_file if self.supervised else self.pid_file)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with the interpreter that runs us."""
    return [sys.executable, "-m", module, *arguments]


def ask(url: str, body: object = None, *, headers: Mapping[str, str] | None = None, method: str = "") -> object:
    """Send a GET, or a POST if there is a body, and return the decoded JSON; OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=sent, method=method or None)
    with _opener.open(request, timeout=_ASK_SECONDS) as answer:
        return json.loads(answer.read() or b"null")


def answers(url: str, *, seconds: float = 1.0) -> bool:
    """Return whether the address answers a GET with a status below 400."""
    try:
        with _opener.open(url, timeout=seconds):
            return True
    except (OSError, ValueError):
        return False
