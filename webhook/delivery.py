"""The bytes of a delivery: read within limits, and proven to come from GitHub before anybody parses them."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from core.github_event import Reject

SIGNATURE = "X-Hub-Signature-256"

_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")
_UNSIGNED = Reject(401, f"{SIGNATURE} is missing or does not match: webhook and environment need the same secret.")


@dataclass
class Intake:
    """How bodies are taken in: only few at a time, each within a size and a time."""

    max_bytes: int
    seconds: float
    max_bodies: int
    _under_way: int = field(default=0, init=False)

    async def take(self, request: Request, secrets: Iterable[bytes]) -> bytes | Reject:
        """Return the body of a delivery that is signed with one of our secrets, or what is wrong with it.

        What its headers alone give away is refused before a byte of the body is read.
        """
        signature = request.headers.get(SIGNATURE)
        if signature is None or not _SIGNATURE.fullmatch(signature):
            return _UNSIGNED
        if _announced_size(request) > self.max_bytes:
            return self._too_large
        with self._place() as there_is_one:
            if not there_is_one:
                return Reject(503, "Too many deliveries at the same time: redeliver this one.")
            body = await self._read(request)
        if isinstance(body, bytes) and not is_signed(body, signature, secrets):
            return _UNSIGNED
        return body

    @contextmanager
    def _place(self) -> Iterator[bool]:
        self._under_way += 1
        try:
            yield self._under_way <= self.max_bodies
        finally:
            self._under_way -= 1

    async def _read(self, request: Request) -> bytes | Reject:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self.max_bytes:
                        return self._too_large
                    chunks.append(chunk)
        except TimeoutError:
            return Reject(408, f"The body did not arrive within {self.seconds:g} s.")
        except ClientDisconnect:
            return Reject(400, "The connection was closed before the body was complete.")
        return b"".join(chunks)

    @property
    def _too_large(self) -> Reject:
        return Reject(413, f"The body is larger than {self.max_bytes} bytes (POINTSMAN_WEBHOOK_MAX_BODY_BYTES).")


def is_signed(body: bytes, header: str, secrets: Iterable[bytes]) -> bool:
    """Whether X-Hub-Signature-256 is the raw body's HMAC SHA-256 under one of our secrets, in constant time."""
    expected = [f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}".encode() for secret in secrets]
    return any(hmac.compare_digest(one, header.encode()) for one in expected)


def _announced_size(request: Request) -> int:
    length = request.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0
