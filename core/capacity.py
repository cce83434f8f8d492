"""Whether ECS only lacks room for a task, which passes, or cannot run it at all."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["short_of_capacity"]

# ECS gives no code for it: https://repost.aws/knowledge-center/ecs-fargate-capacity-unavailable
_SHORT = ("capacity is unavailable", "capacity is not available", "resource:", "insufficient capacity")


def short_of_capacity(messages: Iterable[str]) -> bool:
    """Return whether any of a service's events or of RunTask's reasons says that there was no room."""
    return any(words in message.lower() for message in messages for words in _SHORT)
