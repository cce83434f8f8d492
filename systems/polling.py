"""Polling and writing over a network that loses answers: the two loops of everything that waits for AWS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from core.errors import PointsmanError, Transient, UnknownOutcome
from systems.log import run_logger

__all__ = ["patient", "polls", "read_twice", "write_until_seen"]

T = TypeVar("T")


def patient(read: Callable[[], T]) -> T | None:
    """Return what was read, or None where AWS did not answer just now: who polls looks again until its deadline."""
    try:
        return read()
    except Transient as error:
        run_logger().info("%s Trying again.", error)
        return None


def polls(*, every: float, within: float, check: Callable[[], None]) -> Iterator[None]:
    """Yield at once, and then again every so many seconds until `within` seconds are over.

    `check` is called before each; the last comes when time is up, so that what became true meanwhile is still seen.
    """
    end = time.monotonic() + within
    while True:
        check()
        last = time.monotonic() > end
        yield
        if last:
            return
        time.sleep(every)


def read_twice(read: Callable[[], T], *, believed: Callable[[T], bool], after: float) -> T:
    """Return what was read, and where that is not believed, what is read again `after` seconds.

    AWS is eventually consistent: one stale read never freezes, frees or decides.
    """
    found = read()
    if believed(found):
        return found
    time.sleep(after)
    return read()


def write_until_seen(
    write: Callable[[], T | None],
    look: Callable[[], T | None],
    *,
    unseen: Callable[[PointsmanError | None], PointsmanError],
    before_again: Callable[[int], None],
    tries: int = 3,
) -> T:
    """Write, and return what shows that it had its effect: the answer, or what a look finds.

    A lost answer leads to a look, and only where that shows nothing `before_again` (which is given the number of tries
    so far) is called and the write repeated. So only a write that may be made twice belongs here. Raises what `unseen`
    makes of the last error.
    """
    failure: PointsmanError | None = None
    for attempt in range(tries):
        if attempt:
            before_again(attempt)
        try:
            answered = write()
            if answered is not None:
                return answered
        except (Transient, UnknownOutcome) as error:
            failure = error
        try:
            found = look()
        except Transient as error:
            failure = error
            continue
        if found is not None:
            return found
    raise unseen(failure) from failure
