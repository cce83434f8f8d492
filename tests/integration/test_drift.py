"""Changes by a foreign hand on an emulated account: each is found and named, and looking changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect import Task
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State
from prefect.logging import disable_run_logger
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from prefect_docker import DockerHost

import flows.drift
from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.drift import ACCOUNT, CANNOT_TELL, ENVIRONMENT, SLOTS, TRAFFIC, Report
from core.history import SlotOutputs
from core.record import EnvironmentRecord, Infrastructure, LeaseRecord, Live
from core.release import Configuration, Release
from core.root_variables import account_variables, environment_variables, initial_weights, slot_variables
from flows.drift import compare_with_aws
from operation.operation import Operation, open_operation
from sandbox.environment_file import with_values
from systems.aws import AwsClients
from systems.processes import owner_of
from systems.records import StateBucket, ensure_state_bucket
from systems.terraform import state_key
from tests.integration.stand import REGION, ROOT, Emulator, forward, free_port, running

pytestmark = pytest.mark.integration
OWNER_ACCOUNT = "000000000000"
BUCKET = "cursive-team-connections-state"
PIPELINE = f"arn:aws:iam::{OWNER_ACCOUNT}:role/cursive-team-connections-sandbox-pipeline"
OPERATOR = f"arn:aws:iam::{OWNER_ACCOUNT}:role/cursive-team-connections-operator"
SERVICES = {colour: f"connections-sandbox-{colour}" for colour in Colour}


@dataclass
class Stand:
    """A provisioned environment under authorization, and the people who act in it."""

    aws: Emulator
    administrator: Operation
    worker: Operation
    """As releases are opened."""
    reader: Operation
    """As `drift` is opened: with the operator's role, which only reads."""
    ada: Any
    """Clients of a person with rights to everything."""

    @property
    def record(self) -> EnvironmentRecord:
        return self.worker.records.environment()

    @property
    def infrastructure(self) -> Infrastructure:
        found = self.record.infrastructure
        assert found is not None
        return found

    def candidate(self, version: str, colour: Colour) -> tuple[Release, SlotOutputs]:
        """Do to Terraform and ECS what a release does before it shifts, without an image."""
        operation, infrastructure = self.administrator, self.infrastructure
        digest = "sha256:" + f"{hash(version) % 16:x}" * 64
        image = f"{infrastructure.ecr_repository_url}@{digest}"
        configuration = Configuration.of(operation.settings, infrastructure.secret_arns)
        release = Release(version=version, commit="a" * 40, image=image, configuration=configuration)
        workplace = operation.terraform
        root = workplace.open_root("slot", state_key("sandbox", colour))
        applied = workplace.apply(
            workplace.plan(root, slot_variables(operation.settings, infrastructure, colour, release))
        )
        self.scale(colour, 1)
        return release, SlotOutputs.model_validate(applied)

    def release(self, version: str, colour: Colour) -> None:
        """Do the rest of it to listener and record as well."""
        release, slot = self.candidate(version, colour)
        live = Live(release=release, colour=colour, since=datetime.now(UTC), slot=slot)
        self.weigh(Weights.all_on(colour))
        self.administrator.records.change_environment(lambda r: r.gone_live(live))

    def scale(self, colour: Colour, count: int) -> None:
        self.administrator.aws("ecs").update_service(
            cluster=self.infrastructure.cluster_arn,
            service=SERVICES[colour],
            desiredCount=count,
            forceNewDeployment=True,
        )

    def weigh(self, weights: Weights) -> None:
        infrastructure = self.infrastructure
        groups = {colour.value: arn for colour, arn in infrastructure.target_group_arns.items()}
        self.administrator.aws("elbv2").modify_listener(
            ListenerArn=infrastructure.production_listener_arn,
            DefaultActions=forward(groups, weights.blue, weights.green),
        )
        self.administrator.records.change_environment(lambda r: r.carrying(weights, since=datetime.now(UTC)))

    def writes(self) -> list[str]:
        """Every write that CloudTrail kept, and every version of every object in the state bucket."""
        kept = []
        for region in (REGION, "us-east-1"):
            client = self.administrator.aws("cloudtrail", region)
            # The newest fifty are all of one answer.
            events = client.lookup_events(LookupAttributes=[{"AttributeKey": "ReadOnly", "AttributeValue": "false"}])
            kept += [f"{e['EventId']} {e['EventName']} by {e['Username']}" for e in events["Events"]]
        pages = self.administrator.aws("s3").get_paginator("list_object_versions").paginate(Bucket=BUCKET)
        for page in pages:
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            kept += [f"{one['Key']} {one['VersionId']}" for one in found]
        return kept


