"""A release's waterfall, and its critical path on paper: what must wait for what, however well it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.history import StepRecord

__all__ = ["Bar", "Latencies", "Need", "critical_path", "needs_of_a_release", "waterfall"]


@dataclass(frozen=True)
class Bar:
    """One step in the waterfall: seconds from the release's first step to its start, and its length."""

    step: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Need:
    """Something that a release has to wait for: what comes before it, and how long it takes at best."""

    name: str
    after: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Latencies:
    """What AWS itself takes, in seconds; nothing that a release does can shorten it."""

    task_start: float = 0.0
    healthy_after: float = 0.0
    weights: float = 0.0
    log_delay: float = 0.0


def waterfall(steps: Iterable[StepRecord]) -> list[Bar]:
    """Return a release's steps in the order in which they began."""
    ordered = sorted(steps, key=lambda s: s.started_at)
    if not ordered:
        return []
    first = ordered[0].started_at
    return [Bar(s.name, round((s.started_at - first).total_seconds(), 3), s.seconds or 0.0) for s in ordered]


def needs_of_a_release(commands: Mapping[str, float], latencies: Latencies, *, migration: float) -> list[Need]:
    """Return what a release of a fresh version with one migration needs, as a graph.

    `commands` are the seconds of the same commands by hand, on the same machine in the same run; `migration` is how
    long the migration's container itself works. New code never meets an old schema, so the candidate waits for the
    migration; and nothing gets traffic before it is healthy.
    """
    return [
        Need("init", (), commands["init"]),
        Need("build", (), commands["build"]),
        Need("push", ("build",), commands["push"]),
        Need("plan", ("init", "push"), commands["plan"]),
        Need("apply", ("plan",), commands["apply"]),
        Need("migration task starts", ("apply",), latencies.task_start),
        Need("migration", ("migration task starts",), migration),
        # What the table says afterwards arrives by the task's log.
        Need("its log arrives", ("migration",), latencies.log_delay),
        Need("candidate starts", ("its log arrives",), latencies.task_start),
        Need("candidate is healthy", ("candidate starts",), latencies.healthy_after),
        Need("weights reach every address", ("candidate is healthy",), latencies.weights),
    ]


def critical_path(needs: Iterable[Need]) -> tuple[float, tuple[str, ...]]:
    """Return the longest way through the needs, which are listed with what comes before first: seconds and names."""
    best: dict[str, tuple[float, tuple[str, ...]]] = {}
    for need in needs:
        before = max((best[name] for name in need.after), default=(0.0, ()))
        best[need.name] = before[0] + need.seconds, (*before[1], need.name)
    return max(best.values(), default=(0.0, ()))
