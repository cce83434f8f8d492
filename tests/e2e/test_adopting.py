"""A stack such as the guide's serves the application; ours is made beside it and gets the name, under a client.

It needs a sandbox in which nothing of ours is yet, so it runs first, and leaves a fresh one to the others.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sandbox.environment_file import folder
from sandbox.operator import STAGE, Operator
from sandbox.parts import Sandbox
from sandbox.settings import CODE, SECRET_NAME
from systems.docker import find_builder
from tests.integration.roots import Applied, terraform_environment
from tests.integration.stand import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ZONE, NAME = "example.com", "connections.example.com"
OLD_VERSION, OURS = "unknown", "v1.0.0"
"""What answers `/version`: the guide's stack sets no POINTSMAN_VERSION."""
TAKEN_OVER = ("aws_ecr_repository.main", "aws_iam_openid_connect_provider.github")


@dataclass
class NameClient:
    """Asks the name as a client does: whom it asks, Route 53's weights say, as they are each second."""

    operator: Operator
    ports: dict[str, int]
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)

    def __enter__(self) -> NameClient:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def answers(self, number: int = 60, after: float = 1.5) -> Counter[str]:
        """Return which versions gave the next answers, once a resolver has asked again."""
        time.sleep(after)
        with self._lock:
            self.recent.clear()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with self._lock:
                if len(self.recent) >= number:
                    return Counter(self.recent)
            time.sleep(0.1)
        raise AssertionError(f"only {len(self.recent)} answers came within a minute")

    def _ask(self) -> None:
        try:
            self._go_on_asking()
        except Exception as error:  # a client that asks no more has proven nothing
            with self._lock:
                self.failures.append(f"the client stopped: {type(error).__name__}: {error}")
            raise

    def _go_on_asking(self) -> None:
        chance, route53, shares, read_at = random.Random(7), self.operator.client("route53"), {}, 0.0
        while not self._stop.is_set():
            if time.monotonic() - read_at > 1:
                shares, read_at = shares_of(route53), time.monotonic()
            (host,) = chance.choices(list(shares), weights=list(shares.values()))
            version, failure = "", ""
            try:
                for path in ("connections", "version"):
                    url = f"http://127.0.0.1:{self.ports[host]}/{path}"
                    answer = httpx.get(url, timeout=10, trust_env=False).raise_for_status()
                version = str(answer.json()["version"])
            except (httpx.HTTPError, ValueError) as error:
                failure = f"{time.strftime('%H:%M:%S')} {host}: {type(error).__name__}: {error}"
            with self._lock:
                self.sent += 1
                self.failures += [failure] if failure else []
                self.recent.append(version)
            self._stop.wait(0.05)


def shares_of(route53: Any) -> dict[str, int]:
    """The share of each load balancer in the name's answers."""
    (zone,) = [z["Id"] for z in route53.list_hosted_zones()["HostedZones"] if z["Name"] == f"{ZONE}."]
    listed = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    sets = [one for one in listed if one["Name"] == f"{NAME}."]
    names = [one["AliasTarget"]["DNSName"].removeprefix("dualstack.").rstrip(".") for one in sets]
    return {name: one.get("Weight", 100) for name, one in zip(names, sets, strict=True)}


@dataclass
class Old:
    """The guide's stack: its Terraform, its load balancer, and what its own migrations left in the database."""

    operator: Operator
    terraform: Applied
    dns_name: str
    port: int
    tree: Path
    migrations: list[tuple[Any, ...]]


def migrations_of(sandbox: Sandbox) -> list[tuple[Any, ...]]:
    with psycopg.connect(sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]) as connection:
        return connection.execute("SELECT * FROM _prisma_migrations ORDER BY started_at").fetchall()


