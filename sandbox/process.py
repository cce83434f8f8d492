"""Processes of the sandbox: each in a session of its own, known by pid *and* start time, stopped for sure.

Each process that a part starts carries two marks in its environment, which its children inherit: whose
sandbox it belongs to, and which part it is. They find what outlived its parent, even without pid files.
Linux only: all of it is read from ``/proc``.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Refused

__all__ = [
    "MARK_PART",
    "MARK_SANDBOX",
    "Identity",
    "User",
    "ancestors",
    "check_port",
    "command_line",
    "marked",
    "memory",
    "read_pid_file",
    "spawn",
    "start_time",
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
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"


@dataclass(frozen=True)
class Identity:
    """A process, beyond doubt: its pid, and its start in clock ticks since boot (``proc(5)``)."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; its zombie, or another under its number, does not count."""
        return start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still is who it was."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


@dataclass(frozen=True)
class User:
    """An unprivileged account that a part runs as."""

    name: str
    uid: int
    gid: int


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none or only its zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def uptime(identity: Identity) -> float:
    """Seconds since the process started."""
    since_boot = float(Path("/proc/uptime").read_text().split()[0])
    return max(0.0, since_boot - identity.started / _TICKS)


def write_pid_file(path: Path, identity: Identity) -> None:
    """Write pid and start time, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(f"{identity.pid} {identity.started}\n")
    draft.replace(path)


def read_pid_file(path: Path) -> Identity | None:
    """Who the file speaks of, alive or not; None if there is no file, or nothing in it that can be read."""
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

    Refused names the program if it can't be started at all.
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
    # A command that ends at once leaves a zombie until it is waited for: its start time is still to be read.
    fields = _stat(process.pid)
    identity = Identity(process.pid, int(fields[19]) if fields else 0)
    # The kernel shows a new program's environment, and our marks in it, a moment after it reports the start.
    wait_until(lambda: not identity.alive or _environment(process.pid) != [b""], 1.0, 0.001)
    return identity


def stop(identities: Iterable[Identity], *, how: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> bool:
    """Ask the processes to end; kill those that have not after so many seconds. True if none was killed."""
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
    """Ask every `poll` seconds whether it is done; False when `seconds` passed without."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll)
    return True


def marked(sandbox: str, part: str | None = None) -> list[Identity]:
    """The living processes with the sandbox's mark (and the part's), without us and our ancestors."""
    wanted = {f"{MARK_SANDBOX}={sandbox}".encode()}
    if part is not None:
        wanted.add(f"{MARK_PART}={part}".encode())
    ours = ancestors()
    found = []
    for pid in _pids():
        if pid in ours:
            continue
        started = start_time(pid)
        if wanted <= set(_environment(pid)) and started is not None:
            found.append(Identity(pid, started))
    return found


def working_below(directory: Path) -> list[Identity]:
    """The living processes that work in this directory or below: Postgres overwrites its sessions' marks."""
    place = str(directory.resolve())
    found = []
    for pid in _pids():
        try:
            current = os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")
        except OSError:
            continue
        started = start_time(pid)
        if (current == place or current.startswith(place + "/")) and started is not None and pid not in ancestors():
            found.append(Identity(pid, started))
    return found


def ancestors() -> frozenset[int]:
    """Our own pid and those above it."""
    chain, pid = {0}, os.getpid()
    while pid not in chain:
        chain.add(pid)
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0
    return frozenset(chain)


def memory(identity: Identity) -> float:
    """MiB held by the process and its descendants: proportional where the kernel tells, else resident."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    waiting, total = [identity.pid], 0.0
    while waiting:
        pid = waiting.pop()
        total += _memory_of(pid)
        waiting.extend(children.get(pid, ()))
    return total


def check_port(part: str, host: str, port: int, variable: str) -> None:
    """Refused, naming the process that has it, if the part could not listen on this port."""
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


def _port_in_use(part: str, port: int, variable: str, owner: tuple[int, str] | None) -> Refused:
    if owner is None:
        who, what_to_do = "another process, of another user", "Stop it"
    else:
        pid, program = owner
        who, what_to_do = f"process {pid} ({program})", f"Stop it (kill {pid})"
    return Refused(
        f"{part} needs port {port}, which {who} is using",
        do=f"{what_to_do}, or choose another port with {variable}, "
        "or move all of them with POINTSMAN_SANDBOX_PORT_OFFSET.",
    )


def _owner(port: int) -> tuple[int, str] | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in _pids() if inodes else ():
        try:
            handles = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if inodes.intersection(handles):
            return pid, _program(pid)
    return None


def command_line(pid: int) -> list[str]:
    """The process's arguments, program first; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _program(pid: int) -> str:
    return " ".join(command_line(pid)).strip()[:80] or "ended meanwhile"


def _living(identities: Iterable[Identity]) -> list[Identity]:
    # Those that we started ourselves stay as zombies until they are waited for.
    for identity in identities:
        try:
            os.waitpid(identity.pid, os.WNOHANG)
        except ChildProcessError:
            continue
    return [identity for identity in identities if identity.alive]


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` from the third, the state, on: the second may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None


def _memory_of(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except (OSError, IndexError, ValueError):
        return 0.0
