"""Faults on demand for the chaos tests: errors, delays, and answers that get lost after the work was done.

`POST /_pointsman/faults` adds one (or a list), `GET` lists those left with their hits, `DELETE` removes all::

    {"service": "s3", "action": "PutObject", "match": "releases/production", "times": 1, "effect": "lost_answer"}

`service` is the name in the request's signature (`s3`, `ecs`, `elasticloadbalancing`, `monitoring`, …); it, `action`
and `match` (a part of the path, query or body) each match everything when left out. `times`: default 1, 0 for ever.
Effects: `error:<status>[:<code>]`, `delay:<seconds>`, `lost_answer`, `no_answer` (dropped before anything is done).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from hypercorn.events import Closed

__all__ = ["Call", "Fault", "FaultInjection", "InvalidFaultError"]

logger = logging.getLogger("pointsman.faults")
ADMIN_PATH = "/_pointsman/faults"
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_CREDENTIAL = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/aws4_request")
_SEARCHED = 65536
_EFFECTS = re.compile(r"error:[1-5]\d\d(:\w+)?|delay:\d+(\.\d+)?|lost_answer|no_answer")
_CODES = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NotFound",
    429: "Throttling",
    503: "ServiceUnavailable",
}
# S3's operations on an object that a sub-resource doesn't change, and the listings of a bucket.
_S3_OBJECT = {
    "PUT": "PutObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "DELETE": "DeleteObject",
    "POST": "PostObject",
}
_S3_BUCKET = {"PUT": "CreateBucket", "GET": "ListObjectsV2", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}


class InvalidFaultError(ValueError):
    """A fault's description can't be understood."""


@dataclass(slots=True)
class Fault:
    """What to spoil, how, and how often; `times` 0 is for ever."""

    effect: str
    service: str = ""
    action: str = ""
    match: str = ""
    times: int = 1
    hits: int = 0

    @classmethod
    def read(cls, given: Any) -> Fault:
        """A fault from its JSON object; InvalidFaultError says what is wrong with it."""
        if not isinstance(given, dict) or set(given) - {"effect", "service", "action", "match", "times"}:
            raise InvalidFaultError("a fault is an object with effect, and on wish service, action, match and times")
        if not _EFFECTS.fullmatch(str(given.get("effect", ""))):
            raise InvalidFaultError("effect is one of error:<status>[:<code>], delay:<seconds>, lost_answer, no_answer")
        if not isinstance(given.get("times", 1), int) or given.get("times", 1) < 0:
            raise InvalidFaultError("times is a whole number, 0 for ever")
        return cls(**given)

    def fits(self, call: Call) -> bool:
        """Whether this fault is meant for the call and has not been used up."""
        return (
            (self.times == 0 or self.hits < self.times)
            and self.service in ("", call.service)
            and self.action in ("", call.action)
            and self.match in call.text
        )


@dataclass(frozen=True, slots=True)
class Call:
    """An AWS call as far as faults tell calls apart."""

    service: str
    action: str
    text: str
    is_json: bool

    @classmethod
    def read(cls, scope: Scope, body: bytes) -> Call:
        """Service from the signature, action from X-Amz-Target, Action, or S3's method and path."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        signed = _CREDENTIAL.search(headers.get("authorization", "") or unquote(query))
        service = signed.group(1) if signed else ""
        target = headers.get("x-amz-target", "")
        text = body[:_SEARCHED].decode("utf-8", "replace")
        operation = re.search(r"/operation/(\w+)$", scope["path"])
        if target:
            action = target.rpartition(".")[2]
        elif service == "s3":
            action = _s3_action(scope["method"], scope["path"], parse_qs(query, keep_blank_values=True), headers)
        elif operation:
            action = operation.group(1)
        else:
            form = parse_qs(text) if "form-urlencoded" in headers.get("content-type", "") else {}
            action = (form.get("Action") or parse_qs(query).get("Action") or [""])[0]
        searched = f"{scope['path']}?{unquote(query)}\n{text}\n{unquote(text)}"
        return cls(service, action, searched, is_json=bool(target))


def _s3_action(method: str, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> str:
    key = path.strip("/").partition("/")[2]
    if "uploadId" in query or "uploads" in query:
        return {"PUT": "UploadPart", "DELETE": "AbortMultipartUpload"}.get(
            method, "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
        )
    if not path.strip("/"):
        return "ListBuckets"
    if not key:
        if "versioning" in query:
            return {"PUT": "PutBucketVersioning", "GET": "GetBucketVersioning"}[method]
        if "versions" in query:
            return "ListObjectVersions"
        return "DeleteObjects" if method == "POST" else _S3_BUCKET.get(method, "")
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "CopyObject"
    return _S3_OBJECT.get(method, "")


class FaultInjection:
    """ASGI middleware in front of the emulator; without faults it passes everything through untouched."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the admin path, spoil a call that a fault is meant for, or pass the call on."""
        if scope["type"] == "http" and scope["path"] == ADMIN_PATH:
            await self._administer(scope, receive, send)
        elif scope["type"] != "http" or not self._faults:
            await self._application(scope, receive, send)
        else:
            await self._inspect(scope, receive, send)

    async def _inspect(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages, body = await _read(receive)
        call = Call.read(scope, body)
        fault = self._take(call)
        replayed = _replay(messages, receive)
        if fault is None:
            await self._application(scope, replayed, send)
            return
        logger.warning("fault %s on %s %s", fault.effect, call.service, call.action)
        kind, _, argument = fault.effect.partition(":")
        if kind == "error":
            status, _, code = argument.partition(":")
            await _answer(send, int(status), *_error_body(call, int(status), code))
        elif kind == "delay":
            await asyncio.sleep(float(argument))
            await self._application(scope, replayed, send)
        else:
            if kind == "lost_answer":
                await self._application(scope, replayed, _swallow)
            await _drop_connection(send)

    def _take(self, call: Call) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.fits(call):
                    fault.hits += 1
                    return fault
        return None

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, body = await _read(receive)
        try:
            if scope["method"] == "POST":
                given = json.loads(body)
                new = [Fault.read(one) for one in (given if isinstance(given, list) else [given])]
                with self._lock:
                    self._faults = [*self._faults, *new]
            elif scope["method"] == "DELETE":
                with self._lock:
                    self._faults = []
        except ValueError as error:
            await _answer(send, 400, "application/json", json.dumps({"message": str(error)}).encode())
            return
        listed = [asdict(fault) for fault in self._faults]
        await _answer(send, 200, "application/json", json.dumps({"faults": listed}).encode())


async def _read(receive: Receive) -> tuple[list[Message], bytes]:
    messages: list[Message] = []
    body = b""
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages, body


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = list(messages)

    async def replayed() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return replayed


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


async def _answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error_body(call: Call, status: int, code: str) -> tuple[str, bytes]:
    code = code or _CODES.get(status, "InternalError")
    message = "A fault that a test asked for."
    if call.is_json:
        return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    if call.service == "s3":
        return "application/xml", f"<Error>{error}<RequestId>fault</RequestId></Error>".encode()
    return "text/xml", (
        f"<ErrorResponse><Error><Type>Receiver</Type>{error}</Error><RequestId>fault</RequestId></ErrorResponse>"
    ).encode()
