"""The bytes of a delivery: read within limits, and proven to come from GitHub before anybody parses them."""

import asyncio
import hashlib
import hmac

from fastapi import Request

from webhook.settings import GITHUB_BODY_CAP


async def read_body(request: Request, *, max_bytes: int, seconds: float) -> bytes | None:
    """Read the raw body; None if it is larger than `max_bytes`, TimeoutError after `seconds`."""
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(seconds):
        async for chunk in request.stream():
            size += len(chunk)
            if size <= max_bytes:
                chunks.append(chunk)
                continue
            # What is too large is thrown away as it comes, up to what GitHub may send: a sender whose
            # connection is cut in the middle of its body never reads the answer.
            chunks.clear()
            if size > GITHUB_BODY_CAP:
                break
    return b"".join(chunks) if size <= max_bytes else None


def is_signed(body: bytes, header: str | None, secret: bytes) -> bool:
    """Whether X-Hub-Signature-256 is the raw body's HMAC SHA-256 under our secret, in constant time."""
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (header or "").encode())
