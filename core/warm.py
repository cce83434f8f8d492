"""How a rollback may use the slot that it returns to: as it is, after more tasks were added, or only started anew."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["SlotFacts", "Warmth", "enough_to_move", "judge_slot"]


class Warmth(StrEnum):
    """What the target's slot is good for."""

    WARM = "warm"  # it takes the traffic as it is
    SHORT = "short"  # it runs the target with fewer tasks than wanted: tasks are added, none is stopped
    COLD = "cold"  # it has to be planned, applied and started


@dataclass(frozen=True)
class SlotFacts:
    """What was seen of the target's slot."""

    runs_target: bool
    desired: int
    healthy: int
    wanted: int
    carries: bool


def judge_slot(slot: SlotFacts) -> Warmth:
    """Return what the slot is good for. One that carries the traffic already has only to be recorded."""
    if slot.carries and slot.runs_target:
        return Warmth.WARM
    if not slot.runs_target or slot.desired == 0 or slot.healthy == 0:
        return Warmth.COLD
    return Warmth.WARM if slot.healthy >= slot.wanted else Warmth.SHORT


def enough_to_move(*, healthy: int, wanted: int, live_healthy: int) -> bool:
    """Whether a slot that is being filled takes the traffic now: when full, or when it serves better than what is live.

    A rollback is an incident more often than not: then two healthy tasks of three are better than none of three.
    """
    return healthy >= wanted or healthy > live_healthy
