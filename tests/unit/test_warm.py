"""How a rollback may use the slot that it returns to."""

from __future__ import annotations

import pytest

from core.warm import SlotFacts, Warmth, enough_to_move, judge_slot


@pytest.mark.parametrize(
    ("rule", "facts", "warmth"),
    [
        ("full", SlotFacts(True, desired=2, healthy=2, wanted=2, carries=False), Warmth.WARM),
        ("more than wanted", SlotFacts(True, desired=3, healthy=3, wanted=2, carries=False), Warmth.WARM),
        ("fewer than wanted: never stopped", SlotFacts(True, desired=2, healthy=2, wanted=3, carries=False), "short"),
        ("one is sick: never stopped", SlotFacts(True, desired=2, healthy=1, wanted=2, carries=False), Warmth.SHORT),
        ("none is healthy", SlotFacts(True, desired=2, healthy=0, wanted=2, carries=False), Warmth.COLD),
        ("retired, still draining", SlotFacts(True, desired=0, healthy=1, wanted=2, carries=False), Warmth.COLD),
        ("another definition", SlotFacts(False, desired=2, healthy=2, wanted=2, carries=False), Warmth.COLD),
        ("traffic is there already", SlotFacts(True, desired=2, healthy=0, wanted=2, carries=True), Warmth.WARM),
    ],
)
def test_a_slot_is_warm_by_what_it_runs_and_by_its_healthy_targets(rule: str, facts: SlotFacts, warmth: Warmth) -> None:
    assert judge_slot(facts) is Warmth(warmth), rule


@pytest.mark.parametrize(
    ("healthy", "live_healthy", "moves"), [(3, 3, True), (2, 0, True), (2, 1, True), (2, 2, False), (0, 0, False)]
)
def test_a_slot_that_is_being_filled_takes_the_traffic_once_it_serves_better(
    healthy: int, live_healthy: int, moves: bool
) -> None:
    assert enough_to_move(healthy=healthy, wanted=3, live_healthy=live_healthy) is moves
