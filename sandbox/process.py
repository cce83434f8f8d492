"""Processes of the sandbox: each in a session of its own, known by pid *and* start time, stopped for sure.

Each process that a part starts carries two marks in its environment, which its children inherit: whose
sandbox it belongs to, and which part it is. They find what outlived its parent, even without pid files.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.errors import Refused
from systems.process_table import carrying, start_ticks

__all__ = [
    "MARK_PART",
    "MARK_SANDBOX",
    "Identity",
    "User",
    "ancestors",
    "check_port",
    "command_line",
    "identify",
    "marked",
    "memory",
    "read_pid_file",
    "spawn",
    "stop",
    "uptime",
    "wait_until",
    "working_below",
    "write_pid_file",
]

MARK_SANDBOX = "POINTSMAN_SANDBOX_IDENTITY"
MARK_PART = "POINTSMAN_SANDBOX_PART"

POLL_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Identity:
    """A process, beyond doubt: its pid, and its start in clock ticks since boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; its zombie, or another under its number, does not count."""
        return start_ticks(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still is who it was."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True)
class User:
    """An unprivileged account that a part runs as."""

    name: str
    uid: int
    gid: int


def identify(pid: int) -> Identity | None:
    """Return who has this pid; None if nobody has, or only a zombie."""
    started = start_ticks(pid)
    return None if started is None else Identity(pid, started)


def uptime(identity: Identity) -> float:
    """Return the seconds since the process started."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started / _TICKS)


def write_pid_file(path: Path, identity: Identity) -> None:
    """Write pid and start time, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(f"{identity.pid} {identity.started}\n")
    draft.replace(path)


def read_pid_file(path: Path) -> Identity | None:
    """Return who the file speaks of, alive or not; None if there is no file, or nothing in it that can be read."""
    try:
        pid, started = path.read_text().split()
        return Identity(int(pid), int(started))
    except (OSError, ValueError):
        return None


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    user: User | None = None,
) -> Identity:
    """Start a command in its own session, output appended to the log, and return who it is.

    `Refused` names the program if it cannot be started at all.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {command[0]}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        except OSError as error:
            raise Refused(
                f"{command[0]} can't be started", why=str(error), do="Run scripts/setup, then try again."
            ) from error
    # One that has ended already is nobody that could be alive.
    identity = identify(process.pid) or Identity(process.pid, 0)
    # The kernel shows a new program's environment, and our marks in it, a moment after it reports the start.
    wait_until(lambda: not identity.alive or _has_environment(process.pid), 1.0, 0.001)
    return identity


def stop(identities: Iterable[Identity], *, how: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> bool:
    """Ask the processes to end; kill those that have not after so many seconds. Return True if none was killed."""
    left = [identity for identity in identities if identity.alive]
    for identity in left:
        identity.signal(how)
    if wait_until(lambda: not _living(left), seconds):
        return True
    for identity in left:
        identity.signal(signal.SIGKILL)
    wait_until(lambda: not _living(left), 5.0)
    return False


def wait_until(done: Callable[[], bool], seconds: float, poll: float = POLL_SECONDS) -> bool:
    """Ask every `poll` seconds whether it is done; return False when `seconds` passed without."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll)
    return True


def marked(sandbox: str, part: str | None = None) -> list[Identity]:
    """Return the living processes with the sandbox's mark (and the part's), without us and our ancestors."""
    marks = {MARK_SANDBOX: sandbox} if part is None else {MARK_SANDBOX: sandbox, MARK_PART: part}
    return _not_ours(process.pid for process in carrying(marks))


def working_below(directory: Path) -> list[Identity]:
    """Return the living processes that work in this directory or below: Postgres overwrites its sessions' marks."""
    place, found = directory.resolve(), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(place):
                found.append(process.pid)
    return _not_ours(found)


def ancestors() -> frozenset[int]:
    """Return our own pid and those above it."""
    ourselves = psutil.Process()
    return frozenset((ourselves.pid, *(parent.pid for parent in ourselves.parents())))


def memory(identity: Identity) -> float:
    """Return the MiB held by the process and its descendants: proportional where the kernel tells, else resident."""
    try:
        process = psutil.Process(identity.pid)
        return sum(map(_memory_of, (process, *process.children(recursive=True))))
    except psutil.Error:
        return 0.0


def check_port(part: str, host: str, port: int, variable: str) -> None:
    """Raise `Refused`, naming the process that has it, if the part could not listen on this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _port_in_use(part, port, variable, _owner(port)) from None
            raise Refused(
                f"{part} can't listen on {host} port {port}",
                why=error.strerror or str(error),
                do=f"Choose another port with {variable}.",
            ) from error


def command_line(pid: int) -> list[str]:
    """Return the process's arguments, program first; none if there is no such process."""
    with suppress(psutil.Error):
        return [str(argument) for argument in psutil.Process(pid).cmdline()]
    return []


def _port_in_use(part: str, port: int, variable: str, owner: int | None) -> Refused:
    if owner is None:
        who, what_to_do = "another process, of another user", "Stop it"
    else:
        program = " ".join(command_line(owner)).strip()[:80] or "ended meanwhile"
        who, what_to_do = f"process {owner} ({program})", f"Stop it (kill {owner})"
    return Refused(
        f"{part} needs port {port}, which {who} is using",
        do=f"{what_to_do}, or choose another port with {variable}, "
        "or move all of them with POINTSMAN_SANDBOX_PORT_OFFSET.",
    )


def _owner(port: int) -> int | None:
    """Return who listens on a port, as far as we may know."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    return None


def _has_environment(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).environ())
    return False


def _not_ours(pids: Iterable[int]) -> list[Identity]:
    ours = ancestors()
    return [identity for pid in pids if pid not in ours and (identity := identify(pid))]


def _living(identities: Iterable[Identity]) -> list[Identity]:
    # Those that we started ourselves stay as zombies until they are waited for.
    for identity in identities:
        with suppress(ChildProcessError):
            os.waitpid(identity.pid, os.WNOHANG)
    return [identity for identity in identities if identity.alive]


def _memory_of(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.memory_full_info().pss) / 2**20
    with suppress(psutil.Error):
        return float(process.memory_info().rss) / 2**20
    return 0.0
