"""A slot with all that a service may ask for: Terraform's own plan passes the guard, and real containers run by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from core.colour import Colour
from core.plan_guard import guard_slot_plan
from core.record import Infrastructure
from core.release import Configuration, Pins, Release
from core.root_variables import slot_variables
from core.settings import EnvironmentSettings, parse_settings
from core.slot_shape import SlotPlan
from systems.docker import digest_of
from systems.ecr import Login
from tests.integration.roots import Applied, terraform_environment
from tests.integration.stand import SUBNETS, Emulator, get, make_stack, wait_for

pytestmark = pytest.mark.integration
ACCOUNT, PREFIX = "000000000000", "cursive-team-shop-sandbox"
PROGRAM = """
const http = require('http'), fs = require('fs');
http.createServer((q, r) => {
  if (q.url === '/healthz') { r.end(); return; }
  http.get('http://localhost:9000', (a) => { let seen = ''; a.on('data', d => seen += d); a.on('end', () => {
    fs.appendFileSync('/files/asked', 'x');
    r.end(JSON.stringify({argv: process.argv.slice(1), uid: process.getuid(), key: process.env.KEY, beside: seen}));
  }); });
}).listen(8080);
"""
BESIDE = "require('http').createServer((q, r) => r.end('of ' + process.env.NAME)).listen(9000);"


def settings_of(aws: Emulator, image: str) -> EnvironmentSettings:
    return parse_settings(
        "sandbox",
        f"""
region = "ap-southeast-1"
aws_account_number = "{ACCOUNT}"
namespace = "cursive-team"
name = "shop"
stage = "sandbox"
state_bucket = "cursive-team-shop-state"
[aws]
endpoint_url = "{aws.url}"
[source]
url = "https://github.com/cursive-team/shop.git"
github_repository = "cursive-team/shop"
[service]
entry_point = ["node", "-e", {json.dumps(PROGRAM)}]
command = ["one", "two"]
user = "0:0"
stop_timeout = 5
init_process = true
ephemeral_storage = 30
extra_ports = [9100]
ulimits.nofile = {{ soft = 2048, hard = 4096 }}
health_check = {{ command = ["CMD-SHELL", "exit 0"], interval = 5, start_period = 5 }}
depends_on = {{ beside = "HEALTHY" }}
mounts.files = {{ path = "/files" }}
volumes.files = {{ file_system = "fs-0a1b2c3d" }}
[service.secrets.KEY]
parameter = "/shop/key"
[migration.secrets.OWNER]
secret = "rds!shop"
key = "password"
[[service.containers]]
name = "beside"
image = "{image}"
essential = false
entry_point = ["node", "-e", {json.dumps(BESIDE)}]
extra_ports = [9000]
variables = {{ NAME = "beside" }}
health_check = {{ command = ["CMD", "node", "-e", "1"], interval = 5 }}
""",
    )


class Host:
    """The machine's own engine."""

    @contextmanager
    def get_client(self) -> Iterator[docker.DockerClient]:
        with closing(docker.from_env()) as client:
            yield client


def pushed(aws: Emulator, image: str) -> str:
    """Push an image to the emulator's registry and return it as a tag."""
    repository = aws.ecr.create_repository(repositoryName="cursive-team/shop")["repository"]["repositoryUri"]
    with closing(docker.from_env()) as client:
        assert client.images.get(image).tag(repository, "v1")
        for line in client.api.push(repository, "v1", stream=True, decode=True, auth_config=login(aws)):
            assert "error" not in line, line
    return f"{repository}:v1"


def login(aws: Emulator) -> dict[str, str]:
    return {"username": "AWS", "password": "password"}


def role(aws: Emulator, name: str) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    return str(aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"])


def answered(url: str) -> dict[str, Any] | None:
    try:
        response = get(url)
    except httpx.HTTPError:
        return None
    return dict(response.json()) if response.status_code == 200 else None


def test_all_that_a_service_asks_for_passes_the_guard_and_runs(aws: Emulator, image: str, tmp_path: Path) -> None:
    stack = make_stack(aws, image, "shop-sandbox")
    cluster = aws.ecs.create_cluster(clusterName=PREFIX)["cluster"]["clusterArn"]
    aws.logs.create_log_group(logGroupName=PREFIX)
    managed = aws.secretsmanager.create_secret(Name="rds!shop", SecretString='{"password": "p"}')["ARN"]
    aws.ssm.put_parameter(Name="/shop/key", Value="of a parameter", Type="SecureString")
    tagged = pushed(aws, image)
    settings = settings_of(aws, tagged)
    digest = digest_of(Host(), tagged, Login("", **login(aws)))
    assert digest is not None
    assert digest_of(Host(), tagged.replace(":v1", ":v2"), Login("", **login(aws))) is None
    infrastructure = Infrastructure(
        ecr_repository_url=tagged.rpartition(":")[0],
        alb_dns_name="localhost",
        production_listener_arn=stack.listener,
        test_listener_arns={},
        target_group_arns={colour: stack.groups[colour.value] for colour in Colour},
        cluster_arn=cluster,
        private_subnet_ids=SUBNETS,
        task_security_group_id=stack.tasks,
        execution_role_arn=role(aws, f"{PREFIX}-execution"),
        task_role_arn=role(aws, f"{PREFIX}-task"),
        log_group_name=PREFIX,
        secret_arns={"rds!shop": managed},
        parameter_arns={"/shop/key": f"arn:aws:ssm:ap-southeast-1:{ACCOUNT}:parameter/shop/key"},
    )
    configuration = Configuration.of(settings, infrastructure.secret_sources, Pins(images={tagged: digest}))
    repository = infrastructure.ecr_repository_url
    release = Release(version="v1.0.0", commit="c" * 40, image=f"{repository}@{digest}", configuration=configuration)
    slot = Applied(terraform_environment(aws.url, "test", "test"), "slot", tmp_path)
    expected = SlotPlan(settings, infrastructure, Colour.BLUE, release)
    slot.give(**slot_variables(settings, infrastructure, Colour.BLUE, release))

    slot.run("plan", "-input=false", "-out=first.tfplan")
    guard_slot_plan(json.loads(slot.run("show", "-json", "first.tfplan")), expected)
    slot.run("apply", "-input=false", "first.tfplan")
    slot.run("plan", "-input=false", "-out=second.tfplan")
    again = json.loads(slot.run("show", "-json", "second.tfplan"))
    guard_slot_plan(again, expected)
    assert {change["change"]["actions"][0] for change in again["resource_changes"]} == {"no-op"}

    service = settings.service_name(Colour.BLUE)
    aws.ecs.update_service(cluster=cluster, service=service, desiredCount=1, forceNewDeployment=True)
    try:
        seen = wait_for(lambda: answered(stack.url), "the application answers through its balancer", 120)
        assert seen == {"argv": ["one", "two"], "uid": 0, "key": "of a parameter", "beside": "of beside"}

        def completed() -> bool:
            [described] = aws.ecs.describe_services(cluster=cluster, services=[service])["services"]
            return bool(described["deployments"][0]["rolloutState"] == "COMPLETED")

        wait_for(completed, "its own check passed", 60)
    finally:
        aws.ecs.delete_service(cluster=cluster, service=service, force=True)
        stack.end()
