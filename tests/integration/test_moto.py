"""A second opinion: the three roots applied against moto's server, which shares no code with the emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.integration.stand import ROOT, free_port, wait_for

pytestmark = pytest.mark.integration
REGION = "ap-southeast-1"
ACCOUNT = "123456789012"
COMMON = {"region": REGION, "aws_account_number": ACCOUNT, "namespace": "cursive-team", "name": "connections"}

# What the plan after an apply still wants, by address, and why. Each is moto's: it does not store what was written.
NOT_STORED = {
    # moto drops the description of a rule that refers to a group.
    "aws_vpc_security_group_egress_rule.load_balancer_to_tasks": {"description"},
    "aws_vpc_security_group_ingress_rule.tasks_from_load_balancer": {"description"},
    # moto has no such members in a service.
    "aws_ecs_service.slot": {"health_check_grace_period_seconds", "availability_zone_rebalancing"},
}


@dataclass
class Moto:
    url: str

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        configured = os.environ.get("TF_CLI_CONFIG_FILE", "")
        return {
            **kept,
            **({"TF_CLI_CONFIG_FILE": configured} if os.path.exists(configured) else {}),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


class Applied:
    """A copy of a root with a state of its own beside it."""

    def __init__(self, moto: Moto, root: str, directory: Path) -> None:
        self._moto, self._directory = moto, directory / root
        shutil.copytree(ROOT / "terraform" / root, self._directory, ignore=shutil.ignore_patterns(".terraform"))
        (self._directory / "local_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        self.run("init", "-input=false")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["terraform", *arguments, "-no-color"] if arguments[0] != "show" else ["terraform", *arguments],
            cwd=self._directory,
            env=self._moto.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"terraform {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def apply(self, **variables: Any) -> dict[str, Any]:
        """Apply with these variables and return the outputs."""
        (self._directory / "given.auto.tfvars.json").write_text(json.dumps(variables))
        self.run("apply", "-auto-approve", "-input=false")
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    def still_wanted(self) -> dict[str, set[str]]:
        """What a second plan would change: members by address, `created` and `deleted` for a whole resource."""
        self.run("plan", "-input=false", "-out=second.tfplan")
        plan = json.loads(self.run("show", "-json", "second.tfplan"))
        return {
            change["address"]: _members(change["change"])
            for change in plan.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }


def _members(change: dict[str, Any]) -> set[str]:
    before, after = change["before"], change["after"]
    if change["actions"] != ["update"]:
        return {"+".join(change["actions"])}
    unknown = {name for name, value in change["after_unknown"].items() if value is True}
    return {name for name in {*before, *after} if before.get(name) != after.get(name)} | unknown


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: process.poll() is not None or _answers(port), "moto's server answers", 30)
            assert process.poll() is None, log.read_text()[-2000:]
            yield Moto(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/moto-api/", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def expect_only_what_moto_does_not_store(root: Applied) -> None:
    wanted = root.still_wanted()
    surplus = {address: members - NOT_STORED.get(address, set()) for address, members in wanted.items()}
    assert {address: members for address, members in surplus.items() if members} == {}


def test_the_account_is_applied_and_a_second_plan_is_empty(moto: Moto, tmp_path: Path) -> None:
    root = Applied(moto, "account", tmp_path)
    root.apply(
        **COMMON,
        stages=["sandbox"],
        state_bucket="cursive-team-connections-state",
        github_repository="cursive-team/connections",
        operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
        pipeline_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
    )
    assert root.still_wanted() == {}


def test_an_environment_and_both_releases_of_a_slot_are_applied(moto: Moto, tmp_path: Path) -> None:
    environment = Applied(moto, "environment", tmp_path)
    outputs = environment.apply(
        **COMMON,
        stage="sandbox",
        test_listener_cidrs=["203.0.113.10/32"],
        listener_weights={"blue": 100, "green": 0},
        deletion_protection=False,
    )
    expect_only_what_moto_does_not_store(environment)

    slot = Applied(moto, "slot", tmp_path)
    for version in ("v1.0.0", "v1.1.0"):
        applied = slot.apply(**slot_variables(outputs, version))
        described = moto.client("ecs").describe_services(
            cluster=outputs["cluster_arn"], services=[applied["service_name"]]
        )
        [service] = described["services"]
        assert service["taskDefinition"] == applied["task_definition_arn"]
    expect_only_what_moto_does_not_store(slot)


def slot_variables(outputs: dict[str, Any], version: str) -> dict[str, Any]:
    digest = "sha256:" + "0123456789abcdef" * 4
    return {
        **COMMON,
        "stage": "sandbox",
        "colour": "blue",
        "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/cursive-team/connections@{digest}",
        "release_version": version,
        "release_revision": "0" * 40,
        "migration_command": ["prisma", "migrate", "deploy"],
        "cluster_arn": outputs["cluster_arn"],
        "subnet_ids": outputs["private_subnet_ids"],
        "security_group_id": outputs["task_security_group_id"],
        "target_group_arn": outputs["target_group_arns"]["blue"],
        "execution_role_arn": outputs["execution_role_arn"],
        "task_role_arn": outputs["task_role_arn"],
        "log_group_name": outputs["log_group_name"],
    }
