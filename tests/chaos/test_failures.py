"""A part that really fails, at each step of a release: the live version keeps all traffic, and the record says why."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.history import State
from sandbox.operator import fault
from tests.chaos.cases import FAILURES, NOT_READY, S3_REFUSALS, Failure
from tests.chaos.scene import Expected, Scene, fresh
from tests.waiting import wait_for

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_failure(scene: Scene, case: Failure) -> None:
    if case.warm:
        scene.make_warm()
    overlay = scene.slow_migration(0) if case.migrates else case.overlay
    if isinstance(overlay, Mapping):
        overlay = scene.overlay(overlay)
    if case.overlay == "migration":
        scene.may_be_cut_short = {"20260501090000_add_organiser"}
    tag = fresh()
    faults = [case.fault] if case.fault else []
    with scene.operator.with_settings(**case.settings), scene.operator.with_faults(*faults):
        run_id = scene.release(tag, overlay=overlay)
        wait_for(lambda: scene.operator.look(run_id).over, 120, "it goes on")
    scene.check(Expected(scene.was, ("FAILED",), (State.FAILED,), step=case.step), run_id, tag)
    message = scene.operator.look(run_id).message
    assert message.startswith(f"{tag} → sandbox failed at {case.step}: ")
    assert scene.was in message or case.step == "checkout"


@pytest.mark.parametrize(("stage", "effect"), S3_REFUSALS)
def test_s3_refuses_records_midway(scene: Scene, stage: str, effect: str) -> None:
    """For a few seconds; whatever comes of the release, its record and its traffic say the same in the end."""
    tag = fresh()
    run_id = scene.release(tag)
    with scene.at(stage, run_id, tag):
        pass
    with scene.operator.with_faults(fault(effect, "s3", "PutObject", "releases/")):
        scene.pause(6)
    states = (State.FAILED, State.HEALTHY)
    scene.check(Expected(None, ("FAILED", "COMPLETED", "CRASHED"), states), run_id, tag)


def test_s3_refuses_the_record_of_a_release_that_fails(scene: Scene) -> None:
    """The failure cannot be written down at first; it stands there once S3 takes it."""
    tag = fresh()
    run_id = scene.release(tag, overlay=scene.overlay(NOT_READY))
    with scene.at("start", run_id, tag):
        pass
    wait_for(lambda: "smoke" in {step.name for step in scene.operator.history(tag).attempts[-1].steps}, 60, "no smoke")
    with scene.operator.with_faults(fault("error:403", "s3", "PutObject", f"releases/sandbox/{tag}")):
        wait_for(lambda: scene.operator.look(run_id).over, 60, "it goes on")
    scene.await_end(tag)
    scene.check(Expected(scene.was, ("FAILED",), (State.FAILED,)), run_id, tag)
