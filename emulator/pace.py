"""How fast AWS answers, and how often: the way of a call to the region, and a token bucket for each action.

Buckets follow https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.asgi import Application, Call, Receive, Scope, Send, answer, error_body, read, replay
from emulator.settings import Settings

__all__ = ["Buckets", "Pace"]

_UNLIMITED = ("", "s3")
_MESSAGE = "Rate exceeded"


@dataclass
class Buckets:
    """A token bucket for each name: `burst` calls at once, refilled by `rate` a second."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, name: str) -> bool:
        """Take a token; return False when the bucket is empty."""
        now = self.clock()
        left, since = self._left.get(name, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        enough = left >= 1
        self._left[name] = (left - 1 if enough else left, now)
        return enough


class Pace:
    """ASGI middleware that delays and throttles calls of AWS's API; other requests pass at once."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self._application = application
        self._latency = settings.api_latency
        self._buckets = Buckets(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait as long as the call would travel, then answer it or refuse it as too many."""
        if scope["type"] != "http" or not _is_signed(scope) or not (self._latency or self._buckets):
            await self._application(scope, receive, send)
            return
        messages, body = await read(receive)
        await asyncio.sleep(self._latency)
        call = Call.read(scope, body)
        if self._buckets and call.service not in _UNLIMITED and not self._buckets.take(f"{call.service} {call.action}"):
            code = "ThrottlingException" if call.is_json else "Throttling"
            await answer(send, 400, *error_body(call, 400, code, _MESSAGE))
            return
        await self._application(scope, replay(messages, receive), send)


def _is_signed(scope: Scope) -> bool:
    return any(name.lower() == b"authorization" and b"aws4_request" in value for name, value in scope["headers"])
