"""Two at once: one writes, the other waits, is superseded, or is refused."""

from __future__ import annotations

import pytest

from core.history import State
from tests.chaos.scene import Scene, fresh

pytestmark = pytest.mark.chaos


def test_a_second_release_waits_for_the_first(scene: Scene) -> None:
    older, newer = fresh(), fresh()
    first = scene.release(older)
    with scene.at("plan", first, older):
        second = scene.release(newer)
    ended = [scene.operator.wait(run_id).type for run_id in (first, second)]
    assert ended == ["COMPLETED", "COMPLETED"]
    scene.check_all(newer)


def test_two_releases_at_the_same_moment(scene: Scene) -> None:
    older, newer = fresh(), fresh()
    for tag in (older, newer):
        scene.operator.push("v1.1.0", tag=tag)
    second, first = (scene.operator.run("release", tag=tag) for tag in (newer, older))
    ended = [scene.operator.wait(run_id) for run_id in (first, second)]
    assert ended[1].type == "COMPLETED", ended[1].message
    assert ended[0].type in ("COMPLETED", "CANCELLED") or "older than the live" in ended[0].message
    scene.check_all(newer)


def test_a_release_that_waits_is_killed(scene: Scene) -> None:
    older, newer = fresh(), fresh()
    first = scene.release(older)
    with scene.at("plan", first, older):
        second = scene.release(newer)
        scene.wait_for_queue(second)
        scene.kill(second, "flow")
    assert scene.operator.wait(first).type == "COMPLETED"
    assert scene.operator.wait(second).type == "CRASHED"
    scene.check_all(older)


@pytest.mark.parametrize(("stage", "abort"), [("plan", True), ("start", True), ("moved", None), ("moved", True)])
def test_a_rollback_stops_a_release(scene: Scene, stage: str, abort: bool | None) -> None:
    scene.make_rollback("warm")
    tag = fresh()
    release = scene.release(tag)
    with scene.at(stage, release, tag):
        parameters = {} if abort is None else {"abort_in_flight": abort}
        rollback = scene.operator.run("rollback", **parameters)
        stopped = scene.operator.wait(release)
    rolled_back = scene.operator.wait(rollback)
    scene.end_state = f"release {stopped.type}, rollback {rolled_back.type}"
    if stopped.type == "COMPLETED":  # the release was faster than the wish, so there was a version to leave
        assert rolled_back.type == "COMPLETED", rolled_back.message
    else:
        assert (stopped.type, rolled_back.type) == ("CANCELLED", "COMPLETED"), (stopped.message, rolled_back.message)
        assert scene.operator.history(tag).state is State.ABORTED
    scene.check_all(scene.was)


def test_a_rollback_does_not_stop_a_release_that_has_no_traffic(scene: Scene) -> None:
    scene.make_rollback("warm")
    tag = fresh()
    release = scene.release(tag)
    with scene.at("plan", release, tag):
        refused = scene.operator.wait(scene.operator.run("rollback"))
    assert refused.type == "FAILED"
    assert "abort_in_flight" in refused.message
    assert scene.operator.wait(release).type == "COMPLETED"
    scene.check_all(tag)


@pytest.mark.parametrize("kind", ["warm", "cold"])
def test_two_rollbacks(scene: Scene, kind: str) -> None:
    target = scene.make_rollback(kind)
    runs = [scene.operator.run("rollback", to_version=target) for _ in range(2)]
    ended = sorted(scene.operator.wait(run_id).type for run_id in runs)
    assert ended == ["COMPLETED", "FAILED"]
    scene.check_all(target)


def test_retire_does_not_touch_a_release(scene: Scene) -> None:
    tag = fresh()
    release = scene.release(tag)
    with scene.at("smoke", release, tag):
        retired = scene.operator.wait(scene.operator.run("retire", at_once=True))
    assert retired.type == "FAILED" or "empty" in retired.message, retired.message
    assert scene.operator.wait(release).type == "COMPLETED"
    scene.check_all(tag)
