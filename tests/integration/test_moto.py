"""A second opinion: the three roots applied against moto's server, which shares no code with the emulator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.integration.roots import REGION, Applied, common, slot_variables, terraform_environment
from tests.integration.stand import free_port, wait_for

pytestmark = pytest.mark.integration
ACCOUNT = "123456789012"
COMMON = common(ACCOUNT)

# What the plan after an apply still wants, by address, and why. Each is moto's: it does not store what was written.
NOT_STORED = {
    # moto drops the description of a rule that refers to a group.
    "aws_vpc_security_group_egress_rule.load_balancer_to_tasks": {"description"},
    "aws_vpc_security_group_ingress_rule.tasks_from_load_balancer": {"description"},
    "aws_vpc_security_group_ingress_rule.endpoints_from_tasks[0]": {"description"},
    # moto has no such members in a service.
    "aws_ecs_service.slot": {"health_check_grace_period_seconds", "availability_zone_rebalancing"},
}


# How these were addressed before there could be several.
ADDRESSES_OF_BEFORE = ("aws_eip.nat", "aws_nat_gateway.main", "aws_route.nat", "aws_route_table.private")
ENDPOINTS = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]


@dataclass
class Moto:
    url: str

    @property
    def environment(self) -> dict[str, str]:
        return terraform_environment(self.url, "test", "test")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


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
    root = Applied(moto.environment, "account", tmp_path)
    root.apply(
        **COMMON,
        stages=["sandbox"],
        state_bucket="cursive-team-connections-state",
        github_repository="cursive-team/connections",
        operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
        pipeline_principal_arns=[f"arn:aws:iam::{ACCOUNT}:role/release-worker"],
    )
    assert root.still_wanted() == {}


def test_an_environment_and_both_releases_of_a_slot_are_applied(moto: Moto, tmp_path: Path) -> None:
    environment = Applied(moto.environment, "environment", tmp_path)
    outputs = environment.apply(
        **COMMON,
        stage="sandbox",
        test_listener_cidrs=["203.0.113.10/32"],
        listener_weights={"blue": 100, "green": 0},
        deletion_protection=False,
    )
    expect_only_what_moto_does_not_store(environment)
    for address in ADDRESSES_OF_BEFORE:
        environment.run("state", "mv", f"{address}[0]", address)
    expect_only_what_moto_does_not_store(environment)

    slot = Applied(moto.environment, "slot", tmp_path)
    for version in ("v1.0.0", "v1.1.0"):
        applied = slot.apply(**slot_variables(COMMON, outputs, version))
        described = moto.client("ecs").describe_services(
            cluster=outputs["cluster_arn"], services=[applied["service_name"]]
        )
        [service] = described["services"]
        assert service["taskDefinition"] == applied["task_definition_arn"]
    expect_only_what_moto_does_not_store(slot)


def test_an_environment_goes_from_one_way_out_to_the_others(moto: Moto, tmp_path: Path) -> None:
    environment = Applied(moto.environment, "environment", tmp_path)
    common = {
        **COMMON,
        "stage": "staging",
        "test_listener_cidrs": ["203.0.113.10/32"],
        "listener_weights": {"blue": 100, "green": 0},
        "deletion_protection": False,
        "tags": {"CostCentre": "platform"},
    }
    # moto leaves the address with a gateway that is gone; AWS frees it.
    environment.override('resource "aws_eip_association" "nat" {\n  allow_reassociation = true\n}\n')
    first = environment.apply(**common)
    ec2 = moto.client("ec2")
    addresses = [first["nat_gateway_ip"]]

    for nat, number in (("gateway-per-zone", 3), ("instance", 1), ("gateway", 1)):
        outputs = environment.apply(**common, nat=nat)
        expect_only_what_moto_does_not_store(environment)
        assert len(outputs["nat_ips"]) == number
        addresses.append(outputs["nat_gateway_ip"])
        if nat == "instance":
            running = [{"Name": "instance-state-name", "Values": ["running"]}]
            [instance] = ec2.describe_instances(Filters=running)["Reservations"][0]["Instances"]
            assert {"Key": "CostCentre", "Value": "platform"} in instance["Tags"]
            assert instance["NetworkInterfaces"][0]["SourceDestCheck"] is False
    assert len(set(addresses)) == 1, "a database that admitted the first address admits what is there now"

    closed = environment.apply(**common, nat="none", vpc_endpoints=ENDPOINTS, task_zone_letters=["b"], flow_logs=False)
    expect_only_what_moto_does_not_store(environment)
    assert "nat_gateway_ip" not in closed, "Terraform leaves out an output that is null"
    assert len(closed["private_subnet_ids"]) == 1
    found = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [closed["vpc_id"]]}])["VpcEndpoints"]
    assert sorted(e["ServiceName"].partition(f"{REGION}.")[2] for e in found) == [*ENDPOINTS[:3], "s3", ENDPOINTS[3]]
    assert all(e["SubnetIds"] == closed["private_subnet_ids"] for e in found if e["VpcEndpointType"] == "Interface")
