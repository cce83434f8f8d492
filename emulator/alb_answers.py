"""Answers of the load balancer's API, in MiniStack's form."""

from __future__ import annotations

from typing import Any

from emulator.upstream import alb

__all__ = ["Answer", "Parameters", "empty", "error", "xml"]

Answer = tuple[int, dict[str, str], Any]
Parameters = dict[str, Any]


def error(code: str, message: str) -> Answer:
    """Return AWS's refusal."""
    answer: Answer = alb._error(code, message)
    return answer


def empty(action: str) -> Answer:
    """Return the answer of an action that tells nothing."""
    answer: Answer = alb._empty(action)
    return answer


def xml(action: str, inner: str) -> Answer:
    """Return the answer of an action with this result."""
    answer: Answer = alb._xml(200, action, inner)
    return answer
