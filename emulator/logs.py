"""Log lines of tasks on their way to CloudWatch, which takes its time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from emulator.upstream import cloudwatch_logs, ecs, replace, responses

__all__ = ["LateLogs"]

_Line = tuple[float, tuple[str, str], dict[str, Any]]


class LateLogs:
    """Delivers each line `delay` seconds after it was written, with the time at which it was written."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._lines: queue.SimpleQueue[_Line] = queue.SimpleQueue()

    def install(self) -> None:
        """Put the delay in MiniStack's place; without one, nothing changes."""
        if not self._delay:
            return
        replace(ecs, "_emit_awslogs_event", self._emit)
        threading.Thread(target=self._run, name="pointsman-late-logs", daemon=True).start()

    def _emit(self, config: dict[str, Any], message: str) -> None:
        event = {
            "logGroupName": config["group"],
            "logStreamName": config["stream"],
            "logEvents": [{"timestamp": int(time.time() * 1000), "message": message}],
        }
        scope = (responses.get_account_id(), responses.get_region())
        self._lines.put((time.monotonic() + self._delay, scope, event))

    def _run(self) -> None:
        put: Callable[[dict[str, Any]], Any] = cloudwatch_logs._put_log_events
        while True:
            due, scope, event = self._lines.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with responses.request_scope(*scope):
                put(event)
