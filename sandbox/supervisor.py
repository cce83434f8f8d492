"""Runs a command for as long as it is itself asked to run: what dies is started again, sooner or later.

`python -m sandbox.supervisor PID_FILE COMMAND…`; the file names the command's process, not ours.
A command that keeps dying is started at growing intervals, so that a broken one does not eat a core.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from sandbox.process import Identity, identify, write_pid_file

__all__ = ["main", "next_delay"]

FIRST_DELAY, LAST_DELAY = 0.2, 10.0
STEADY_SECONDS = 30.0
STOP_SECONDS = 8.0


def next_delay(delay: float, ran_seconds: float) -> float:
    """Return the seconds to wait before the next start, from the wait before this one and how long it then ran."""
    return FIRST_DELAY if ran_seconds >= STEADY_SECONDS else min(delay * 2, LAST_DELAY)


def main(arguments: Sequence[str]) -> int:
    """Supervise until SIGTERM or SIGINT, then end the command and return 0."""
    pid_file, command = Path(arguments[0]), list(arguments[1:])
    asked_to_stop = threading.Event()
    delay, child = FIRST_DELAY, None

    def stop(_number: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()
        if child is not None and child.poll() is None:
            child.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not asked_to_stop.is_set():
        began = time.monotonic()
        child = subprocess.Popen(command)
        write_pid_file(pid_file, identify(child.pid) or Identity(child.pid, 0))
        if asked_to_stop.is_set():
            child.terminate()
        code = _ended(child, asked_to_stop)
        if asked_to_stop.is_set():
            break
        delay = next_delay(delay, time.monotonic() - began)
        print(f"supervisor: ended with {code}, started again in {delay:.1f} s", flush=True)
        asked_to_stop.wait(delay)
    pid_file.unlink(missing_ok=True)
    return 0


def _ended(child: subprocess.Popen[bytes], asked_to_stop: threading.Event) -> int:
    while True:
        try:
            return child.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            if asked_to_stop.is_set():
                child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
