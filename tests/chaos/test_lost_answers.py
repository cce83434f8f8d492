"""A lost answer after each write to AWS and S3: the release looks what became of it, and goes through."""

from __future__ import annotations

import psycopg
import pytest

from core.history import State
from tests.chaos.cases import LOST_ANSWERS, LostAnswer
from tests.chaos.scene import Expected, Scene, fresh, release_version

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("case", LOST_ANSWERS, ids=lambda case: case.name)
def test_answer_lost(scene: Scene, case: LostAnswer) -> None:
    if case.warm:
        scene.make_warm()
    if case.new_service:
        scene.delete_candidate_service()
    tag = fresh()
    with scene.operator.with_faults(case.fault):
        run_id = scene.release(tag, overlay=scene.slow_migration(0) if case.migrates else None)
        scene.operator.wait(run_id)
        hits = scene.operator.fault_hits()
    assert hits > 0, "the fault met no call"
    if case.may_fail:
        scene.check(Expected(None, ("COMPLETED", "FAILED"), (State.HEALTHY, State.FAILED)), run_id, tag)
    else:
        scene.check(Expected(tag, ("COMPLETED",), (State.HEALTHY,)), run_id, tag)
    if case.may_fail:
        # Whatever became of it, the next release goes through.
        release_version(scene.operator)
    for name in scene.may_be_cut_short:
        assert _times_run(scene, name) == 1


def _times_run(scene: Scene, migration: str) -> int:
    with psycopg.connect(scene.operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]) as connection:
        query = "select count(*) from _prisma_migrations where migration_name = %s and finished_at is not null"
        row = connection.execute(query, [migration]).fetchone()
    return int(row[0]) if row else 0
