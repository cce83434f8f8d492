"""Faults on demand for the chaos tests: errors, delays, and answers that get lost after the work was done.

`POST /_pointsman/faults` adds one (or a list), `GET` lists those left with their hits, `DELETE` removes all::

    {"service": "s3", "action": "PutObject", "match": "releases/production", "times": 1, "effect": "lost_answer"}

`service` is the name in the request's signature (`s3`, `ecs`, `elasticloadbalancing`, `monitoring`, …); it, `action`
and `match` (a part of the path, query or body) each match everything when left out. `times`: default 1, 0 for ever.
Effects: `error:<status>[:<code>]`, `delay:<seconds>`, `lost_answer`, `no_answer` (dropped before anything is done),
`stale:<seconds>` (a read of ECS or of listeners answers what was so long ago, at most what was when the fault was set),
`weights:<seconds>` (what ModifyListener writes needs so long to reach the last address), `capacity` (RunTask answers
that there is none; a service's scheduler, which no call shows, meets it as a RunTask that `match`es `service:<name>`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from dataclasses import asdict, dataclass
from typing import Any

from hypercorn.events import Closed

from emulator.asgi import Application, Call, Message, Receive, Scope, Send, answer, error_body, read, replay
from emulator.history import History, is_read
from emulator.propagation import lag_of_this_call

__all__ = ["NO_CAPACITY", "Fault", "FaultInjection", "InvalidFaultError"]

logger = logging.getLogger("pointsman.faults")
ADMIN_PATH = "/_pointsman/faults"
_EFFECTS = re.compile(r"error:[1-5]\d\d(:\w+)?|(delay|stale|weights):\d+(\.\d+)?|lost_answer|no_answer|capacity")
NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
_NO_CAPACITY = {"tasks": [], "failures": [{"reason": NO_CAPACITY}]}


class InvalidFaultError(ValueError):
    """A fault's description can't be understood."""


@dataclass(slots=True)
class Fault:
    """What to disturb, how, and how often; `times` 0 is for ever."""

    effect: str
    service: str = ""
    action: str = ""
    match: str = ""
    times: int = 1
    hits: int = 0

    @classmethod
    def read(cls, given: Any) -> Fault:
        """Read a fault from its JSON object; InvalidFaultError says what is wrong with it."""
        if not isinstance(given, dict) or set(given) - {"effect", "service", "action", "match", "times"}:
            raise InvalidFaultError("a fault is an object with effect, and on wish service, action, match and times")
        if not _EFFECTS.fullmatch(str(given.get("effect", ""))):
            raise InvalidFaultError(
                "effect is one of error:<status>[:<code>], delay:<seconds>, stale:<seconds>, weights:<seconds>, "
                "lost_answer, no_answer, capacity"
            )
        if not isinstance(given.get("times", 1), int) or given.get("times", 1) < 0:
            raise InvalidFaultError("times is a whole number, 0 for ever")
        return cls(**given)

    def fits(self, call: Call) -> bool:
        """Return whether this fault is meant for the call and has not been used up."""
        kind = self.effect.partition(":")[0]
        if kind == "stale" and not is_read(call.service, call.action):
            return False
        if kind == "weights" and (call.service, call.action) != ("elasticloadbalancing", "ModifyListener"):
            return False
        if kind == "capacity" and (call.service, call.action) != ("ecs", "RunTask"):
            return False
        return (
            (self.times == 0 or self.hits < self.times)
            and self.service in ("", call.service)
            and self.action in ("", call.action)
            and self.match in call.text
        )


class FaultInjection:
    """ASGI middleware in front of the emulator; without faults and lag it passes everything through untouched."""

    def __init__(self, application: Application, describe_lag: float = 0) -> None:
        self._application = application
        self._lag = describe_lag
        self._history = History(wanted=self._wants_history)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def start(self) -> None:
        """Begin to keep what reads may be answered from."""
        self._history.start()

    def capacity_is_short(self, group: str) -> bool:
        """Return whether a task that a service wants started meets the fault `capacity`."""
        call = Call("ecs", "RunTask", group, is_json=True)
        return self._take(call, only="capacity") is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the admin path, disturb a call that a fault is meant for, or pass the call on."""
        if scope["type"] == "http" and scope["path"] == ADMIN_PATH:
            await self._administer(scope, receive, send)
        elif scope["type"] != "http" or not (self._faults or self._lag):
            await self._application(scope, receive, send)
        else:
            await self._inspect(scope, receive, send)

    async def _inspect(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages, body = await read(receive)
        call = Call.read(scope, body)
        fault = self._take(call)
        replayed = replay(messages, receive)
        if fault is None:
            await self._pass(call, self._lag, scope, replayed, send)
            return
        logger.warning("fault %s on %s %s", fault.effect, call.service, call.action)
        kind, _, argument = fault.effect.partition(":")
        if kind == "error":
            status, _, code = argument.partition(":")
            await answer(send, int(status), *error_body(call, int(status), code))
        elif kind == "delay":
            await asyncio.sleep(float(argument))
            await self._application(scope, replayed, send)
        elif kind == "stale":
            await self._pass(call, float(argument), scope, replayed, send)
        elif kind == "weights":
            with lag_of_this_call(float(argument)):
                await self._application(scope, replayed, send)
        elif kind == "capacity":
            await answer(send, 200, "application/x-amz-json-1.1", json.dumps(_NO_CAPACITY).encode())
        else:
            if kind == "lost_answer":
                await self._application(scope, replayed, _swallow)
            await _drop_connection(send)

    async def _pass(self, call: Call, lag: float, scope: Scope, receive: Receive, send: Send) -> None:
        if not lag or not is_read(call.service, call.action):
            await self._application(scope, receive, send)
            return
        with self._history.as_of(lag):
            await self._application(scope, receive, send)

    def _wants_history(self) -> bool:
        return bool(self._lag) or any(fault.effect.startswith("stale:") for fault in self._faults)

    def _take(self, call: Call, only: str = "") -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if only in ("", fault.effect) and fault.fits(call):
                    fault.hits += 1
                    return fault
        return None

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, body = await read(receive)
        try:
            if scope["method"] == "POST":
                given = json.loads(body)
                new = [Fault.read(one) for one in (given if isinstance(given, list) else [given])]
                with self._lock:
                    self._faults = [*self._faults, *new]
                if self._wants_history():
                    self._history.take()
            elif scope["method"] == "DELETE":
                with self._lock:
                    self._faults = []
        except ValueError as error:
            await answer(send, 400, "application/json", json.dumps({"message": str(error)}).encode())
            return
        listed = [asdict(fault) for fault in self._faults]
        await answer(send, 200, "application/json", json.dumps({"faults": listed}).encode())


async def _swallow(_: Message) -> None:
    """The answer that nobody gets."""


async def _drop_connection(send: Send) -> None:
    """Close the client's connection without a byte: ASGI has no word for it, so hypercorn's own stream is asked."""
    stream = getattr(send, "__self__", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    if stream is None or protocol is None:
        raise RuntimeError("the server under the emulator is not hypercorn: a connection can't be dropped")
    stream.closed = True
    await protocol.send(Closed())
