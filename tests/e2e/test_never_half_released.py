"""A release ends live and healthy, or the old version carries all traffic and the record says why."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from core.history import State
from sandbox.observer import Observer
from sandbox.operator import Operator, Run, fault
from sandbox.traffic import Client
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("something_live")]


def start(operator: Operator, tag: str, *, tree: str = "v1.1.0", overlay: str | Path | None = None) -> str:
    operator.push(tree, tag=tag, overlay=overlay)
    return operator.run("release", tag=tag)


def release(operator: Operator, tree: str, *, tag: str, overlay: str | Path | None = None) -> Run:
    return operator.wait(start(operator, tag, tree=tree, overlay=overlay))


def open_step(operator: Operator, version: str | None) -> str | None:
    """The step that a version's last attempt is in."""
    try:
        steps = operator.history(version).attempts[-1].steps if version else ()
    except operator.client("s3").exceptions.NoSuchKey:
        return None
    return steps[-1].name if steps and steps[-1].outcome is None else None


def reach(operator: Operator, stage: str) -> int:
    """Wait until a run is at a stage; return its process. Slow records let none be missed."""
    found: list[int] = []

    def there() -> bool:
        lease = operator.record().lease
        if lease is not None and stage in (lease.step, open_step(operator, lease.version)):
            found.append(lease.owner.pid)
        return bool(found)

    with operator.with_faults(fault("delay:0.2", "s3", "PutObject", "releases/")):
        wait_for(there, 60, f"no run reached {stage}")
    return found[0]


