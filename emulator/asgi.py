"""What the layers in front of MiniStack share: ASGI's words, a call as AWS names it, and AWS's errors."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

__all__ = ["Application", "Call", "Message", "Receive", "Scope", "Send", "answer", "error_body", "read", "replay"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_CREDENTIAL = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/aws4_request")
_SEARCHED = 65536
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


@dataclass(frozen=True, slots=True)
class Call:
    """An AWS call as far as faults tell calls apart."""

    service: str
    action: str
    text: str
    is_json: bool

    @classmethod
    def read(cls, scope: Scope, body: bytes) -> Call:
        """Read service from the signature, action from X-Amz-Target, Action, or S3's method and path."""
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


async def read(receive: Receive) -> tuple[list[Message], bytes]:
    """Return a request's messages, and its body."""
    messages: list[Message] = []
    body = b""
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages, body


def replay(messages: list[Message], receive: Receive) -> Receive:
    """Return the receiver of a request whose messages were read already."""
    waiting = list(messages)

    async def replayed() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return replayed


async def answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(call: Call, status: int, code: str, message: str = "") -> tuple[str, bytes]:
    """Return content type and body of an error as the call's protocol has it."""
    code = code or _CODES.get(status, "InternalError")
    message = message or "A fault that a test asked for."
    if call.is_json:
        return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    if call.service == "s3":
        return "application/xml", f"<Error>{error}<RequestId>fault</RequestId></Error>".encode()
    return "text/xml", (
        f"<ErrorResponse><Error><Type>Receiver</Type>{error}</Error><RequestId>fault</RequestId></ErrorResponse>"
    ).encode()
