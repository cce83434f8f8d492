"""Containers as a definition says: how they run, how they are checked, and several of them in one task."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import docker
import httpx
import pytest
from botocore.exceptions import ClientError

from tests.integration.stand import Emulator, Stack, get, wait_for

pytestmark = pytest.mark.integration

SHOW = (
    "const fs = require('fs'); process.on('SIGTERM', () => setTimeout(() => process.exit(7), 4000));"
    "require('http').createServer((q, r) => r.end(JSON.stringify({argv: process.argv.slice(1), uid: process.getuid(),"
    " gid: process.getgid(), pid: process.pid, files: fs.readFileSync('/proc/1/limits', 'utf8')"
    ".split('\\n').find(l => l.startsWith('Max open files')).split(/\\s+/).slice(3, 5)}))).listen(8080);"
)


def register(aws: Emulator, image: str, *containers: dict[str, Any], **facts: Any) -> str:
    made = [{"name": "app", "image": image, "stopTimeout": 2, **container} for container in containers]
    answer = aws.ecs.register_task_definition(
        **{
            "family": "shown",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": made,
            **facts,
        }
    )
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def node(program: str, **facts: Any) -> dict[str, Any]:
    return {"entryPoint": ["node", "-e"], "command": [program], **facts}


@pytest.fixture
def run(stack: Stack) -> Callable[[str], str]:
    def start(definition: str) -> str:
        [task] = stack.aws.ecs.run_task(
            cluster=stack.name, taskDefinition=definition, networkConfiguration=stack.network
        )["tasks"]
        return str(task["taskArn"])

    return start


def described(stack: Stack, arn: str) -> dict[str, Any]:
    [task] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=[arn])["tasks"]
    return dict(task)


def status(stack: Stack, arn: str, wanted: str, seconds: float = 60) -> dict[str, Any]:
    wait_for(lambda: described(stack, arn)["lastStatus"] == wanted, f"{wanted}", seconds)
    return described(stack, arn)


def container_of(task: dict[str, Any], name: str = "app") -> dict[str, Any]:
    return next(c for c in task["containers"] if c["name"] == name)


def address(task: dict[str, Any]) -> str:
    [attachment] = task["attachments"]
    return next(d["value"] for d in attachment["details"] if d["name"] == "privateIPv4Address")


def test_a_container_runs_as_its_definition_says(stack: Stack, image: str, run: Callable[[str], str]) -> None:
    arn = run(
        register(
            stack.aws,
            image,
            {
                "entryPoint": ["node", "-e", SHOW],
                "command": ["one", "two"],
                "user": "1234:4321",
                "stopTimeout": 30,
                "linuxParameters": {"initProcessEnabled": True},
                "ulimits": [{"name": "nofile", "softLimit": 2048, "hardLimit": 4096}],
            },
        )
    )
    task = status(stack, arn, "RUNNING")
    seen = json.loads(str(wait_for(lambda: fetched(f"http://{address(task)}:8080"), "it answers")))
    assert seen["argv"] == ["one", "two"]
    assert (seen["uid"], seen["gid"]) == (1234, 4321)
    assert seen["pid"] != 1, "an init is PID 1"
    assert seen["files"] == ["2048", "4096"]
    began = time.monotonic()
    stack.aws.ecs.stop_task(cluster=stack.name, task=arn)
    stopped = status(stack, arn, "STOPPED")
    assert time.monotonic() - began > 3.5, "it had its time between SIGTERM and SIGKILL"
    assert container_of(stopped)["exitCode"] == 7


def fetched(url: str) -> str | None:
    try:
        return get(url).text
    except httpx.HTTPError:
        return None


@pytest.mark.parametrize(
    ("container", "facts", "reason"),
    [
        (
            {},
            {"cpu": "256", "memory": "4096"},
            "No Fargate configuration exists for given values: 256 CPU, 4096 memory",
        ),
        ({}, {"ephemeralStorage": {"sizeInGiB": 20}}, "between 21 and 200 GiB"),
        ({"stopTimeout": 121}, {}, "at most 120 seconds"),
        ({"healthCheck": {"command": ["curl", "x"]}}, {}, "must begin with CMD or CMD-SHELL"),
        ({"dependsOn": [{"containerName": "gone", "condition": "START"}]}, {}, "does not exist: gone"),
        ({"dependsOn": [{"containerName": "app", "condition": "START"}]}, {}, "circular dependency"),
        ({"mountPoints": [{"sourceVolume": "gone", "containerPath": "/x"}]}, {}, "Unknown volume 'gone'"),
        ({"essential": False}, {}, "must be essential"),
    ],
)
def test_what_fargate_has_not_is_refused(
    aws: Emulator, image: str, container: dict[str, Any], facts: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ClientError, match=reason):
        register(aws, image, node("", **container), **facts)


def test_a_container_s_own_check_is_its_health(stack: Stack, image: str, run: Callable[[str], str]) -> None:
    check = {"command": ["CMD-SHELL", "test -e /tmp/ready"], "interval": 5, "timeout": 2, "retries": 1}
    late = "setTimeout(() => require('fs').writeFileSync('/tmp/ready', ''), 1000); setInterval(() => {}, 1000);"
    arn = run(register(stack.aws, image, node(late, healthCheck=check)))
    task = status(stack, arn, "RUNNING")
    assert container_of(task)["healthStatus"] == task["healthStatus"] == "UNKNOWN"
    wait_for(lambda: described(stack, arn)["healthStatus"] == "HEALTHY", "its check passed", 20)
    assert container_of(described(stack, arn))["healthStatus"] == "HEALTHY"
    stack.aws.ecs.stop_task(cluster=stack.name, task=arn)


def test_a_service_replaces_a_task_whose_own_check_fails(stack: Stack, image: str) -> None:
    definition = register(
        stack.aws,
        image,
        node(
            "require('http').createServer((q, r) => r.end()).listen(8080)",
            healthCheck={"command": ["CMD", "false"], "interval": 5, "timeout": 2, "retries": 1},
        ),
    )
    stack.aws.ecs.create_service(
        cluster=stack.name,
        serviceName="failing",
        taskDefinition=definition,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration=stack.network,
    )

    def replaced() -> list[str]:
        arns = stack.aws.ecs.list_tasks(cluster=stack.name, desiredStatus="STOPPED")["taskArns"]
        tasks = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=arns)["tasks"] if arns else []
        return [task["stoppedReason"] for task in tasks]

    # It is never healthy, so the deployment is never complete, and the task goes once another one may take its place.
    wait_for(lambda: stack.describe("failing")["deployments"][0]["rolloutState"] == "IN_PROGRESS", "in progress")
    wait_for(lambda: "Task failed container health checks" in replaced(), "replaced", 60)
    assert stack.describe("failing")["deployments"][0]["rolloutState"] != "COMPLETED"


# Several containers


WAIT = "setInterval(() => {}, 1000);"


def test_containers_of_a_task_share_its_network(stack: Stack, image: str, run: Callable[[str], str]) -> None:
    ask = (
        "require('http').createServer((q, r) => require('http').get('http://localhost:9000', a => a.pipe(r))"
        ".on('error', e => r.end(String(e)))).listen(8080)"
    )
    beside = "require('http').createServer((q, r) => r.end('from beside')).listen(9000)"
    arn = run(register(stack.aws, image, node(ask), node(beside, name="beside")))
    task = status(stack, arn, "RUNNING")
    assert len({c["name"] for c in task["containers"]}) == 2
    wait_for(lambda: fetched(f"http://{address(task)}:8080") == "from beside", "one asks the other on localhost")
    stack.aws.ecs.stop_task(cluster=stack.name, task=arn)
    status(stack, arn, "STOPPED")
    client = docker.from_env()
    try:
        left = client.containers.list(all=True, filters={"label": f"com.amazonaws.ecs.task-arn={arn}"})
    finally:
        client.close()
    assert left == [], "nothing is left of it, its network neither"


@pytest.mark.parametrize(
    ("condition", "code", "starts"), [("SUCCESS", 0, True), ("SUCCESS", 3, False), ("COMPLETE", 3, True)]
)
def test_a_container_waits_for_another_to_end(
    stack: Stack, image: str, run: Callable[[str], str], condition: str, code: int, starts: bool
) -> None:
    first = node(f"setTimeout(() => process.exit({code}), 1500)", name="first", essential=False)
    app = node(WAIT, dependsOn=[{"containerName": "first", "condition": condition}])
    arn = run(register(stack.aws, image, app, first))
    if starts:
        task = status(stack, arn, "RUNNING")
        wait_for(
            lambda: container_of(described(stack, arn), "first").get("exitCode") == code, "the first one's end is told"
        )
        assert container_of(task)["lastStatus"] == "RUNNING", "the end of one that is not essential ends no task"
        stack.aws.ecs.stop_task(cluster=stack.name, task=arn)
        status(stack, arn, "STOPPED")
    else:
        stopped = status(stack, arn, "STOPPED")
        assert "ordering dependency [first] for target [app]" in stopped["stoppedReason"]
        assert stopped["stopCode"] == "TaskFailedToStart"


def test_a_container_waits_for_another_to_be_healthy_and_ends_before_it(
    stack: Stack, image: str, run: Callable[[str], str]
) -> None:
    check = {"command": ["CMD-SHELL", "test -e /tmp/ready"], "interval": 5, "timeout": 2, "retries": 3}
    proxy = node(
        "const fs = require('fs'); setTimeout(() => fs.writeFileSync('/tmp/ready', ''), 500);"
        "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1000);",
        name="proxy",
        essential=False,
        healthCheck=check,
    )
    app = node(
        "process.on('SIGTERM', () => setTimeout(() => process.exit(0), 1500)); setInterval(() => {}, 1000);"
        "require('fs').writeFileSync('/tmp/listens', '');",
        stopTimeout=10,
        dependsOn=[{"containerName": "proxy", "condition": "HEALTHY"}],
    )
    arn = run(register(stack.aws, image, app, proxy))
    status(stack, arn, "RUNNING", 40)
    client = docker.from_env()
    try:
        found = client.containers.list(filters={"label": f"com.amazonaws.ecs.task-arn={arn}"})
        started = {
            c.labels["com.amazonaws.ecs.container-name"]: c.attrs["State"]["StartedAt"]
            for c in found
            if "com.amazonaws.ecs.container-name" in c.labels
        }
        assert started["proxy"] < started["app"]
        by_name = {c.labels.get("com.amazonaws.ecs.container-name"): c for c in found}
        kept, app_container = by_name["proxy"], by_name["app"]
        wait_for(lambda: app_container.exec_run(["test", "-e", "/tmp/listens"]).exit_code == 0, "it heeds SIGTERM")
        stack.aws.ecs.stop_task(cluster=stack.name, task=arn)
        time.sleep(1)
        kept.reload()
        assert kept.status == "running", "it stays until the one that depends on it has ended"
    finally:
        client.close()
    stopped = status(stack, arn, "STOPPED")
    assert container_of(stopped)["exitCode"] == 0
    assert container_of(stopped, "proxy")["exitCode"] == 0


def test_the_end_of_an_essential_container_ends_the_task(stack: Stack, image: str, run: Callable[[str], str]) -> None:
    arn = run(register(stack.aws, image, node(WAIT), node("setTimeout(() => process.exit(5), 1500)", name="beside")))
    stopped = status(stack, arn, "STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert container_of(stopped, "beside")["exitCode"] == 5


def test_a_file_system_outlives_its_tasks(stack: Stack, image: str, run: Callable[[str], str]) -> None:
    volume = {"name": "files", "efsVolumeConfiguration": {"fileSystemId": f"fs-{stack.name}", "rootDirectory": "/"}}
    mount = {"mountPoints": [{"sourceVolume": "files", "containerPath": "/files"}]}
    write = node("require('fs').writeFileSync('/files/kept', 'x')", **mount)
    status(stack, run(register(stack.aws, image, write, volumes=[volume])), "STOPPED")
    read = node("process.exit(require('fs').existsSync('/files/kept') ? 0 : 9)", **mount)
    stopped = status(stack, run(register(stack.aws, image, read, volumes=[volume])), "STOPPED")
    assert container_of(stopped)["exitCode"] == 0


# Secrets


def test_secrets_come_whole_by_key_by_version_and_from_parameters(
    stack: Stack, image: str, run: Callable[[str], str]
) -> None:
    manager, ssm = stack.aws.secretsmanager, stack.aws.ssm
    first = manager.create_secret(Name=f"{stack.name}/it", SecretString='{"password": "old"}')
    second = manager.put_secret_value(SecretId=first["ARN"], SecretString='{"password": "new"}')
    managed = manager.create_secret(Name=f"rds!{stack.name}", SecretString='{"password": "of rds"}')
    ssm.put_parameter(Name=f"/{stack.name}/url", Value="secure", Type="SecureString")
    parameter = f"arn:aws:ssm:ap-southeast-1:000000000000:parameter/{stack.name}/url"
    wanted = {
        "WHOLE": (first["ARN"], '{"password": "new"}'),
        "KEY": (f"{first['ARN']}:password::", "new"),
        "PINNED": (f"{first['ARN']}:password::{first['VersionId']}", "old"),
        "STAGED": (f"{first['ARN']}:password:AWSPREVIOUS:", "old"),
        "MANAGED": (f"{managed['ARN']}:password::", "of rds"),
        "PARAMETER": (parameter, "secure"),
    }
    assert second["VersionId"] != first["VersionId"]
    tell = "require('http').createServer((q, r) => r.end(JSON.stringify(process.env))).listen(8080)"
    secrets = [{"name": name, "valueFrom": value_from} for name, (value_from, _) in wanted.items()]
    arn = run(register(stack.aws, image, node(tell, secrets=secrets)))
    task = status(stack, arn, "RUNNING")
    given = json.loads(str(wait_for(lambda: fetched(f"http://{address(task)}:8080"), "it answers")))
    assert {name: given[name] for name in wanted} == {name: value for name, (_, value) in wanted.items()}
    stack.aws.ecs.stop_task(cluster=stack.name, task=arn)


@pytest.mark.parametrize("end", [":gone::", "::AWSPENDING:", ":::00000000-0000-0000-0000-000000000000"])
def test_a_task_without_its_secret_does_not_start(
    stack: Stack, image: str, run: Callable[[str], str], end: str
) -> None:
    made = stack.aws.secretsmanager.create_secret(Name=f"{stack.name}/it", SecretString="{}")
    secret = {"name": "IT", "valueFrom": made["ARN"] + end}
    stopped = status(stack, run(register(stack.aws, image, node(WAIT, secrets=[secret]))), "STOPPED")
    assert stopped["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth")
