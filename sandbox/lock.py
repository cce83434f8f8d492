"""One command at a time works on a sandbox."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Refused
from sandbox.process import wait_until

__all__ = ["locked"]

LOCK_SECONDS = 180.0


@contextmanager
def locked(home: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the sandbox in this directory; `Refused` if another command keeps it for too long."""
    home.mkdir(parents=True, exist_ok=True)
    # The checkout's own ignore file may not know of a sandbox elsewhere.
    (home / ".gitignore").write_text("*\n")
    with (home / "lock").open("a+") as file:
        if not _try_lock(file.fileno()):
            file.seek(0)
            say(f"Another command is at work on this sandbox (process {file.read().strip()}): waiting.")
            if not wait_until(lambda: _try_lock(file.fileno()), LOCK_SECONDS):
                file.seek(0)
                raise Refused(
                    f"Process {file.read().strip()} has held this sandbox for {LOCK_SECONDS:.0f} s",
                    do="Look what it does, end it if need be, then try again.",
                )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
