"""When the colour that is not live may be stopped, and why not yet."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.record import EnvironmentRecord

__all__ = ["reason_to_skip"]


def reason_to_skip(record: EnvironmentRecord, now: datetime, *, window: float, at_once: bool) -> str | None:
    """Return in a sentence why a `retire` has nothing to do, or None where it is due.

    `window` is for how many seconds the old colour stays warm. With `at_once` a human wants it stopped: then neither
    that nor somebody at work nor a freeze is a good end, and whoever takes the environment refuses the latter two.
    """
    environment, live, lease = record.environment, record.live, record.lease
    if live is None:
        return f"Nothing is live in {environment}, so there is nothing to retire."
    if at_once:
        return None
    if record.destroying is not None:
        return f"Skipped: {environment} is being destroyed."
    if record.frozen is not None:
        return f"Skipped: {environment} is frozen: {record.frozen.reason}."
    if lease is not None:
        holder = f"{lease.owner.flow} {lease.version or ''}".strip()
        return f"Skipped: {environment} is held by {holder}, at {lease.step}. The next run tries again."
    due = live.since + timedelta(seconds=window)
    if now < due:
        return f"{live.colour.other} stays warm until {due:%Y-%m-%d %H:%M:%S %Z}."
    return None