def acting(**identity: Any) -> ReleaseEnvironment:
    return ReleaseEnvironment(
        stage="sandbox",
        aws_credentials=AwsCredentials(region_name=REGION, **identity),
        docker_host=DockerHost(),
        webhook_secret=Secret(value="0123456789abcdef"),
    )


def opened(block: ReleaseEnvironment, flow: str) -> Operation:
    block = block.acting_in(flow)
    return open_operation(block, AwsClients(block), owner_of(flow, flow, f"{flow}-1"))


def allow(*actions: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module", autouse=True)
def no_engine() -> Iterator[None]:
    """Steps are called as they are; the end-to-end test has Prefect's engine, artifact and event."""
    with pytest.MonkeyPatch.context() as patched, disable_run_logger():
        patched.setattr(Task, "__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
        yield


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory = tmp_path_factory.mktemp("drift")
    with running(directory, AUTH="true") as aws, pytest.MonkeyPatch.context() as patched:
        user = aws.iam.create_user(UserName="worker")["User"]["Arn"]
        aws.iam.put_user_policy(UserName="worker", PolicyName="assume", PolicyDocument=allow("sts:AssumeRole"))
        key = aws.iam.create_access_key(UserName="worker")["AccessKey"]
        secret = json.dumps({"SECRET_DATABASE_URL": "postgresql://u:hunter2@db:5432/connections?schema=public"})
        aws.secretsmanager.create_secret(Name="cursive-team/connections/sandbox", SecretString=secret)
        ensure_state_bucket(aws.s3, StateBucket(BUCKET, REGION, OWNER_ACCOUNT))
        patched.setenv("POINTSMAN_ENVIRONMENTS", str(directory))
        (directory / "sandbox.toml").write_text(environment_file(aws.url, user))
        endpoint = {"aws_client_parameters": AwsClientParameters(endpoint_url=aws.url)}
        administrator = acting(aws_access_key_id="test", aws_secret_access_key="test", **endpoint)
        worker = acting(
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            assume_role_arn=PIPELINE,
            **endpoint,
        )
        made = Stand(
            aws,
            opened(administrator, "provision"),
            opened(worker, "release"),
            opened(worker, "drift"),
            ada_of(aws),
        )
        provision(made)
        yield made
        made.administrator.close()
        made.worker.close()
        made.reader.close()


def environment_file(url: str, worker: str) -> str:
    text = (ROOT / "environments" / "sandbox.toml").read_text()
    text = text.replace("[aws]\n", f'[aws]\nrole_arn = "{PIPELINE}"\noperator_role_arn = "{OPERATOR}"\n', 1)
    values = {
        "endpoint_url": json.dumps(url),
        "pipeline_principal_arns": json.dumps([worker]),
        "operator_principal_arns": json.dumps([worker]),
        "lease_expiry": "24",
        **{port: str(free_port()) for port in ("production", "test_blue", "test_green")},
    }
    return with_values(text, values)


def ada_of(aws: Emulator) -> Any:
    aws.iam.create_user(UserName="ada")
    aws.iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=allow("*"))
    key = aws.iam.create_access_key(UserName="ada")["AccessKey"]
    return lambda service: aws.client(service, key["AccessKeyId"], key["SecretAccessKey"])


def provision(stand: Stand) -> None:
    operation = stand.administrator
    workplace, settings = operation.terraform, operation.settings
    root = workplace.open_root("account", state_key("sandbox", "account"))
    account = workplace.apply(workplace.plan(root, account_variables(settings)))
    record = operation.records.environment()
    root = workplace.open_root("environment", state_key("sandbox", "environment"))
    outputs = {
        **account,
        **workplace.apply(workplace.plan(root, environment_variables(settings, record, account))),
    }
    made = Infrastructure.model_validate({name: outputs.get(name) for name in Infrastructure.model_fields})
    operation.records.change_environment(lambda r: r.provisioned(made, initial_weights(r)))


@pytest.fixture
def compare(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the comparison on the emulated account, and keep what would be published."""

    def run(operation: Operation = stand.reader) -> tuple[State[None], Report]:
        published: list[Report] = []
        monkeypatch.setattr(flows.drift, "publish", lambda _operation, report: published.append(report))
        before = stand.writes()
        ended = compare_with_aws(operation)
        assert stand.writes() == before, "looking changed something"
        assert isinstance(ended, State)
        return ended, published[0]

    return run


def found_in(report: Report) -> set[tuple[str, str, str]]:
    return {(d.area, d.address, d.attribute) for d in report.differences}


def test_no_false_alarm_in_a_fresh_a_released_and_a_rolled_back_environment(stand: Stand, compare: Any) -> None:
    def is_clean(when: str) -> None:
        ended, report = compare()
        assert not report.differences, f"{when}: {report.message}"
        assert not report.unseen, f"{when}: {report.unseen}"
        assert not report.pending, f"{when}: {report.pending}"
        assert (ended.type.value, ended.name) == ("COMPLETED", "Completed")

    is_clean("fresh")
    stand.release("v1.0.0", Colour.BLUE)
    stand.release("v1.1.0", Colour.GREEN)
    is_clean("after two releases, the first of which is warm")
    record = stand.record
    back = record.healthy[-1]
    assert back.colour is Colour.BLUE
    stand.weigh(Weights.all_on(Colour.BLUE))
    stand.administrator.records.change_environment(lambda r: r.gone_back(back))
    is_clean("after the rollback")
    stand.candidate("v1.2.0", Colour.GREEN)
    stand.scale(Colour.GREEN, 0)


def test_foreign_changes_are_found_and_named(stand: Stand, compare: Any) -> None:
    assert stand.record.live is not None
    assert stand.record.live.colour is Colour.BLUE
    infrastructure, ada = stand.infrastructure, stand.ada
    elbv2, ec2, ecs, iam = ada("elbv2"), ada("ec2"), ada("ecs"), ada("iam")
    groups = {colour.value: arn for colour, arn in infrastructure.target_group_arns.items()}
    production, test = infrastructure.production_listener_arn, infrastructure.test_listener_arns[Colour.BLUE]
    elbv2.create_rule(
        ListenerArn=production,
        Priority=5,
        Conditions=[{"Field": "path-pattern", "Values": ["/admin"]}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
    )
    elbv2.modify_listener(ListenerArn=production, DefaultActions=forward(groups, 50, 50))
    elbv2.modify_listener(ListenerArn=test, DefaultActions=[{"Type": "forward", "TargetGroupArn": groups["green"]}])
    [balancer] = elbv2.describe_listeners(ListenerArns=[production])["Listeners"]
    port = free_port()
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Port=port,
        Protocol="HTTP",
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    elbv2.modify_target_group(TargetGroupArn=groups["green"], HealthCheckIntervalSeconds=77)
    ec2.authorize_security_group_ingress(
        GroupId=infrastructure.task_security_group_id,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    ec2.create_tags(Resources=[infrastructure.private_subnet_ids[0]], Tags=[{"Key": "Owner", "Value": "ada"}])
    table = next(
        t
        for t in ec2.describe_route_tables()["RouteTables"]
        if any(a.get("SubnetId") == infrastructure.private_subnet_ids[0] for a in t["Associations"])
    )
    nat = next(r["NatGatewayId"] for r in table["Routes"] if r.get("NatGatewayId"))
    ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="10.99.0.0/16", NatGatewayId=nat)
    iam.put_role_policy(RoleName="cursive-team-connections-sandbox-task", PolicyName="all", PolicyDocument=allow("*"))
    iam.put_role_policy(
        RoleName="cursive-team-connections-sandbox-execution", PolicyName="start-tasks", PolicyDocument=allow("*")
    )
    iam.update_assume_role_policy(
        RoleName="cursive-team-connections-production-pipeline",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{OWNER_ACCOUNT}:user/ada"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        ),
    )
    ada("logs").put_retention_policy(logGroupName=infrastructure.log_group_name, retentionInDays=1)
    foreign = ecs.register_task_definition(
        family="cursive-team-connections-sandbox-blue",
        containerDefinitions=[
            {
                "name": "connections",
                "image": "elsewhere/image@sha256:" + "f" * 64,
                "memory": 64,
                "environment": [{"name": "DATABASE_PASSWORD", "value": "hunter2"}],
            }
        ],
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster=infrastructure.cluster_arn, service=SERVICES[Colour.BLUE], taskDefinition=foreign)
    ecs.update_service(cluster=infrastructure.cluster_arn, service=SERVICES[Colour.GREEN], desiredCount=2)

    ended, report = compare()
    assert (ended.type.value, ended.name) == ("FAILED", "Drift")
    settings = stand.worker.settings
    listener = f"listener on port {settings.ports.production}"
    assert found_in(report) == {
        (ACCOUNT, 'aws_iam_role.pipeline["production"]', "assume_role_policy.Statement[0].Principal.AWS"),
        (ENVIRONMENT, "aws_cloudwatch_log_group.tasks", "retention_in_days"),
        (ENVIRONMENT, "aws_iam_role.task", "inline_policy"),
        (ENVIRONMENT, "aws_iam_role_policy.execution", "policy.Statement"),
        (ENVIRONMENT, 'aws_lb_listener.test["blue"]', "default_action[0].target_group_arn"),
        (ENVIRONMENT, 'aws_lb_target_group.colour["green"]', "health_check[0].interval"),
        (ENVIRONMENT, "aws_route.nat[0]", ""),
        (ENVIRONMENT, "aws_route_table.private[0]", "route"),
        (ENVIRONMENT, "aws_security_group.tasks", "ingress"),
        (ENVIRONMENT, f'aws_subnet.private["{REGION}a"]', "tags.Owner"),
        (TRAFFIC, f"production {listener}", "weights"),
        (TRAFFIC, listener, "rule"),
        (TRAFFIC, f"listener on port {port}", ""),
        (TRAFFIC, "blue service", "task definition"),
        (TRAFFIC, "green service", "desired count"),
    }
    assert not report.unseen
    told = {d: report.hands[d] for d in report.differences}
    assert all(hand.startswith(f"arn:aws:iam::{OWNER_ACCOUNT}:user/ada, ") for hand in told.values()), told
    calls = {(d.address, hand.split(", ")[1]) for d, hand in told.items()}
    assert {
        ("aws_security_group.tasks", "AuthorizeSecurityGroupIngress"),
        ("aws_iam_role.task", "PutRolePolicy"),
        ('aws_iam_role.pipeline["production"]', "UpdateAssumeRolePolicy"),
        ("blue service", "UpdateService"),
        (listener, "CreateRule"),
        (f"listener on port {port}", "CreateListener"),
        ("aws_cloudwatch_log_group.tasks", "PutRetentionPolicy"),
    } <= calls
    assert "hunter2" not in report.markdown + report.message


def test_what_is_at_work_is_left_to_the_next_run(stand: Stand, compare: Any) -> None:
    other, began = owner_of("release", "other", "other-1"), datetime.now(UTC)
    lease = LeaseRecord(
        owner=other,
        fencing_token=stand.record.fencing_token + 1,
        version="v1.2.0",
        step="apply",
        acquired_at=began,
        renewed_at=began,
        expires_at=datetime(2999, 1, 1, tzinfo=UTC),
    )
    stand.administrator.records.change_environment(lambda r: r.leased(lease))
    try:
        _, report = compare()
    finally:
        stand.administrator.records.change_environment(lambda r: r.leased(None))
    at_work = "release v1.2.0 (at apply) is at work"
    assert report.unseen == {SLOTS[Colour.BLUE]: at_work, SLOTS[Colour.GREEN]: at_work, TRAFFIC: at_work}
    assert {area for area, _, _ in found_in(report)} == {ACCOUNT, ENVIRONMENT}


def test_what_the_identity_may_not_read_is_not_called_free_of_drift(stand: Stand, compare: Any) -> None:
    """The releases' own role reads the slots and the traffic, and nothing of network and roles."""
    ended, report = compare(stand.worker)
    assert set(report.unseen) == {ACCOUNT, ENVIRONMENT}
    assert "terraform plan failed: the role lacks " in report.unseen[ENVIRONMENT]
    assert "ec2:DescribeVpcs" in report.unseen[ENVIRONMENT]
    assert {area for area, _, _ in found_in(report)} == {TRAFFIC}
    assert all(hand.startswith(CANNOT_TELL) and "AccessDenied" in hand for hand in report.hands.values())
    assert ended.name == "Drift"