def test_a_failure_midway_through_the_shift_leaves_all_traffic_on_the_live_version(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, was = observer.look(), operator.live
    tag = operator.next_tag()
    with operator.with_faults(fault("error:503", "elasticloadbalancing", "ModifyListener")):
        run = release(operator, "v1.1.0", tag=tag)
    assert run.type == "FAILED"
    assert tag in run.message.splitlines()[0]
    assert "shift" in run.message
    assert f"{was} (" in run.message
    history = operator.history(tag)
    assert history.state is State.FAILED
    assert history.attempts[-1].failure is not None
    assert history.attempts[-1].failure.step == "shift"
    assert observer.faults(before, live=was) == []
    after = dict(operator.task_runs(run.id)[-5:])
    assert list(after) == ["traffic back", "state lock", "stop tasks", "stop candidate", "close record"]
    assert set(after.values()) == {"COMPLETED"}, "the graph of a failed release tells its end"


def test_a_killed_release_is_settled_with_nobody_pressing_anything(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, was = observer.look(), operator.live
    tag = operator.next_tag()
    run_id = start(operator, tag)
    os.kill(reach(operator, "apply"), signal.SIGKILL)
    began = time.monotonic()
    wait_for(lambda: operator.record().lease is None, 20, "nobody settled the killed release")
    assert time.monotonic() - began < 20
    wait_for(lambda: operator.look(run_id).over, 20, "the dead run still looks alive")
    assert operator.look(run_id).type == "CRASHED"
    history = operator.history(tag)
    assert history.state is State.FAILED
    assert observer.faults(before, live=was) == []


def test_retry_goes_on_from_what_is_really_done(operator: Operator, observer: Observer, client: Client) -> None:
    tag = operator.next_tag()
    run_id = start(operator, tag)
    os.kill(reach(operator, "smoke"), signal.SIGKILL)
    wait_for(lambda: operator.record().lease is None and operator.look(run_id).over, 30, "it was not settled")
    before = observer.look()
    time.sleep(5)  # Prefect's worker says Crashed twice, the second time some seconds later, over whatever came between
    operator.set_state(run_id, "SCHEDULED", "AwaitingRetry", force=False)
    run = operator.wait(run_id, until=lambda run: run.type == "COMPLETED" or run.type == "FAILED")
    assert run.type == "COMPLETED", run.message
    attempts = operator.history(tag).attempts
    assert len(attempts) == 2
    outcomes = {step.name: step.outcome for step in attempts[-1].steps}
    assert outcomes["build"] == outcomes["push"] == outcomes["apply"] == outcomes["migrate"] == "skipped"
    assert outcomes["smoke"] == outcomes["shift"] == "done"
    assert observer.faults(before, live=tag) == []


def test_a_cancelled_release_is_aborted_and_the_live_version_serves(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, was = observer.look(), operator.live
    tag = operator.next_tag()
    run_id = start(operator, tag)
    reach(operator, "plan")
    operator.set_state(run_id, "CANCELLING", "Cancelling", force=True)
    run = operator.wait(run_id, timeout=60)
    assert run.type == "CANCELLED"
    wait_for(lambda: operator.record().lease is None, 20, "the hold was not given back")
    assert operator.history(tag).state is State.ABORTED
    assert observer.faults(before, live=was) == []


def test_a_rollback_goes_to_the_last_healthy_version_and_never_ping_pongs(
    operator: Operator, observer: Observer, client: Client
) -> None:
    was, tag = operator.live, operator.next_tag()
    assert release(operator, "v1.1.0", tag=tag).type == "COMPLETED"
    before = observer.look()
    run = operator.wait(operator.run("rollback"))
    assert run.type == "COMPLETED", run.message
    assert "warm" in run.message
    assert observer.faults(before, live=was) == []
    assert operator.history(tag).state is State.ROLLED_BACK
    again = operator.wait(operator.run("rollback"))
    assert operator.live != tag, again.message
    forward = operator.wait(operator.run("rollback", to_version=tag))
    assert forward.type == "COMPLETED", forward.message
    assert observer.faults(before, live=tag) == []


def test_a_rollback_killed_midway_is_completed(operator: Operator, observer: Observer, client: Client) -> None:
    was, tag = operator.live, operator.next_tag()
    assert release(operator, "v1.1.0", tag=tag).type == "COMPLETED"
    assert operator.wait(operator.run("retire", at_once=True)).type == "COMPLETED"
    before = observer.look()
    run_id = operator.run("rollback")
    os.kill(reach(operator, "plan"), signal.SIGKILL)
    wait_for(lambda: operator.live == was and operator.record().lease is None, 60, "it was not completed")
    wait_for(lambda: operator.look(run_id).over, 20, "the dead run still looks alive")
    assert observer.faults(before, live=was) == []


def test_a_weight_that_nobody_of_ours_wrote_freezes_until_a_human_answers(
    operator: Operator, observer: Observer
) -> None:
    before, was = observer.look(), operator.live
    record = operator.record()
    assert record.infrastructure is not None
    assert record.live is not None
    foreign = {record.live.colour: 90, record.live.colour.other: 10}
    operator.client("elbv2").modify_listener(
        ListenerArn=record.infrastructure.production_listener_arn,
        DefaultActions=[
            {
                "Type": "forward",
                "ForwardConfig": {
                    "TargetGroups": [
                        {"TargetGroupArn": record.infrastructure.target_group_arns[colour], "Weight": weight}
                        for colour, weight in foreign.items()
                    ]
                },
            }
        ],
    )
    wait_for(lambda: operator.record().frozen is not None, 20, "nobody noticed the foreign weight")
    refused = release(operator, "v1.1.0", tag=operator.next_tag())
    assert refused.type == "FAILED"
    assert "frozen" in refused.message
    assert operator.weights() == {colour.value: weight for colour, weight in foreign.items()}
    unfrozen = operator.wait(operator.run("unfreeze", keep=record.live.colour.value))
    assert unfrozen.type == "COMPLETED", unfrozen.message
    assert observer.faults(before, live=was) == []


def test_a_task_definition_that_somebody_else_deployed_freezes_until_a_human_restores_ours(
    operator: Operator, observer: Observer
) -> None:
    before, was = observer.look(), operator.live
    live, ecs = operator.record().live, operator.client("ecs")
    assert live is not None
    service = {"cluster": operator.settings.cluster, "service": operator.settings.service_name(live.colour)}
    copied = ecs.describe_task_definition(taskDefinition=live.definition)["taskDefinition"]
    container = copied["containerDefinitions"][0]
    container["environment"] = [*container["environment"], {"name": "DEPLOYED_BY", "value": "another tool"}]
    names = ("taskRoleArn", "executionRoleArn", "networkMode", "cpu", "memory", "requiresCompatibilities")
    taken = {name: copied[name] for name in names if name in copied}
    registered = ecs.register_task_definition(family="somebody-else", containerDefinitions=[container], **taken)
    foreign = registered["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(**service, taskDefinition=foreign)
    wait_for(lambda: operator.record().frozen is not None, 20, "nobody noticed the foreign task definition")
    told = operator.wait(operator.run("status")).message
    assert "its service runs the foreign task definition somebody-else:" in told
    for run_id in (operator.run("rollback"), operator.run("retire", at_once=True)):
        refused = operator.wait(run_id)
        assert refused.type == "FAILED"
        assert "frozen" in refused.message
    unfrozen = operator.wait(operator.run("unfreeze", keep=live.colour.value, restore=True))
    assert unfrozen.type == "COMPLETED", unfrozen.message
    running = ecs.describe_services(cluster=service["cluster"], services=[service["service"]])["services"][0]
    assert running["taskDefinition"] == live.definition
    assert operator.record().live == live
    wait_for(lambda: observer.faults(before, live=was) == [], 30, "the foreign tasks go on running")


def test_the_live_tag_with_another_count_is_only_scaled(operator: Operator, observer: Observer, client: Client) -> None:
    was = operator.record().live
    assert was is not None
    tag = was.release.version
    with operator.with_settings(desired_count="2"):
        run = operator.wait(operator.run("release", tag=tag))
        assert run.type == "COMPLETED", run.message
        assert "scaled from 1 to 2" in run.message
        assert len(observer.images(was.colour)) == 2
    before = operator.wait(operator.run("release", tag=tag))
    assert "scaled from 2 to 1" in before.message
    again = operator.wait(operator.run("release", tag=tag))
    assert "nothing was changed" in again.message
    assert operator.record().live == was


def test_of_three_queued_tags_only_the_newest_is_released(operator: Operator, observer: Observer) -> None:
    before = observer.look()
    tags = [operator.next_tag()]
    first = start(operator, tags[0])
    reach(operator, "plan")
    rest = []
    for _ in range(3):
        tags.append(operator.next_tag())
        rest.append(start(operator, tags[-1]))
    runs = [operator.wait(run_id) for run_id in (first, *rest)]
    assert [run.type for run in runs] == ["COMPLETED", "CANCELLED", "CANCELLED", "COMPLETED"]
    assert [operator.history(tag).state for tag in tags[1:3]] == [State.SUPERSEDED] * 2
    assert observer.faults(before, live=tags[3]) == []


def test_an_approval_shifts_traffic_and_is_recorded(operator: Operator, observer: Observer) -> None:
    before, tag = observer.look(), operator.next_tag()
    with operator.with_settings(required="true"):
        run_id = start(operator, tag)
        operator.wait(run_id, until=lambda run: run.over or run.state == "Suspended")
        assert operator.look(run_id).state == "Suspended", operator.look(run_id).message
        lease = operator.record().lease
        assert lease is not None
        assert lease.parked_until is not None
        assert operator.history(tag).state is State.AWAITING_APPROVAL
        answer = {"run_input": {"decision": "approve", "name": "Ada", "reason": "looks good"}}
        assert operator.api.post(f"/flow_runs/{run_id}/resume", json=answer).status_code == 201
        run = operator.wait(run_id, until=lambda run: run.over)
    assert run.type == "COMPLETED", run.message
    assert operator.history(tag).attempts[-1].approver == "Ada"
    assert len(operator.history(tag).attempts) == 1
    assert observer.faults(before, live=tag) == []


def test_a_newer_release_takes_the_place_of_one_that_waits_for_approval(operator: Operator, observer: Observer) -> None:
    before, older = observer.look(), operator.next_tag()
    with operator.with_settings(required="true"):
        waiting = start(operator, older)
        operator.wait(waiting, until=lambda run: run.over or run.state == "Suspended")
    newer = operator.next_tag()
    run = operator.wait(start(operator, newer))
    assert run.type == "COMPLETED", run.message
    assert operator.history(older).state is State.SUPERSEDED
    answer = {"run_input": {"decision": "approve", "name": "Ada"}}
    operator.api.post(f"/flow_runs/{waiting}/resume", json=answer)
    late = operator.wait(waiting)
    assert late.type == "FAILED"
    assert "superseded" in late.message
    assert observer.faults(before, live=newer) == []


def test_the_same_tag_again_changes_nothing_and_a_moved_or_older_one_is_refused(
    operator: Operator, observer: Observer
) -> None:
    tag = operator.next_tag()
    assert release(operator, "v1.1.0", tag=tag).type == "COMPLETED"
    before = observer.look()
    again = operator.wait(operator.run("release", tag=tag))
    assert again.type == "COMPLETED"
    assert "already" in again.message
    older = release(operator, "v1.0.0", tag=f"v0.1.{int(time.time())}")
    assert older.type == "FAILED"
    assert "older than the live" in older.message
    operator.push("v1.0.0", tag=tag, move=True)
    moved = operator.wait(operator.run("release", tag=tag))
    assert moved.type == "FAILED"
    assert "moved" in moved.message
    assert observer.faults(before, live=tag) == []


def migration_with(folder: Path, name: str, marker: str) -> Path:
    """An overlay with one more migration, whose comment speaks to Pointsman."""
    migration = folder / "prisma" / "migrations" / name
    migration.mkdir(parents=True)
    (migration / "migration.sql").write_text(f"-- pointsman: rollback-floor{marker}\nSELECT 1;\n")
    return folder


def test_a_migration_that_the_live_version_cannot_live_with_is_refused_before_it_touches_the_database(
    operator: Operator, observer: Observer, tmp_path: Path
) -> None:
    before, was, tag = observer.look(), operator.live, operator.next_tag()
    run = release(operator, "v1.1.0", tag=tag, overlay=migration_with(tmp_path, "20280101000000_contract", ""))
    assert run.type == "FAILED"
    assert f"would raise the rollback floor to {tag}, above the live {was}" in run.message
    assert observer.look().migrations == before.migrations
    assert observer.faults(before, live=was) == []


def test_no_rollback_goes_below_the_floor(operator: Operator, observer: Observer, tmp_path: Path) -> None:
    was, tag = operator.live, operator.next_tag()
    name = f"20270101{int(time.time()) % 1_000_000:06}_floor"
    run = release(operator, "v1.1.0", tag=tag, overlay=migration_with(tmp_path, name, f" {was}"))
    assert run.type == "COMPLETED", run.message
    before = observer.look()
    assert name in before.migrations
    assert operator.record().rollback_floor == was
    below = next(h.release.version for h in operator.record().healthy if h.release.version != was)
    refused = operator.wait(operator.run("rollback", to_version=below))
    assert refused.type == "FAILED"
    assert f"{below} is below the rollback floor {was}" in refused.message
    allowed = operator.wait(operator.run("rollback"))
    assert allowed.type == "COMPLETED", allowed.message
    assert observer.faults(before, live=was) == []


def test_a_rollback_stops_a_release_in_flight_only_when_told_to(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, tag = observer.look(), operator.next_tag()
    run_id = start(operator, tag)
    reach(operator, "plan")
    refused = operator.wait(operator.run("rollback"))
    assert refused.type == "FAILED"
    assert "abort_in_flight" in refused.message
    operator.wait(run_id)
    assert operator.look(run_id).type == "COMPLETED"
    second = operator.next_tag()
    run_id = start(operator, second)
    reach(operator, "plan")
    stopped = operator.wait(operator.run("rollback", abort_in_flight=True))
    assert stopped.type == "COMPLETED", stopped.message
    assert operator.wait(run_id).type == "CANCELLED"
    assert operator.history(second).state is State.ABORTED
    assert observer.faults(before, live=tag) == []
