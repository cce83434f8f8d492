"""All at once: one stage, and then no more."""

from __future__ import annotations

import pytest

from core.colour import Colour, Weights
from core.strategy import AllAtOnce

BLUE, GREEN = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN)


@pytest.mark.parametrize(
    ("candidate", "carried", "then"),
    [
        (Colour.GREEN, BLUE, GREEN),
        (Colour.GREEN, Weights(blue=50, green=50), GREEN),
        (Colour.GREEN, GREEN, None),
        (Colour.BLUE, GREEN, BLUE),
    ],
)
def test_the_candidate_gets_all_of_it_in_one_stage(candidate: Colour, carried: Weights, then: Weights | None) -> None:
    assert AllAtOnce().next_weights(candidate, carried) == then
