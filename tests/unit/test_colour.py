"""Two slots, and the weights between them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.colour import Colour, Weights


@pytest.mark.parametrize(("colour", "other"), [(Colour.BLUE, Colour.GREEN), (Colour.GREEN, Colour.BLUE)])
def test_the_other_colour_is_the_other_slot(colour: Colour, other: Colour) -> None:
    assert colour.other is other


@pytest.mark.parametrize("colour", list(Colour))
def test_all_on_a_colour_leaves_nothing_to_the_other(colour: Colour) -> None:
    weights = Weights.all_on(colour)
    assert (weights.of(colour), weights.of(colour.other)) == (100, 0)


@pytest.mark.parametrize(("blue", "green"), [(-1, 0), (0, -1), (1_000, 0), (0, 1_000)])
def test_a_weight_that_elbv2_would_not_take_is_no_weight(blue: int, green: int) -> None:
    with pytest.raises(ValidationError):
        Weights(blue=blue, green=green)


def test_weights_say_both_colours() -> None:
    assert str(Weights(blue=90, green=10)) == "blue 90, green 10"