def run(command: list[str], directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def flows(operator: Operator, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", *words],
        cwd=CODE,
        env={**os.environ, **operator.sandbox.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def move(operator: Operator, *words: str) -> subprocess.CompletedProcess[str]:
    return flows(operator, "dns", STAGE, "--zone", ZONE, "--name", NAME, *words)


def build_by_hand(operator: Operator, tree: Path, repository: str, scratch: Path) -> str:
    """What the old workflow does before it applies: build, push, migrate; return the image."""
    image, environment = f"{repository}:v1.0.0", {**os.environ, "DOCKER_BUILDKIT": "1"}
    (data,) = operator.client("ecr").get_authorization_token()["authorizationData"]
    auths = {"auths": {repository.partition("/")[0]: {"auth": data["authorizationToken"]}}}
    (scratch / "config.json").write_text(json.dumps(auths))
    docker = find_builder(os.environ.get("PATH", os.defpath))
    arguments = [f"--build-arg={name}={value}" for name, value in operator.settings.image.build_args.items()]
    run([docker, "build", "--platform=linux/amd64", *arguments, f"--tag={image}", "."], tree, environment)
    run([docker, f"--config={scratch}", "push", image], tree, environment)
    address = operator.sandbox.environment()["POINTSMAN_SANDBOX_CONTAINER_DATABASE_URL"]
    run(
        [docker, "run", "--rm", f"--env=DATABASE_URL={address}", image, "prisma", "migrate", "deploy"],
        tree,
        environment,
    )
    return image


@pytest.fixture(scope="module")
def old(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    operator = Operator(sandbox)
    if operator.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] or _provisioned(operator):
        if os.environ.get("POINTSMAN_KEEP_SANDBOX"):
            pytest.fail("what is provisioned would be lost: run it without POINTSMAN_KEEP_SANDBOX", pytrace=False)
        sandbox.reset()
        operator = Operator(sandbox)
    directory, settings = tmp_path_factory.mktemp("old"), sandbox.settings
    operator.push("v1.0.0")
    tree = directory / "tree"
    run(["git", "clone", "-q", "--branch=v1.0.0", operator.settings.source.url, str(tree)], directory, {**os.environ})
    secret = operator.client("secretsmanager").describe_secret(SecretId=SECRET_NAME)["ARN"]
    administrator = terraform_environment(settings.aws_url, "test", "test")
    terraform = Applied(administrator, "guide-stack", directory, sources=CODE / "examples")
    variables = {
        "image_tag": "v1.0.0",
        "database_secret_arn": secret,
        "port": free_port(),
        "health_check": {"interval": 5, "timeout": 4},
        "public_cidrs": ["127.0.0.0/8"],
    }
    registry = [f"-var={name}={variables[name]}" for name in ("image_tag", "database_secret_arn")]
    terraform.run("apply", "-auto-approve", "-input=false", "-target=aws_ecr_repository.main", *registry)
    (found,) = operator.client("ecr").describe_repositories()["repositories"]
    build_by_hand(operator, tree, found["repositoryUri"], directory)
    outputs = terraform.apply(**variables)
    await_answer(variables["port"])
    point_name_at(operator, outputs["alb_dns_name"])
    yield Old(operator, terraform, outputs["alb_dns_name"], variables["port"], tree, migrations_of(sandbox))
    if not os.environ.get("POINTSMAN_KEEP_SANDBOX"):
        sandbox.reset()


def _provisioned(operator: Operator) -> bool:
    try:
        return operator.record().infrastructure is not None
    except operator.client("s3").exceptions.NoSuchKey:
        return False


def await_answer(port: int) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/version", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError("the old stack does not answer")


def point_name_at(operator: Operator, dns_name: str) -> None:
    route53 = operator.client("route53")
    zone = route53.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"]
    (balancer,) = operator.client("elbv2").describe_load_balancers()["LoadBalancers"]
    target = {
        "DNSName": f"dualstack.{dns_name}",
        "HostedZoneId": balancer["CanonicalHostedZoneId"],
        "EvaluateTargetHealth": True,
    }
    record = {"Action": "CREATE", "ResourceRecordSet": {"Name": NAME, "Type": "A", "AliasTarget": target}}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [record]})


def test_an_operator_goes_over_and_back_and_over_with_no_request_failed(old: Old, sandbox: Sandbox) -> None:
    operator = old.operator
    examined = flows(operator, "adopt", STAGE, "--checkout", str(old.tree))
    assert examined.returncode == 0, examined.stdout + examined.stderr
    assert "Release v1.0.0 to sandbox" in examined.stdout
    assert "import_ecr_repository = true" in examined.stdout

    path = folder(sandbox.settings) / f"{STAGE}.toml"
    head = "[provision.account]\n"
    path.write_text(path.read_text().replace(head, f"{head}import_ecr_repository = true\n"))
    provisioned = operator.provision()
    assert provisioned.type == "COMPLETED", provisioned.message
    infrastructure = operator.record().infrastructure
    assert infrastructure is not None
    ours = infrastructure.alb_dns_name

    with NameClient(operator, {old.dns_name: old.port, ours: operator.settings.ports.production}) as client:
        assert move(operator, "--weight", "0").returncode == 0
        early = move(operator, "--weight", "10")
        assert (early.returncode, "Nothing is live in sandbox" in early.stderr) == (1, True)

        released = operator.wait(operator.run("release", tag="v1.0.0"))
        assert released.type == "COMPLETED", released.message
        assert migrations_of(sandbox) == old.migrations, "the same tag has the same schema, so nothing was migrated"
        steps = {step.name: step.outcome for step in operator.history("v1.0.0").attempts[-1].steps}
        assert steps["migrate"] == "skipped"
        assert set(client.answers()) == {OLD_VERSION}, "a release of ours moves no name"

        for weight in (10, 50, 100):
            moved = move(operator, "--weight", str(weight))
            assert moved.returncode == 0, moved.stderr
            assert shares_of(operator.client("route53")) == {old.dns_name: 100 - weight, ours: weight}
        assert set(client.answers()) == {OURS}
        assert move(operator, "--weight", "0").returncode == 0
        assert set(client.answers()) == {OLD_VERSION}, "the way back is the same command"
        assert move(operator, "--weight", "50").returncode == 0
        assert set(client.answers()) == {OLD_VERSION, OURS}
        assert move(operator, "--weight", "100").returncode == 0
        assert set(client.answers()) == {OURS}

        old.terraform.run("state", "rm", *TAKEN_OVER)
        old.terraform.run("destroy", "-auto-approve", "-input=false")
        assert move(operator, "--finish").returncode == 0
        assert set(client.answers()) == {OURS}
    assert client.sent > 500
    assert client.failures == [], client.failures[:5]
    assert shares_of(operator.client("route53")) == {ours: 100}
    assert operator.client("ecr").describe_images(repositoryName="cursive-team/connections")["imageDetails"]
    assert len(operator.client("elbv2").describe_load_balancers()["LoadBalancers"]) == 1
    back = move(operator, "--weight", "0", "--old", old.dns_name)
    assert (back.returncode, "does not exist in this account" in back.stderr) == (1, True)


def test_after_it_a_release_goes_on_as_ever(old: Old) -> None:
    operator = old.operator
    operator.push("v1.1.0")
    released = operator.wait(operator.run("release", tag="v1.1.0"))

    assert released.type == "COMPLETED", released.message
    assert operator.answering(operator.settings.ports.production)["version"] == "v1.1.0"
