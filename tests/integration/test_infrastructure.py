"""`provision` and `destroy` with real Terraform on an emulated AWS: asked, applied, seen, and undone again."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from prefect import Task
from prefect.blocks.system import Secret
from prefect.logging import disable_run_logger
from prefect_aws import AwsClientParameters, AwsCredentials
from prefect_docker import DockerHost
from pydantic import SecretStr

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused
from core.record import EnvironmentRecord
from core.release import Configuration, Release
from core.root_variables import slot_variables
from flows import destroy as destroy_flow
from flows.destroy import destroy_account, destroy_environment
from flows.provision import provision_environment
from lifecycle import agreement
from lifecycle.agreement import Answer, Question
from operation.operation import Operation, open_operation
from sandbox.environment_file import with_values
from systems.aws import AwsClients
from systems.load_balancer import find_load_balancer
from systems.processes import owner_of
from systems.terraform import state_key
from tasks import infrastructure
from tests.integration.stand import ROOT, Emulator, free_port, running

pytestmark = [pytest.mark.integration, pytest.mark.long]

BUCKET, SECRET = "cursive-team-connections-state", "cursive-team/connections/sandbox"
BALANCER = "connections-sandbox"


@dataclass
class Person:
    """Somebody who agrees to everything until told otherwise, and remembers what was asked."""

    asked: list[Question] = field(default_factory=list)
    rejects: str = ""
    types: str | None = None

    def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        agreed = not self.rejects or self.rejects not in question.page
        typed = question.confirm if self.types is None else self.types
        return Answer(agreed, "Ada", "because" if agreed else "not today", typed)


@dataclass
class Ground:
    """An emulated account, an environment's file, and who acts."""

    aws: Emulator
    file: Path

    def open(self, stage: str = "sandbox") -> Operation:
        run = uuid.uuid4().hex  # whose folders no other test removes
        block = ReleaseEnvironment.model_construct(
            stage=stage,
            aws_credentials=AwsCredentials(
                region_name="ap-southeast-1",
                aws_access_key_id="test",
                aws_secret_access_key=SecretStr("test"),
                aws_client_parameters=AwsClientParameters(endpoint_url=self.aws.url),
            ),
            docker_host=DockerHost(),
            webhook_secret=Secret(value=SecretStr("x" * 32)),
        )
        return open_operation(block, AwsClients(block), owner_of("provision", run, f"{run}-1"))

    def provision(self, person: Person, stage: str = "sandbox") -> str:
        operation = self.open(stage)
        try:
            return provision_environment(operation, person)
        finally:
            self.end(operation)

    def destroy(self, person: Person, stage: str = "sandbox", *, force: bool = False) -> str:
        operation = self.open(stage)
        try:
            return destroy_environment(operation, person, force=force)
        finally:
            self.end(operation)

    def end(self, operation: Operation) -> None:
        if operation.lease.held:
            operation.lease.drop()
        operation.close()

    def record(self) -> EnvironmentRecord:
        return self.open().records.environment()

    def balancer(self) -> str | None:
        return find_load_balancer(self.aws.elbv2, BALANCER)

    def change(self, **values: str) -> None:
        self.file.write_text(with_values(self.file.read_text(), values))

    def objects(self) -> set[str]:
        return {o["Key"] for o in self.aws.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


@pytest.fixture(scope="module", autouse=True)
def no_prefect() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched, disable_run_logger():
        patched.setattr(Task, "__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
        patched.setattr(agreement, "create_markdown_artifact", lambda **_: None)
        patched.setattr(infrastructure, "create_markdown_artifact", lambda **_: None)
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    directory = tmp_path_factory.mktemp("infrastructure")
    with running(directory) as aws, pytest.MonkeyPatch.context() as patched:
        patched.setenv("POINTSMAN_ENVIRONMENTS", str(directory))
        ports = {name: str(free_port()) for name in ("production", "test_blue", "test_green")}
        values = {
            "endpoint_url": f'"{aws.url}"',
            **ports,
            "deletion_protection": "true",
        }
        file = directory / "sandbox.toml"
        file.write_text(with_values((ROOT / "environments/sandbox.toml").read_text(), values))
        aws.secretsmanager.create_secret(Name=SECRET, SecretString="{}")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        aws.iam.create_role(RoleName="release-worker", AssumeRolePolicyDocument=document)
        yield Ground(aws, file)


def test_a_rejected_plan_makes_nothing(ground: Ground) -> None:
    person = Person(rejects="account")
    with pytest.raises(Refused, match="The plan was rejected: Ada: not today"):
        ground.provision(person)
    assert len(person.asked) == 1
    assert ground.balancer() is None
    assert ground.aws.ecr.describe_repositories()["repositories"] == []
    assert not any(key.startswith("terraform/") for key in ground.objects())


@pytest.fixture(scope="module")
def provisioned(ground: Ground) -> str:
    person = Person()
    said = ground.provision(person)
    assert [question.confirm for question in person.asked] == [None, None], "one plan a root, and nothing is replaced"
    account, environment = (question.page for question in person.asked)
    assert "| `aws_ecr_repository.application` | create |" in account
    assert "| `aws_lb.main` | create |" in environment
    return said


def test_what_was_agreed_to_stands_and_its_outputs_say_what_they_are_for(ground: Ground, provisioned: str) -> None:
    balancer = ground.balancer()
    assert balancer is not None
    (found,) = ground.aws.elbv2.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"]
    record = ground.record()
    assert record.infrastructure is not None
    assert record.infrastructure.alb_dns_name == found["DNSName"]
    assert record.lease is None
    assert f"load balancer {found['DNSName']} (DNS: a CNAME of" in provisioned
    assert "RDS: an inbound rule, PostgreSQL 5432 from" in provisioned
    assert "GitHub: no workflow needs a role or a key of this account" in provisioned


def test_again_nothing_changes_and_nobody_is_asked(ground: Ground, provisioned: str) -> None:
    balancer, person = ground.balancer(), Person()
    ground.provision(person)
    assert person.asked == []
    assert ground.balancer() == balancer


def test_a_load_balancer_is_replaced_only_by_name(ground: Ground, provisioned: str) -> None:
    balancer, before = ground.balancer(), ground.file.read_text()
    ground.file.write_text(before.replace("deletion_protection = true", "deletion_protection = true\ninternal = true"))
    person = Person(types="yes")
    try:
        with pytest.raises(Refused, match="The plan was not confirmed"):
            ground.provision(person)
    finally:
        ground.file.write_text(before)
    first, second = person.asked
    assert "| `aws_lb.main` | replace |" in first.page
    assert second.confirm is not None
    assert "aws_lb.main" in second.confirm.split()
    assert ground.balancer() == balancer


def test_traffic_that_moved_while_a_plan_waited_voids_it(ground: Ground, provisioned: str) -> None:
    """A new listener would start with the weights of before."""
    before = ground.file.read_text()
    other = str(free_port())

    class Slow(Person):
        def __call__(self, question: Question) -> Answer:
            store = ground.open().records
            store.change_environment(lambda r: r.model_copy(update={"live": _live(r, Colour.BLUE)}))
            return super().__call__(question)

    ground.change(test_blue=other)
    try:
        with pytest.raises(Refused, match=r"is out of date: a new listener would get .*traffic moved to"):
            ground.provision(Slow())
    finally:
        ground.file.write_text(before)
        ground.open().records.change_environment(lambda r: r.model_copy(update={"live": None}))


def _live(record: EnvironmentRecord, colour: Colour) -> Any:
    from tests.unit.facts import live

    return live("v1.0.0", colour)


def test_two_environments_stand_side_by_side_in_one_account(ground: Ground, provisioned: str) -> None:
    first, staging = ground.balancer(), ground.file.with_name("staging.toml")
    both = {"stages": '["sandbox", "staging"]'}
    ground.change(**both)
    ports = {name: str(free_port()) for name in ("production", "test_blue", "test_green")}
    staging.write_text(with_values(ground.file.read_text(), {"stage": '"staging"', **ports}))
    person = Person()
    ground.provision(person, "staging")
    assert '| `aws_iam_role.pipeline["staging"]` | create |' in person.asked[0].page
    ours, theirs = (ground.open(stage).records.environment().infrastructure for stage in ("sandbox", "staging"))
    assert ours is not None
    assert theirs is not None
    assert ours.ecr_repository_url.endswith("/cursive-team/connections/sandbox")
    assert theirs.ecr_repository_url.endswith("/cursive-team/connections")
    assert {ours.cluster_arn, ours.alb_dns_name}.isdisjoint({theirs.cluster_arn, theirs.alb_dns_name})
    again = Person()
    ground.provision(again)
    assert again.asked == [], "the first needs no change for the second"
    ground.destroy(Person(), "staging", force=True)
    assert ground.balancer() == first
    assert ground.open("staging").records.environment().infrastructure is None


# --- the end


@pytest.fixture(scope="module")
def released(ground: Ground, provisioned: str) -> None:
    """A slot as a release leaves it, and an image that it runs."""
    operation = ground.open()
    operation.records.environment()
    release = Release(
        version="v1.0.0",
        commit="c" * 40,
        image=f"{operation.infrastructure.ecr_repository_url}@sha256:{'0' * 64}",
        configuration=Configuration.of(operation.settings, operation.infrastructure.secret_arns),
    )
    workplace = operation.terraform
    root = workplace.open_root("slot", state_key("sandbox", "green"))
    variables = slot_variables(operation.settings, operation.infrastructure, Colour.GREEN, release)
    workplace.apply(workplace.plan(root, variables))
    operation.close()


def test_an_environment_that_was_used_within_the_hour_stays(ground: Ground, released: None) -> None:
    balancer = ground.balancer()
    assert balancer is not None
    dimension = {"Name": "LoadBalancer", "Value": balancer.partition(":loadbalancer/")[2]}
    datum = {"MetricName": "RequestCount", "Dimensions": [dimension], "Value": 7.0, "Unit": "Count"}
    ground.aws.cloudwatch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[datum])
    person = Person()
    with pytest.raises(Refused, match=r"sandbox is in use: its load balancer answered 7 requests in the last hour"):
        ground.destroy(person)
    assert person.asked == []
    assert ground.balancer() == balancer


def test_its_name_must_be_typed(ground: Ground, released: None) -> None:
    with pytest.raises(Refused, match="typed 'production', not 'sandbox'"):
        ground.destroy(Person(types="production"), force=True)
    assert ground.balancer() is not None
    assert ground.record().destroying is None


def test_the_account_s_root_is_needed_while_an_environment_stands(ground: Ground, released: None) -> None:
    operation = ground.open()
    with pytest.raises(Refused, match="The account's root is needed by sandbox"):
        destroy_account(operation, Person())
    operation.close()


def test_what_ended_halfway_is_gone_on_with_and_nothing_is_left(
    ground: Ground, released: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(destroy_flow, "destroy_root", die)
        with pytest.raises(KeyboardInterrupt):
            ground.destroy(Person(), force=True)
    halfway = ground.record()
    assert halfway.destroying is not None
    assert ground.balancer() is not None, "the environment's own root was not reached"
    services = ground.aws.ecs.describe_services(
        cluster="cursive-team-connections-sandbox", services=["connections-sandbox-green"]
    )["services"]
    assert not [s for s in services if s["status"] == "ACTIVE"], "the slot is gone already"

    person = Person()
    said = ground.destroy(person, force=True)
    assert "aws_ecs_service" not in person.asked[0].page, "only what is left is planned"
    assert person.asked[0].confirm == "sandbox"
    assert "the images in cursive-team/connections" in said
    assert ground.balancer() is None
    assert not [v for v in ground.aws.ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"] and _named(v)]
    record = ground.record()
    assert (record.infrastructure, record.live, record.destroying, record.lease) == (None, None, None, None)
    assert BUCKET in {bucket["Name"] for bucket in ground.aws.s3.list_buckets()["Buckets"]}
    assert {"releases/sandbox/environment.json", "terraform/account.tfstate"} <= ground.objects()


def _named(vpc: dict[str, Any]) -> bool:
    return any(tag["Key"] == "Stage" and tag["Value"] == "sandbox" for tag in vpc.get("Tags", []))


def test_what_is_gone_is_not_destroyed_again(ground: Ground) -> None:
    person = Person()
    ground.destroy(person)
    assert person.asked == []


def test_images_keep_the_account_s_root(ground: Ground) -> None:
    manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}'
    ground.aws.ecr.put_image(repositoryName="cursive-team/connections", imageManifest=manifest, imageTag="v1.0.0")
    operation, person = ground.open(), Person()
    with pytest.raises(PointsmanError, match="holds 1 image"):
        destroy_account(operation, person)
    ground.end(operation)
    ground.aws.ecr.batch_delete_image(repositoryName="cursive-team/connections", imageIds=[{"imageTag": "v1.0.0"}])
    operation = ground.open()
    destroy_account(operation, person)
    ground.end(operation)
    assert [question.confirm for question in person.asked] == ["account"]
    assert ground.aws.ecr.describe_repositories()["repositories"] == []
    with pytest.raises(ClientError, match="NoSuchEntity"):
        ground.aws.iam.get_role(RoleName="cursive-team-connections-operator")


def test_an_environment_is_built_anew_on_the_same_ground(ground: Ground) -> None:
    began = time.monotonic()
    person = Person()
    ground.provision(person)
    assert len(person.asked) == 2, f"after {time.monotonic() - began:.0f} s"
    record = ground.record()
    assert record.infrastructure is not None
    assert record.weights == Weights.all_on(Colour.GREEN)
