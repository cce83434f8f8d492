"""The emulator run as a process, and a load balancer with services in it, for the tests of its behaviour."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "ap-southeast-1"
VPC = "vpc-00000001"
SUBNETS = ("subnet-00000001", "subnet-00000002")
APPLICATION = """
const http = require('http');
let healthy = process.env.HEALTHY !== 'no';
const ready = Date.now() + Number(process.env.READY_AFTER || 0);
const routes = {
  '/healthz': (req, res) => { res.writeHead(healthy && Date.now() >= ready ? 200 : 500); res.end(); },
  '/break': (req, res) => { healthy = false; res.end('broken'); },
  '/slow': (req, res, url) => { setTimeout(() => res.end(process.env.NAME), Number(url.searchParams.get('ms'))); },
  '/headers': (req, res) => { res.end(JSON.stringify(req.headers)); },
  '/count': (req, res) => { let n = 0; req.on('data', c => n += c.length); req.on('end', () => res.end(String(n))); },
  '/cut': (req, res) => {
    res.writeHead(200, {'content-length': 9}).flushHeaders();
    setTimeout(() => res.destroy(), 9);
  },
  '/drop': (req) => { req.socket.destroy(); },
  '/': (req, res) => { res.end(process.env.NAME); },
};
const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://x');
  routes[url.pathname](req, res, url);
});
server.listen(8080);
process.on('SIGTERM', () => process.exit(0));
"""


def wait_for(what: Callable[[], Any], description: str, seconds: float = 45) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds} s: {description}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Emulator:
    port: int
    process: subprocess.Popen[bytes]
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, key: str = "test", secret: str = "test", **options: Any) -> Any:
        retries = options.pop("retries", 0)
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(
                retries={"total_max_attempts": retries + 1},
                s3={"addressing_style": "path"},
                max_pool_connections=30,
                proxies={},
            ),
        )

    def __getattr__(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.client(service)
        return self.clients[service]


@contextmanager
def running(directory: Path, **environment: str) -> Iterator[Emulator]:
    port = free_port()
    with (directory / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator"],
            cwd=ROOT,
            env={
                **os.environ,
                "GATEWAY_PORT": str(port),
                "POINTSMAN_EMULATOR_METRICS_PERIOD": "0.5",
                "POINTSMAN_EMULATOR_INITIAL_PROBE": "0.2",
                "POINTSMAN_EMULATOR_HEALTH_SCALE": "0.2",
                **environment,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        emulator = Emulator(port, process)
        try:
            wait_for(lambda: _ready(emulator), "the emulator answers", 90)
            yield emulator
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def _ready(emulator: Emulator) -> bool:
    assert emulator.process.poll() is None, "the emulator ended at its start"
    try:
        return httpx.get(f"{emulator.url}/_ministack/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Stack:
    """A load balancer with one listener over two target groups, and a service in front of each on demand."""

    aws: Emulator
    image: str
    name: str
    ingress: str
    tasks: str
    balancer: str
    port: int
    groups: dict[str, str]
    listener: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def network(self) -> dict[str, Any]:
        return {"awsvpcConfiguration": {"subnets": list(SUBNETS), "securityGroups": [self.tasks]}}

    def weigh(self, blue: int, green: int) -> None:
        self.aws.elbv2.modify_listener(ListenerArn=self.listener, DefaultActions=forward(self.groups, blue, green))

    def health(self, colour: str) -> list[tuple[str, str]]:
        found = self.aws.elbv2.describe_target_health(TargetGroupArn=self.groups[colour])
        return [
            (d["TargetHealth"]["State"], d["TargetHealth"].get("Reason", "")) for d in found["TargetHealthDescriptions"]
        ]

    def states(self, colour: str) -> list[str]:
        return [state for state, _ in self.health(colour)]

    def define(self, colour: str, **environment: str) -> str:
        return str(
            self.aws.ecs.register_task_definition(
                family=f"{self.name}-{colour}",
                networkMode="awsvpc",
                requiresCompatibilities=["FARGATE"],
                cpu="256",
                memory="512",
                containerDefinitions=[
                    {
                        "name": "app",
                        "image": self.image,
                        "entryPoint": ["node"],
                        "command": ["-e", APPLICATION],
                        "stopTimeout": 3,
                        "portMappings": [{"containerPort": 8080}],
                        "environment": [
                            {"name": name, "value": value} for name, value in {"NAME": colour, **environment}.items()
                        ],
                    }
                ],
            )["taskDefinition"]["taskDefinitionArn"]
        )

    def serve(self, colour: str, count: int = 1, grace: int = 0, maximum: int = 200, **environment: str) -> str:
        name = f"{self.name}-{colour}"
        self.aws.ecs.create_service(
            cluster=self.name,
            serviceName=name,
            taskDefinition=self.define(colour, **environment),
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=self.network,
            healthCheckGracePeriodSeconds=grace,
            loadBalancers=[{"targetGroupArn": self.groups[colour], "containerName": "app", "containerPort": 8080}],
            deploymentConfiguration={
                "maximumPercent": maximum,
                "minimumHealthyPercent": min(maximum - 100, 100),
                "deploymentCircuitBreaker": {"enable": True, "rollback": False},
            },
        )
        return name

    def scale(self, service: str, count: int, **changes: Any) -> None:
        self.aws.ecs.update_service(cluster=self.name, service=service, desiredCount=count, **changes)

    def describe(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.aws.ecs.describe_services(cluster=self.name, services=[service])["services"][0]
        return found

    def end(self) -> None:
        for service in self.aws.ecs.list_services(cluster=self.name)["serviceArns"]:
            self.aws.ecs.delete_service(cluster=self.name, service=service, force=True)
        self.aws.elbv2.delete_load_balancer(LoadBalancerArn=self.balancer)


def forward(groups: dict[str, str], blue: int, green: int) -> list[dict[str, Any]]:
    weights = {"blue": blue, "green": green}
    return [
        {
            "Type": "forward",
            "ForwardConfig": {
                "TargetGroups": [{"TargetGroupArn": arn, "Weight": weights[colour]} for colour, arn in groups.items()],
                "TargetGroupStickinessConfig": {"Enabled": False},
            },
        }
    ]


def make_stack(aws: Emulator, image: str, name: str) -> Stack:
    aws.ecs.create_cluster(clusterName=name)
    ingress, tasks = (create_security_group(aws, f"{name}-{part}") for part in ("ingress", "tasks"))
    admit(aws, ingress, 1, 65535, cidr="127.0.0.0/8")
    admit(aws, tasks, 8080, 8080, group=ingress)
    balancer = aws.elbv2.create_load_balancer(Name=name, Subnets=list(SUBNETS), SecurityGroups=[ingress])[
        "LoadBalancers"
    ][0]["LoadBalancerArn"]
    groups = {colour: create_group(aws, f"{name}-{colour}") for colour in ("blue", "green")}
    port = free_port()
    listener = aws.elbv2.create_listener(
        LoadBalancerArn=balancer, Port=port, Protocol="HTTP", DefaultActions=forward(groups, 100, 0)
    )["Listeners"][0]["ListenerArn"]
    return Stack(aws, image, name, ingress, tasks, balancer, port, groups, listener)


def create_security_group(aws: Emulator, name: str) -> str:
    return str(aws.ec2.create_security_group(GroupName=name, Description=name, VpcId=VPC)["GroupId"])


def admit(aws: Emulator, into: str, first: int, last: int, *, cidr: str = "", group: str = "") -> None:
    source: dict[str, Any] = {"IpRanges": [{"CidrIp": cidr}]} if cidr else {"UserIdGroupPairs": [{"GroupId": group}]}
    rule = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **source}
    aws.ec2.authorize_security_group_ingress(GroupId=into, IpPermissions=[rule])


def create_group(aws: Emulator, name: str) -> str:
    arn: str = aws.elbv2.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=8080,
        VpcId=VPC,
        TargetType="ip",
        HealthCheckPath="/healthz",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    aws.elbv2.modify_target_group_attributes(
        TargetGroupArn=arn, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "4"}]
    )
    return arn


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=10, **options)


class Load:
    """Requests on fresh connections from a few threads, until stopped; every answer is kept."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(15)

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=10, headers={"connection": "close"}) as client:
            while not self._stopped.is_set():
                try:
                    answer = client.get(self._url)
                    seen = answer.text if answer.status_code == 200 else f"status {answer.status_code}"
                except httpx.TransportError as error:
                    seen = f"lost: {type(error).__name__}"
                with self._lock:
                    self.answers[seen] += 1
                time.sleep(0.01)

    def failures(self) -> dict[str, int]:
        return {seen: count for seen, count in self.answers.items() if seen.startswith(("status", "lost"))}
