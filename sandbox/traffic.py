"""A client that keeps asking the production listener, and counts what came back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from sandbox.settings import ADDRESSES

__all__ = ["Client", "Requests"]


@dataclass
class Requests:
    """What a client sent, what failed, and which versions answered."""

    sent: int = 0
    failed: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Client:
    """Asks a path again and again from two threads, on connections kept and on fresh ones, until it is stopped.

    Each thread asks at an address of its own, as a load balancer has several. A request fails by an answer other than
    200, or by no answer. At most `per_second` requests, for at most `limit` seconds.
    """

    def __init__(self, url: str, *, path: str = "/version", per_second: float = 40.0, limit: float = 900.0) -> None:
        self._path, self._pause = path, 2 / per_second
        self._end = time.monotonic() + limit
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._seen = Requests()
        self._threads = [
            threading.Thread(target=self._ask, args=(url.replace(ADDRESSES[0], address), keep), daemon=True)
            for keep, address in zip((True, False), ADDRESSES, strict=True)
        ]

    def __enter__(self) -> Client:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def seen(self) -> Requests:
        """Return what was counted so far."""
        with self._lock:
            seen = self._seen
            return Requests(seen.sent, seen.failed, Counter(seen.versions), list(seen.failures))

    def since(self, before: Requests) -> Requests:
        """Return what was counted since an earlier look."""
        now = self.seen()
        return Requests(
            now.sent - before.sent,
            now.failed - before.failed,
            now.versions - before.versions,
            now.failures[len(before.failures) :],
        )

    def _ask(self, url: str, keep: bool) -> None:
        headers = {} if keep else {"Connection": "close"}
        with httpx.Client(timeout=10, trust_env=False, headers=headers) as client:
            while not self._stop.is_set() and time.monotonic() < self._end:
                began = time.monotonic()
                try:
                    answer = client.get(f"{url}{self._path}")
                    failure = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"
                    version = _version(answer.json()) if not failure else ""
                except (httpx.HTTPError, ValueError) as error:
                    failure, version = f"{type(error).__name__}: {error}", ""
                with self._lock:
                    self._seen.sent += 1
                    if failure:
                        self._seen.failed += 1
                        self._seen.failures.append(f"{time.strftime('%H:%M:%S')} {failure}")
                    else:
                        self._seen.versions[version] += 1
                self._stop.wait(max(0.0, self._pause - (time.monotonic() - began)))


def _version(answer: object) -> str:
    return str(answer.get("version", "?")) if isinstance(answer, dict) else "?"
