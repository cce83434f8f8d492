"""The AWS emulator with our additions, run as a process, with real containers behind real sockets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from emulator.cleanup import INSTANCE_LABEL, instance, remove_leftovers
from tests.integration.stand import (
    REGION,
    ROOT,
    Emulator,
    Load,
    Stack,
    create_group,
    forward,
    free_port,
    get,
    running,
    wait_for,
)

pytestmark = pytest.mark.integration


# Traffic


def test_weights_divide_requests_and_weight_zero_gets_none(stack: Stack) -> None:
    for colour in ("blue", "green"):
        stack.serve(colour)
    for colour in ("blue", "green"):
        wait_for(lambda colour=colour: stack.states(colour) == ["healthy"], f"{colour} healthy")

    def share(requests: int = 300) -> float:
        with httpx.Client(trust_env=False) as client:
            seen = Counter(client.get(stack.url).text for _ in range(requests))
        return seen["green"] / requests

    assert share(100) == 0.0
    stack.weigh(0, 100)
    assert share(100) == 1.0
    stack.weigh(80, 20)
    assert 0.12 < share() < 0.28
    host = {"host": f"{stack.name}.alb.localhost:{stack.port}"}
    seen = Counter(get(stack.aws.url, headers=host).text for _ in range(60))
    assert set(seen) == {"blue", "green"}, "weights hold on the emulator's own port too"

    [listener] = stack.aws.elbv2.describe_listeners(ListenerArns=[stack.listener])["Listeners"]
    config = listener["DefaultActions"][0]["ForwardConfig"]
    assert {g["TargetGroupArn"]: g["Weight"] for g in config["TargetGroups"]} == {
        stack.groups["blue"]: 80,
        stack.groups["green"]: 20,
    }
    assert config["TargetGroupStickinessConfig"]["Enabled"] is False

    stack.weigh(0, 0)
    assert get(stack.url).status_code == 503

    dimensions = [
        {"Name": "LoadBalancer", "Value": stack.balancer.split("loadbalancer/")[1]},
        {"Name": "TargetGroup", "Value": stack.groups["green"].split(":")[-1]},
    ]

    def total(metric: str, statistic: str = "Sum") -> float:
        points = stack.aws.cloudwatch.get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        return float(sum(point[statistic] for point in points))

    wait_for(lambda: total("RequestCount") >= 100, "requests in CloudWatch")
    assert total("HTTPCode_Target_2XX_Count") == total("RequestCount")
    assert total("TargetResponseTime", "SampleCount") == total("RequestCount")
    assert total("HealthyHostCount") >= 1


def test_headers_and_bodies_reach_the_target(stack: Stack) -> None:
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
    seen = get(f"{stack.url}/headers", headers={"X-Forwarded-For": "192.0.2.1"}).json()
    assert seen["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", str(stack.port))
    body = b"x" * 3_000_000
    assert httpx.post(f"{stack.url}/count", content=body, trust_env=False).text == "3000000"
    parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
    assert httpx.post(f"{stack.url}/count", content=parts, trust_env=False).text == "3000000"
    assert get(f"{stack.url}/drop").status_code == 502
    with pytest.raises(httpx.RemoteProtocolError):
        get(f"{stack.url}/cut")


def test_a_listeners_port_opens_and_closes_with_it(stack: Stack) -> None:
    elbv2 = stack.aws.elbv2
    assert get(stack.url).status_code == 503, "no target yet"
    action = forward(stack.groups, 1, 0)
    with pytest.raises(elbv2.exceptions.DuplicateListenerException):
        elbv2.create_listener(LoadBalancerArn=stack.balancer, Port=stack.port, Protocol="HTTP", DefaultActions=action)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ClientError, match=f"port {taken.getsockname()[1]} can't be opened there"):
            elbv2.create_listener(
                LoadBalancerArn=stack.balancer,
                Port=taken.getsockname()[1],
                Protocol="HTTP",
                DefaultActions=action,
            )
    moved = free_port()
    elbv2.modify_listener(ListenerArn=stack.listener, Port=moved)
    assert get(f"http://127.0.0.1:{moved}").status_code == 503
    with pytest.raises(httpx.ConnectError):
        get(stack.url)
    with pytest.raises(elbv2.exceptions.ResourceInUseException):
        elbv2.delete_target_group(TargetGroupArn=stack.groups["blue"])
    elbv2.delete_listener(ListenerArn=stack.listener)
    with pytest.raises(httpx.ConnectError):
        get(f"http://127.0.0.1:{moved}")


def test_target_health_moves_as_on_aws(stack: Stack) -> None:
    service = stack.serve("blue", grace=60, READY_AFTER="900")
    assert wait_for(lambda: stack.health("blue"), "registered")[0] in (
        ("initial", "Elb.RegistrationInProgress"),
        ("initial", "Elb.InitialHealthChecking"),
    )
    assert stack.describe(service)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
    wait_for(lambda: stack.describe(service)["deployments"][0]["rolloutState"] == "COMPLETED", "rollout completed")
    assert get(f"{stack.url}/break").text == "broken"
    wait_for(lambda: stack.health("blue") == [("unhealthy", "Target.ResponseCodeMismatch")], "unhealthy")
    assert get(stack.url).text == "blue", "without a healthy target the balancer fails open"
    stack.scale(service, 0)
    wait_for(lambda: stack.health("blue") == [("draining", "Target.DeregistrationInProgress")], "draining", 2)
    wait_for(lambda: stack.health("blue") == [], "gone after the delay", 8)
    orphans = create_group(stack.aws, f"{stack.name}-orphan")
    stack.aws.elbv2.register_targets(TargetGroupArn=orphans, Targets=[{"Id": "192.0.2.7", "Port": 8080}])
    stack.groups["orphan"] = orphans
    wait_for(lambda: stack.health("orphan") == [("unused", "Target.NotInUse")], "unused")


def test_a_target_that_stays_unhealthy_is_replaced_and_breaks_the_circuit(stack: Stack) -> None:
    service = stack.serve("blue", HEALTHY="no")
    failed = wait_for(
        lambda: next((d for d in stack.describe(service)["deployments"] if d["rolloutState"] == "FAILED"), None),
        "circuit breaker",
        25,
    )
    assert failed["failedTasks"] == 3
    stopped = stack.aws.ecs.list_tasks(cluster=stack.name, desiredStatus="STOPPED")["taskArns"]
    [first, *_] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=stopped)["tasks"]
    assert first["stoppedReason"].startswith("Task failed ELB health checks in (target-group arn:")
    stack.scale(service, 1, taskDefinition=stack.define("blue"), forceNewDeployment=True)
    wait_for(
        lambda: [d["rolloutState"] for d in stack.describe(service)["deployments"]] == ["COMPLETED"],
        "a good deployment takes the failed one's place",
    )


def test_no_request_is_lost_while_containers_start_drain_and_stop(stack: Stack) -> None:
    blue = stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "blue healthy")
    with ThreadPoolExecutor(1) as pool, Load(stack.url) as load:
        green = stack.serve("green")
        stack.scale(blue, 3)
        wait_for(lambda: stack.states("blue").count("healthy") == 3, "three blue")
        wait_for(lambda: stack.states("green") == ["healthy"], "green healthy")
        slow = pool.submit(get, f"{stack.url}/slow?ms=2500")
        time.sleep(0.3)
        stack.weigh(50, 50)
        stack.scale(blue, 1)
        time.sleep(0.5)
        stack.weigh(0, 100)
        stack.scale(blue, 0)
        scaled = time.monotonic()
        answer = slow.result()
        assert (answer.status_code, answer.text) == (200, "blue"), "an open request outlives its target's weight"
        stopping = stack.aws.ecs.list_tasks(cluster=stack.name, serviceName=blue, desiredStatus="STOPPED")["taskArns"]

        def ended() -> list[dict[str, Any]]:
            tasks = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=stopping)["tasks"]
            return tasks if all(task["lastStatus"] == "STOPPED" for task in tasks) else []

        tasks = wait_for(ended, "blue tasks stopped", 8)
        assert time.monotonic() - scaled < 8
        stack.aws.ecs.update_service(cluster=stack.name, service=green, forceNewDeployment=True)
        wait_for(
            lambda: [d["rolloutState"] for d in stack.describe(green)["deployments"]] == ["COMPLETED"],
            "green's rolling deployment",
        )
    assert load.failures() == {}
    assert load.answers["green"] > 0
    assert len(tasks) == 3
    assert {task["containers"][0]["exitCode"] for task in tasks} == {0}
    assert {task["stopCode"] for task in tasks} == {"ServiceSchedulerInitiated"}


# ECR


def test_a_repositorys_address_is_one_that_docker_reaches(aws: Emulator) -> None:
    repository = aws.ecr.create_repository(repositoryName="team/app")["repository"]
    assert repository["repositoryUri"] == f"localhost:{aws.port}/team/app"
    [authorization] = aws.ecr.get_authorization_token()["authorizationData"]
    assert authorization["proxyEndpoint"] == f"http://localhost:{aws.port}"
    manifest = '{"schemaVersion": 2}'
    for tag in ("v1.0.0", "v1.0.1"):
        aws.ecr.put_image(repositoryName="team/app", imageManifest=manifest, imageTag=tag)
    [image] = aws.ecr.batch_get_image(repositoryName="team/app", imageIds=[{"imageTag": "v1.0.0"}])["images"]
    assert (image["imageManifest"], image["imageId"]["imageTag"]) == (manifest, "v1.0.0")


# ECS


def test_the_same_client_token_starts_a_task_once(stack: Stack) -> None:
    ecs = stack.aws.ecs
    definition = stack.define("blue")
    run = {
        "cluster": stack.name,
        "taskDefinition": definition,
        "clientToken": "attempt-1",
        "startedBy": "attempt-1",
    }
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: ecs.run_task(**run)["tasks"][0]["taskArn"], range(4)))
    assert len(set(started)) == 1
    assert ecs.list_tasks(cluster=stack.name, startedBy="attempt-1")["taskArns"] == started[:1]
    with pytest.raises(ecs.exceptions.ConflictException):
        ecs.run_task(**{**run, "startedBy": "someone else"})

    ecs.stop_task(cluster=stack.name, task=started[0], reason="enough")

    def described() -> Any:
        [task] = ecs.describe_tasks(cluster=stack.name, tasks=started[:1])["tasks"]
        return task if task["lastStatus"] == "STOPPED" else None

    task = wait_for(described, "stopped", 15)
    assert (task["stoppedReason"], task["stopCode"]) == ("enough", "UserInitiated")
    label = f"{INSTANCE_LABEL}={instance(stack.aws.port)}"
    left = docker.from_env().containers.list(
        all=True, filters={"label": [label, f"com.amazonaws.ecs.task-arn={started[0]}"]}
    )
    assert left == [], "STOPPED means that no container is left"


def test_a_tasks_exit_code_and_output_are_there_when_it_is_stopped(stack: Stack) -> None:
    stack.aws.logs.create_log_group(logGroupName=f"/{stack.name}")
    definition = stack.aws.ecs.register_task_definition(
        family=f"{stack.name}-job",
        networkMode="awsvpc",
        containerDefinitions=[
            {
                "name": "job",
                "image": stack.image,
                "entryPoint": ["node"],
                "command": [
                    "-e",
                    "for (let i = 0; i < 5000; i++) console.log('line ' + i); process.exitCode = 7",
                ],
                "memory": 256,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": f"/{stack.name}",
                        "awslogs-region": REGION,
                        "awslogs-stream-prefix": "job",
                    },
                },
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    [started] = stack.aws.ecs.run_task(cluster=stack.name, taskDefinition=definition)["tasks"]

    def stopped() -> Any:
        [task] = stack.aws.ecs.describe_tasks(cluster=stack.name, tasks=[started["taskArn"]])["tasks"]
        return task if task["lastStatus"] == "STOPPED" else None

    task = wait_for(stopped, "job ends")
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["containers"][0]["exitCode"] == 7
    stream = f"job/job/{started['taskArn'].rsplit('/', 1)[1]}"
    events = stack.aws.logs.get_log_events(
        logGroupName=f"/{stack.name}", logStreamName=stream, startFromHead=False, limit=1
    )
    assert events["events"][-1]["message"] == "line 4999"


def test_a_cluster_with_a_service_is_not_deleted(stack: Stack) -> None:
    service = stack.serve("blue", count=0)
    with pytest.raises(stack.aws.ecs.exceptions.ClusterContainsServicesException):
        stack.aws.ecs.delete_cluster(cluster=stack.name)
    stack.aws.ecs.delete_service(cluster=stack.name, service=service)
    stack.aws.ecs.delete_cluster(cluster=stack.name)


# S3


def test_one_of_many_conditional_writes_wins_and_versions_stay(aws: Emulator) -> None:
    s3 = aws.s3
    s3.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="records", VersioningConfiguration={"Status": "Enabled"})

    def put(writer: int, **condition: str) -> str:
        try:
            s3.put_object(Bucket="records", Key="environment.json", Body=str(writer).encode(), **condition)
        except ClientError as error:
            return str(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return "won"

    with ThreadPoolExecutor(12) as pool:
        created = Counter(pool.map(lambda writer: put(writer, IfNoneMatch="*"), range(24)))
        tag = s3.head_object(Bucket="records", Key="environment.json")["ETag"]
        replaced = Counter(pool.map(lambda writer: put(100 + writer, IfMatch=tag), range(24)))
    assert created["won"] == replaced["won"] == 1
    assert set(created) | set(replaced) <= {"won", "412", "409"}
    assert put(0, IfMatch='"0123456789abcdef0123456789abcdef"') == "412"
    versions = s3.list_object_versions(Bucket="records", Prefix="environment.json")["Versions"]
    assert [v["IsLatest"] for v in versions] == [True, False]
    old = s3.get_object(Bucket="records", Key="environment.json", VersionId=versions[1]["VersionId"])
    assert old["ETag"] == tag
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html#conditional-error-response
    s3.delete_object(Bucket="records", Key="environment.json")
    assert put(0, IfMatch=tag) == "404"
    assert put(0, IfNoneMatch="*") == "won"


# Faults


def test_a_fault_disturbs_what_it_names_as_often_as_it_says(aws: Emulator, faults: Callable[..., None]) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="faulty", CreateBucketConfiguration={"LocationConstraint": REGION})
    faults(service="s3", action="PutObject", match="releases/production", times=2, effect="error:503:SlowDown")
    s3.put_object(Bucket="faulty", Key="releases/staging.json", Body=b"1")
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            s3.put_object(Bucket="faulty", Key="releases/production.json", Body=b"1")
    s3.put_object(Bucket="faulty", Key="releases/production.json", Body=b"1")

    faults(service="s3", action="PutObject", effect="lost_answer")
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket="faulty", Key="lost.json", Body=b"done")
    assert s3.get_object(Bucket="faulty", Key="lost.json")["Body"].read() == b"done"

    faults(service="s3", action="PutObject", effect="no_answer")
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket="faulty", Key="never.json", Body=b"done")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="faulty", Key="never.json")

    faults(service="ecs", action="ListClusters", effect="error:400:ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        aws.ecs.list_clusters()
    faults(service="elasticloadbalancing", action="DescribeLoadBalancers", effect="delay:0.6")
    started = time.monotonic()
    aws.elbv2.describe_load_balancers()
    assert time.monotonic() - started >= 0.6


def test_a_fault_that_makes_no_sense_is_refused(aws: Emulator) -> None:
    answer = httpx.post(f"{aws.url}/_pointsman/faults", json={"effect": "explode"}, trust_env=False)
    assert answer.status_code == 400
    assert "lost_answer" in answer.json()["message"]


# The process


def test_roles_are_passed_and_services_updated_only_with_permission(tmp_path: Path) -> None:
    with running(tmp_path, AUTH="true") as aws:
        iam = aws.client("iam")
        roles = [
            iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')["Role"][
                "Arn"
            ]
            for name in ("allowed", "forbidden")
        ]
        aws.client("ecs").create_cluster(clusterName="main")
        iam.create_user(UserName="pipeline")
        service = f"arn:aws:ecs:{REGION}:000000000000:service/main/mine"
        iam.put_user_policy(
            UserName="pipeline",
            PolicyName="release",
            PolicyDocument=f"""{{"Version": "2012-10-17", "Statement": [
              {{"Effect": "Allow", "Action": "ecs:RegisterTaskDefinition", "Resource": "*"}},
              {{"Effect": "Allow", "Action": "ecs:UpdateService", "Resource": "{service}"}},
              {{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "{roles[0]}",
                "Condition": {{"StringEquals": {{"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}}}}]}}""",
        )
        key = iam.create_access_key(UserName="pipeline")["AccessKey"]
        ecs = aws.client("ecs", key["AccessKeyId"], key["SecretAccessKey"])
        container = [{"name": "a", "image": "b"}]
        ecs.register_task_definition(family="f", executionRoleArn=roles[0], containerDefinitions=container)
        with pytest.raises(ClientError, match=r"AccessDenied.*iam:PassRole.*forbidden"):
            ecs.register_task_definition(family="f", executionRoleArn=roles[1], containerDefinitions=container)
        with pytest.raises(ecs.exceptions.ServiceNotFoundException):
            ecs.update_service(cluster="main", service="mine", desiredCount=1)
        with pytest.raises(ClientError, match=r"AccessDenied.*ecs:UpdateService"):
            ecs.update_service(cluster="main", service="other", desiredCount=1)


def test_another_ministack_is_refused_at_start() -> None:
    program = "import importlib.metadata as m; m.version = lambda _: '1.5.34'; import emulator.upstream"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "ministack 1.5.34 is installed" in ended.stderr


def start_service(aws: Emulator, image: str, on_sigterm: str) -> Callable[[], int]:
    """Two containers that do `on_sigterm`; returns a count of the emulator's containers, stopped ones included."""
    client = docker.from_env()
    label = f"{INSTANCE_LABEL}={instance(aws.port)}"
    program = f"process.on('SIGTERM', () => {{ {on_sigterm} }}); setInterval(() => {{}}, 1000)"
    aws.ecs.create_cluster(clusterName="main")
    aws.ecs.register_task_definition(
        family="two",
        containerDefinitions=[
            {"name": "two", "image": image, "entryPoint": ["node"], "command": ["-e", program], "memory": 256}
        ],
    )
    aws.ecs.create_service(cluster="main", serviceName="s", taskDefinition="two", desiredCount=2)
    wait_for(lambda: len(client.containers.list(filters={"label": label})) == 2, "two containers")
    return lambda: len(client.containers.list(all=True, filters={"label": label}))


def test_sigterm_removes_every_container_within_ten_seconds(tmp_path: Path, image: str) -> None:
    with running(tmp_path) as aws:
        left = start_service(aws, image, on_sigterm="")
        aws.process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert aws.process.wait(15) == 0
        assert time.monotonic() - asked < 10
        assert left() == 0


def test_what_a_killed_emulator_leaves_is_removed(tmp_path: Path, image: str) -> None:
    with running(tmp_path) as aws:
        left = start_service(aws, image, on_sigterm="process.exit(0)")
        aws.process.kill()
        aws.process.wait(5)
        assert remove_leftovers(aws.port) == 2
        assert left() == 0
