"""When each of a load balancer's addresses learns of new default actions.

A change of a listener needs time to reach every node, and nodes don't get it together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from emulator.settings import Settings

__all__ = ["Propagation", "lag_of_this_call"]

Action = dict[str, Any]
_lag: ContextVar[float | None] = ContextVar("weights_lag", default=None)


@contextmanager
def lag_of_this_call(seconds: float) -> Iterator[None]:
    """Let a change made in this context take so long, whatever the settings say."""
    token = _lag.set(seconds)
    try:
        yield
    finally:
        _lag.reset(token)


class Propagation:
    """Default actions as each address knows them; written by MiniStack's handlers, read by the data plane."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = settings.listener_hosts
        self._lag = settings.weights_lag
        self._lock = threading.Lock()
        # For a listener and address: what it still does, and from when on it does the next.
        self._late: dict[tuple[str, str], list[tuple[list[Action], float]]] = {}

    def changed(self, listener: str, before: list[Action]) -> None:
        """Note that the listener's actions were `before`; the last address goes on with them for the whole lag."""
        given = _lag.get()
        lag, now = self._lag if given is None else given, time.monotonic()
        if not lag:
            return
        with self._lock:
            for number, host in enumerate(self._hosts, 1):
                queue = self._late.setdefault((listener, host), [])
                last = queue[-1][1] if queue else now
                queue.append((before, max(last, now + lag * number / len(self._hosts))))

    def actions(self, listener: str, host: str, newest: list[Action]) -> list[Action]:
        """Return what this address does just now; `newest` is what the listener's record says."""
        if not self._late:
            return newest
        now = time.monotonic()
        with self._lock:
            queue = self._late.get((listener, host), [])
            while queue and queue[0][1] <= now:
                queue.pop(0)
            if not queue:
                self._late.pop((listener, host), None)
                return newest
            return queue[0][0]
