"""`kill -9` at each step: settled with nobody pressing anything, and with the worker still dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.history import State
from tests.chaos.cases import BEFORE, RELEASE_KILLS, ROLLBACK_KILLS
from tests.chaos.scene import SETTLED_WITHIN, Expected, Scene, fresh

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(
    ("stage", "who", "expected"), [pytest.param(*kill, id=f"{kill[0]}-{kill[1]}") for kill in RELEASE_KILLS]
)
def test_release_killed(scene: Scene, stage: str, who: str, expected: Expected) -> None:
    tag = fresh()
    run_id = scene.release(tag, overlay=scene.slow_migration() if stage == "migrate" else None)
    with scene.at(stage, run_id, tag):
        scene.kill(run_id, who)
    within = SETTLED_WITHIN if who != "worker" else expected.within
    live = scene.was if expected.live == BEFORE else expected.live
    scene.check(replace(expected, live=live, within=within), run_id, tag)
    if who != "flow":
        assert scene.operator.sandbox.pid("worker") is None
        scene.operator.sandbox.restart("worker")
        scene.check_all(scene.operator.live)


@pytest.mark.parametrize(("kind", "stage", "who"), ROLLBACK_KILLS)
def test_rollback_killed(scene: Scene, kind: str, stage: str, who: str) -> None:
    """It is completed, never undone."""
    target = scene.make_rollback(kind)
    run_id = scene.operator.run("rollback", to_version=target)
    with scene.at(stage, run_id):
        scene.kill(run_id, who)
    run = ("COMPLETED",) if who == "worker" else ("CRASHED",)
    scene.check(Expected(target, run, within=60), run_id)
    assert scene.operator.history(target).state is State.HEALTHY
    if who != "flow":
        assert scene.operator.sandbox.pid("worker") is None
        scene.operator.sandbox.restart("worker")
        scene.check_all(target)


@pytest.mark.parametrize("stage", ["account", "environment"])
def test_provision_killed(scene: Scene, stage: str) -> None:
    """Its holds and its state's lock are free again, and the next one goes through."""
    run_id = scene.operator.run("provision")
    with scene.at(stage, run_id):
        scene.kill(run_id, "flow")
    scene.check(Expected(scene.was, ("CRASHED",), within=SETTLED_WITHIN), run_id)
    scene.repeat("provision")
    scene.check_all(scene.was)
