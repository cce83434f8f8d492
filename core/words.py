"""Words for people."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, thing: str) -> str:
    """Return `1 task`, `2 tasks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
