"""The processes of this machine: when one started, what it carries in its environment, what it does with a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["carrying", "ignores_interrupts", "start_ticks"]

_TICKS = os.sysconf("SC_CLK_TCK")


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none or only its zombie.

    The same number as field 22 of `proc_pid_stat(5)`: with the pid it names a process beyond doubt, and no change of
    the machine's clock alters it.
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
            booted = psutil.boot_time()
            ticks = round((process.create_time() - booted) * _TICKS)
    except psutil.Error:
        return None
    # psutil adds the boot's time by the wall clock. A clock that was set in between would make another number of the
    # same process, and a living one would be taken for dead.
    return ticks if psutil.boot_time() == booted else start_ticks(pid)


def carrying(variables: Mapping[str, str]) -> list[psutil.Process]:
    """Return the living processes that have all these environment variables with these values, as far as we may look.

    A child inherits its parent's, so what outlives its parent is found as well.
    """
    found = []
    # Not `process_iter(["environ"])`: what that leaves on a process is shared by all threads.
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if variables.items() <= process.environ().items():
                found.append(process)
    return found


def ignores_interrupts(pid: int) -> bool:
    """Return whether a process ignores SIGINT (`SigIgn` in proc_pid_status(5), which psutil does not read)."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
        return bool(ignored & 1 << (signal.SIGINT - 1))
    return False
