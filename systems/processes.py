"""Child processes and process identity: run one with its lines streamed, interrupt it once, prove one dead."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from core.errors import Permanent, PointsmanError
from core.record import Owner
from systems.process_table import start_ticks

__all__ = ["ATTEMPT_VARIABLE", "interrupt_children", "owner_of", "process_is_dead", "run_streamed", "same_host"]

# Each child carries its attempt's id under this name, so that what outlives a killed run can be found.
ATTEMPT_VARIABLE = "POINTSMAN_ATTEMPT"

_GUARD_SECONDS = 1.0

_children: set[subprocess.Popen[str]] = set()
_lock = threading.Lock()


def run_streamed(
    command: Sequence[str],
    *,
    on_line: Callable[[str], None],
    on_error_line: Callable[[str], None] | None = None,
    environment: Mapping[str, str],
    directory: Path | None = None,
    timeout: float,
    guard: Callable[[], PointsmanError | None] | None = None,
) -> int:
    """Run `command` in a process group of its own, hand each line of its output to `on_line`, return its exit code.

    Lines of standard error go to `on_error_line`, or to `on_line` as well.

    If this thread is interrupted, or `timeout` seconds pass, the child gets one SIGINT and is waited for: Terraform
    then stops in order and saves its state. Raises `Permanent` for a command that is not there or took too long, and
    what `guard` returns: it is asked every second while the child runs, and an error ends the child.
    """
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Permanent(
            f"The command {command[0]!r} was not found", why=str(error), do="Install it on the worker."
        ) from error
    with _lock:
        _children.add(child)
    ended = threading.Event()
    reasons: list[PointsmanError] = []

    def watch() -> None:
        reason = _reason_to_stop(ended, command[0], timeout, guard)
        if reason is not None:
            reasons.append(reason)
            _interrupt(child)
            _wait_or_kill(child)

    watchdog = threading.Thread(target=watch, daemon=True)
    watchdog.start()
    errors = threading.Thread(target=_read, args=(child.stderr, on_error_line or on_line), daemon=True)
    errors.start()
    try:
        _read(child.stdout, on_line)
        code = child.wait()
        errors.join()
    except BaseException:
        _interrupt(child)
        _wait_or_kill(child)
        raise
    finally:
        ended.set()
        with _lock:
            _children.discard(child)
    if reasons:
        raise reasons[0]
    return code


def _reason_to_stop(
    ended: threading.Event, command: str, timeout: float, guard: Callable[[], PointsmanError | None] | None
) -> PointsmanError | None:
    """Wait for a child's end; return why it must be ended before, if it must."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if ended.wait(min(left, _GUARD_SECONDS) if guard else left):
            return None
        if guard and (error := guard()):
            return error
    return Permanent(f"{command} took longer than {timeout:g} s", why="it was interrupted and has ended")


def _read(stream: IO[str] | None, on_line: Callable[[str], None]) -> None:
    assert stream is not None
    for line in stream:
        on_line(line.rstrip("\n"))


def interrupt_children() -> None:
    """Interrupt every child that other threads still run, once; each thread waits for its own."""
    with _lock:
        running = list(_children)
    for child in running:
        _interrupt(child)


def _interrupt(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)


def _wait_or_kill(child: subprocess.Popen[str], grace: float = 15.0) -> None:
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def owner_of(flow: str, flow_run_id: str, attempt: str) -> Owner:
    """Return this process as a lease's owner."""
    return Owner(
        flow=flow,
        flow_run_id=flow_run_id,
        attempt=attempt,
        host=_boot_id(),
        pid=os.getpid(),
        process_started=_started(os.getpid()) or "",
    )


def process_is_dead(owner: Owner) -> bool:
    """Whether the owner's process is proven gone: same machine and boot, and no such process any more."""
    if not same_host(owner):
        return False
    started = _started(owner.pid)
    return started is None or started != owner.process_started


def same_host(owner: Owner) -> bool:
    """Whether the owner's process ran, or runs, on this machine since its last boot, and among the same pids."""
    return owner.host == _boot_id()


def _boot_id() -> str:
    # A container shares its machine's boot id but not its pids: the pid namespace tells them apart.
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return os.uname().nodename


def _started(pid: int) -> str | None:
    ticks = start_ticks(pid)
    return None if ticks is None else str(ticks)
