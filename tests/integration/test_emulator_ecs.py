"""ECS as strict as AWS: replacement, consistency, throttling, capacity, and what takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.stand import Emulator, Stack, get, make_stack, running, wait_for

pytestmark = pytest.mark.integration


def tasks_of(stack: Stack, status: str) -> list[dict[str, Any]]:
    arns = stack.aws.ecs.list_tasks(cluster=stack.name, desiredStatus=status)["taskArns"]
    found: list[dict[str, Any]] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=arns)["tasks"] if arns else []
    return found


# Replacement


def test_an_unhealthy_task_is_stopped_only_after_its_replacement_is_healthy(stack: Stack) -> None:
    service = stack.serve("blue")
    wait_for(lambda: stack.describe(service)["deployments"][0]["rolloutState"] == "COMPLETED", "rolled out")
    [sick] = [task["taskArn"] for task in tasks_of(stack, "RUNNING")]
    get(f"{stack.url}/break")
    seen: list[tuple[int, str]] = []

    def replaced() -> bool:
        [task] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=[sick])["tasks"]
        described = stack.describe(service)
        seen.append((described["runningCount"], task["desiredStatus"]))
        assert described["desiredCount"] == 1
        return bool(task["lastStatus"] == "STOPPED")

    wait_for(replaced, "the sick task is stopped", 30)
    assert (2, "RUNNING") in seen, "the replacement runs beside the sick task"
    [stopped] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=[sick])["tasks"]
    assert stopped["stoppedReason"].startswith("Task failed ELB health checks in (target-group arn:")
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stack.describe(service)["runningCount"] == 1
    assert stack.states("blue").count("healthy") == 1


def test_without_room_an_unhealthy_task_is_stopped_first(stack: Stack) -> None:
    service = stack.serve("blue", maximum=100)
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
    [sick] = [task["taskArn"] for task in tasks_of(stack, "RUNNING")]
    get(f"{stack.url}/break")
    counts: set[int] = set()

    def healthy_again() -> bool:
        counts.add(stack.describe(service)["runningCount"])
        [task] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=[sick])["tasks"]
        return bool(task["lastStatus"] == "STOPPED") and "healthy" in stack.states("blue")

    wait_for(healthy_again, "a new task is healthy", 30)
    assert max(counts) == 1


# Reads that lag behind


def test_a_stale_read_answers_what_was(stack: Stack, faults: Callable[..., None]) -> None:
    service = stack.serve("blue", count=0)
    faults(service="ecs", action="DescribeServices", times=2, effect="stale:60")
    faults(service="elasticloadbalancing", action="DescribeListeners", times=1, effect="stale:60")
    stack.scale(service, 1)
    stack.weigh(0, 100)
    assert [stack.describe(service)["desiredCount"] for _ in range(3)] == [0, 0, 1]

    def weights() -> list[int]:
        [listener] = stack.aws.elbv2.describe_listeners(ListenerArns=[stack.listener])["Listeners"]
        return [group["Weight"] for group in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]]

    assert [weights(), weights()] == [[100, 0], [0, 100]]


def test_all_reads_lag_where_a_lag_is_set(tmp_path: Path) -> None:
    with running(tmp_path, POINTSMAN_EMULATOR_DESCRIBE_LAG="1.5") as aws:
        aws.ecs.create_cluster(clusterName="main")
        aws.ecs.register_task_definition(family="f", containerDefinitions=[{"name": "a", "image": "b", "memory": 64}])
        time.sleep(0.5)
        aws.ecs.create_service(cluster="main", serviceName="s", taskDefinition="f", desiredCount=0)

        def described() -> list[str]:
            answer = aws.ecs.describe_services(cluster="main", services=["s"])
            return [failure["reason"] for failure in answer["failures"]] or ["there"]

        assert described() == ["MISSING"]
        aws.ecs.update_service(cluster="main", service="s", desiredCount=0)
        wait_for(lambda: described() == ["there"], "the service is seen", 5)


# Throttling and capacity


def test_calls_beyond_the_rate_are_throttled_and_others_are_not(tmp_path: Path) -> None:
    with running(tmp_path, POINTSMAN_EMULATOR_RATE_LIMIT="2", POINTSMAN_EMULATOR_RATE_BURST="3") as aws:

        def refused(call: Callable[[], object]) -> str:
            try:
                call()
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            return ""

        answers = [refused(aws.ecs.list_clusters) for _ in range(8)]
        assert answers[:3] == ["", "", ""]
        assert "ThrottlingException" in answers
        assert refused(aws.ecs.list_account_settings) == "", "each action has a bucket of its own"
        balancers = [refused(aws.elbv2.describe_load_balancers) for _ in range(8)]
        assert set(balancers) == {"", "Throttling"}
        assert {refused(aws.s3.list_buckets) for _ in range(8)} == {""}
        wait_for(lambda: refused(aws.ecs.list_clusters) == "", "the bucket fills again", 3)


def test_without_capacity_no_task_starts_and_a_service_tries_again(stack: Stack, faults: Callable[..., None]) -> None:
    faults(service="ecs", action="RunTask", effect="capacity")
    run = {"cluster": stack.name, "taskDefinition": stack.define("blue"), "networkConfiguration": stack.network}
    answer = stack.aws.ecs.run_task(**run)
    assert answer["tasks"] == []
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable at this time.")
    [task] = stack.aws.ecs.run_task(**run)["tasks"]
    stack.aws.ecs.stop_task(cluster=stack.name, task=task["taskArn"])

    faults(service="ecs", action="RunTask", match=f"service:{stack.name}-green", effect="capacity")
    service = stack.serve("green")
    assert stack.describe(service)["runningCount"] == 0
    assert "unable to place a task. Reason: Capacity is unavailable" in stack.describe(service)["events"][0]["message"]
    wait_for(lambda: stack.describe(service)["runningCount"] == 1, "placed at the second try", 20)


# What takes its time


def test_tasks_start_and_their_logs_arrive_after_their_time(tmp_path: Path, image: str) -> None:
    settings = {"POINTSMAN_EMULATOR_TASK_START": "1.5", "POINTSMAN_EMULATOR_LOG_DELAY": "3"}
    with running(tmp_path, **settings) as aws:
        arn, began = start_job(aws, image)

        def state() -> str:
            [task] = aws.ecs.describe_tasks(cluster="main", tasks=[arn])["tasks"]
            return str(task["lastStatus"])

        def lines() -> list[str]:
            try:
                read = aws.logs.get_log_events(logGroupName="/job", logStreamName=f"job/job/{arn.rsplit('/', 1)[1]}")
            except aws.logs.exceptions.ResourceNotFoundException:
                return []
            return [event["message"] for event in read["events"]]

        assert state() == "PROVISIONING"
        wait_for(lambda: state() == "STOPPED", "the job has ended", 20)
        assert time.monotonic() - began >= 1.5
        assert lines() == [], "what it said is still on its way"
        wait_for(lambda: lines() == ["said"], "the line arrives", 8)


def start_job(aws: Emulator, image: str) -> tuple[str, float]:
    aws.ecs.create_cluster(clusterName="main")
    aws.logs.create_log_group(logGroupName="/job")
    log = {"awslogs-group": "/job", "awslogs-region": "ap-southeast-1", "awslogs-stream-prefix": "job"}
    container = {
        "name": "job",
        "image": image,
        "entryPoint": ["node", "-e"],
        "command": ["console.log('said')"],
        "memory": 128,
        "logConfiguration": {"logDriver": "awslogs", "options": log},
    }
    aws.ecs.register_task_definition(family="job", containerDefinitions=[container])
    began = time.monotonic()
    return str(aws.ecs.run_task(cluster="main", taskDefinition="job")["tasks"][0]["taskArn"]), began


def test_a_call_takes_as_long_as_its_way_and_the_registry_does_not(tmp_path: Path) -> None:
    with running(tmp_path, POINTSMAN_EMULATOR_API_LATENCY="0.3") as aws:
        aws.ecs.list_clusters()
        began = time.monotonic()
        aws.ecs.list_clusters()
        assert 0.3 <= time.monotonic() - began < 2
        began = time.monotonic()
        get(f"{aws.url}/v2/")
        assert time.monotonic() - began < 0.3


def test_the_whole_deregistration_delay_passes_before_a_task_ends_where_that_is_asked_for(
    tmp_path: Path, image: str
) -> None:
    with running(tmp_path, POINTSMAN_EMULATOR_WHOLE_DEREGISTRATION="true") as aws:
        stack = make_stack(aws, image, "slow")
        service = stack.serve("blue")
        wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
        stack.scale(service, 0)
        began = time.monotonic()
        wait_for(lambda: [t["lastStatus"] for t in tasks_of(stack, "STOPPED")] == ["STOPPED"], "stopped", 15)
        assert time.monotonic() - began >= 3.5, "the group's deregistration delay is 4 s"
        stack.end()
