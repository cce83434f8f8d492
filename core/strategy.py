"""How a release gets its traffic: facts in, the next weights out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.colour import Colour, Weights

__all__ = ["AllAtOnce", "Strategy"]


class Strategy(Protocol):
    """Decides stage by stage what the production listener carries."""

    def next_weights(self, candidate: Colour, carried: Weights) -> Weights | None:
        """Return what the listener is to carry next, or None once the candidate has all of it."""


@dataclass(frozen=True)
class AllAtOnce:
    """Blue/green: the candidate gets all traffic in one step."""

    def next_weights(self, candidate: Colour, carried: Weights) -> Weights | None:
        """Return all weight on the candidate, unless it carries that."""
        wanted = Weights.all_on(candidate)
        return None if carried == wanted else wanted
