"""Cancel in the UI, at each step: a release is aborted and the live version serves; a rollback is completed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.history import State
from tests.chaos.cases import CANCELLED, RELEASE_CANCELS, ROLLBACK_CANCELS, lost
from tests.chaos.scene import Expected, Scene, fresh

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("stage", RELEASE_CANCELS)
def test_release_cancelled(scene: Scene, stage: str) -> None:
    tag = fresh()
    run_id = scene.release(tag, overlay=scene.slow_migration(8) if stage == "migrate" else None)
    scene.cancel_at(stage, run_id, tag)
    scene.check(replace(CANCELLED, live=scene.was), run_id, tag)


def test_release_cancelled_at_migrate_and_the_answer_to_stop_task_lost(scene: Scene) -> None:
    tag = fresh()
    run_id = scene.release(tag, overlay=scene.slow_migration(8))
    with scene.at("migrate", run_id, tag):
        pass
    with scene.operator.with_faults(lost("ecs", "StopTask")):
        scene.cancel(run_id)
        scene.operator.wait(run_id)
    scene.check(replace(CANCELLED, live=scene.was), run_id, tag)


@pytest.mark.parametrize(("kind", "stage"), ROLLBACK_CANCELS)
def test_rollback_cancelled(scene: Scene, kind: str, stage: str) -> None:
    target = scene.make_rollback(kind)
    run_id = scene.operator.run("rollback", to_version=target)
    scene.cancel_at(stage, run_id)
    scene.check(Expected(target, ("CANCELLED",), within=60), run_id)
    assert scene.operator.history(target).state is State.HEALTHY
