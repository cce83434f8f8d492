"""Somebody else's hand: a weight that Pointsman did not write, midway, freezes everything until a human answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.colour import Colour
from core.history import State
from tests.chaos.scene import Expected, Scene, fresh

pytestmark = pytest.mark.chaos


def see_it_frozen(scene: Scene, run_id: str, foreign: Mapping[Colour, int]) -> None:
    """The run failed because of the hand, and the hand's weights stand."""
    run = scene.operator.wait(run_id)
    assert run.type == "FAILED"
    assert "frozen" in run.message
    assert scene.operator.weights() == {colour.value: weight for colour, weight in foreign.items()}


def test_weight_changed_by_hand_while_a_release_smoke_tests(scene: Scene) -> None:
    tag = fresh()
    run_id = scene.release(tag)
    foreign = scene.foreign_weights()
    with scene.at("smoke", run_id, tag):
        scene.set_weights(foreign)
    see_it_frozen(scene, run_id, foreign)
    scene.unfreeze()
    ended = Expected(scene.was, ("FAILED",), (State.FAILED,), step="shift", leaves_nothing=False)
    scene.check(ended, run_id, tag)


def test_weight_changed_by_hand_while_a_cold_rollback_starts_its_target(scene: Scene) -> None:
    target = scene.make_rollback("cold")
    run_id = scene.operator.run("rollback", to_version=target)
    # To the slot that carries everything already, or requests would fail by that very hand.
    foreign = {colour: weight // 2 for colour, weight in scene.home().items()}
    with scene.at("start", run_id):
        scene.set_weights(foreign)
    see_it_frozen(scene, run_id, foreign)
    scene.unfreeze()
    scene.check(Expected(scene.was, ("FAILED",)), run_id)
