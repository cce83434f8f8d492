"""What ECS and the load balancers' listeners were some seconds ago, for reads that AWS answers late.

"The Amazon ECS API follows an eventual consistency model" (RunTask's documentation). A read in `as_of` sees the
stores as they were; a write, and every thread of the emulator's own, sees them as they are.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from emulator.upstream import alb, ecs

__all__ = ["History", "is_read"]

logger = logging.getLogger("pointsman.history")
_PERIOD = 0.2
_KEPT = 300.0
_STORES: tuple[tuple[Any, str], ...] = ((ecs, "_services"), (ecs, "_tasks"), (alb, "_listeners"), (alb, "_rules"))
_past: ContextVar[dict[str, Any] | None] = ContextVar("past", default=None)


def is_read(service: str, action: str) -> bool:
    """Return whether the call is one that may be answered from the past."""
    return service in ("ecs", "elasticloadbalancing") and action.startswith(("Describe", "List"))


class History:
    """Snapshots of the stores, taken while somebody wants them."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._taken: deque[tuple[float, bytes]] = deque()
        self._live = {f"{module.__name__}.{name}": _watched(module, name) for module, name in _STORES}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Take snapshots on a thread of its own."""
        threading.Thread(target=self._run, name="pointsman-history", daemon=True).start()

    def take(self) -> None:
        """Keep what there is now."""
        now = time.monotonic()
        snapshot = pickle.dumps({name: dict(live()) for name, live in self._live.items()})
        with self._lock:
            self._taken.append((now, snapshot))
            while self._taken[0][0] < now - _KEPT:
                self._taken.popleft()

    @contextmanager
    def as_of(self, seconds: float) -> Iterator[None]:
        """Let reads in this context see what was so many seconds ago, or the oldest that is known."""
        token = _past.set(self._before(time.monotonic() - seconds))
        try:
            yield
        finally:
            _past.reset(token)

    def _before(self, moment: float) -> dict[str, Any] | None:
        with self._lock:
            older = [snapshot for taken, snapshot in self._taken if taken <= moment]
            found = older[-1] if older else self._taken[0][1] if self._taken else None
        return None if found is None else pickle.loads(found)

    def _run(self) -> None:
        while True:
            time.sleep(_PERIOD)
            if not self._wanted():
                with self._lock:
                    self._taken.clear()
                continue
            try:
                self.take()
            except (RuntimeError, pickle.PicklingError):
                # A record changed under the copy: the next one is a moment away.
                logger.debug("a snapshot failed", exc_info=True)


def _watched(module: Any, name: str) -> Callable[[], dict[Any, Any]]:
    """Make the module's store look into the past where a context asks for it; return how to read it as it is."""
    store = getattr(module, name)
    slot = type(store)._data
    key = f"{module.__name__}.{name}"

    def data(self: Any) -> Any:
        past = _past.get()
        return slot.__get__(self) if past is None else past[key]

    kind = type(store)
    store.__class__ = type(kind.__name__, (kind,), {"__slots__": (), "_data": property(data)})
    return lambda: slot.__get__(store)
