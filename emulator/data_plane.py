"""The event loop that carries traffic and health checks, on a thread of its own.

MiniStack's handlers share one loop; traffic on it would wait behind any slow handler.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["DataPlane"]

T = TypeVar("T")


class DataPlane:
    """A running event loop and how other threads reach it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="pointsman-data-plane", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the loop; what still runs on it is dropped."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=2)

    def call(self, work: Coroutine[Any, Any, T], timeout: float = 10) -> T:
        """Run `work` on the loop and wait for its result, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run `work` on the loop without waiting."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)
