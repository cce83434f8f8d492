"""Waiting in tests: for something to be seen, and no longer than said."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["wait_for"]


def wait_for(what: Callable[[], bool], seconds: float, said: str) -> None:
    """Return once `what` holds; fail with `said` after so many seconds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, said
        time.sleep(0.03)
