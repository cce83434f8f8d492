"""RDS instances are records: the sandbox's database is a part of its own, and no image of one is at hand."""

from __future__ import annotations

from emulator.upstream import rds, replace

__all__ = ["install"]


def install() -> None:
    """Put the addition in MiniStack's place: an instance is available at once, and no container stands behind it."""
    replace(rds, "_get_docker", lambda: None)
