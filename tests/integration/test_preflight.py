"""Preflight against an emulated AWS with authorization in force: healthy as provisioned, and each fault by its name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from prefect_docker import DockerHost
from pydantic import SecretStr

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.preflight.judgement import Finding, Report, Verdict
from core.record import EnvironmentRecord, Infrastructure
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.processes import owner_of
from systems.records import StateBucket, ensure_state_bucket
from tasks.preflight.ground import Ground
from tasks.preflight.looking import look_at
from tasks.preflight.steps import ALL, LOOKS
from tests.integration.roots import Applied, common, terraform_environment
from tests.integration.stand import REGION, Emulator, free_port, running

pytestmark = pytest.mark.integration

ACCOUNT, BUCKET, STAGE = "000000000000", "cursive-team-connections-state", "sandbox"
NAME = "cursive-team/connections/sandbox"
ROLE = "cursive-team-connections-sandbox-pipeline"
PASSWORD = "n0t-to-be-seen"
GOOD = f"postgresql://app:{PASSWORD}@db.example.com:5432/connections?schema=public&sslmode=require"
DOCKERFILE = "FROM node:22\nCOPY . .\nRUN npm ci\n"

# What needs a container, a name in the DNS or Service Quotas is not to be had here; the end-to-end test has the task.
ELSEWHERE = {
    "quotas": Verdict.UNKNOWN,
    "metadata service": Verdict.UNKNOWN,
    "task": Verdict.NOT_YET,
    "task role": Verdict.NOT_YET,
    "database reachable": Verdict.NOT_YET,
    "certificate": Verdict.UNKNOWN,
    "DNS": Verdict.UNKNOWN,
}


@dataclass
class Provisioned:
    """An account with one environment, seen by its releases and by an administrator."""

    aws: Emulator
    directory: Path
    outputs: dict[str, Any]
    ports: dict[str, int]
    group: str

    def settings(self, **changed: Any) -> str:
        """The environment's file, with `section__name` of `changed` as TOML."""
        values: dict[str, dict[str, Any]] = {
            "": {
                "region": REGION,
                "aws_account_number": ACCOUNT,
                "namespace": "cursive-team",
                "name": "connections",
                "stage": STAGE,
                "state_bucket": BUCKET,
            },
            "aws": {
                "endpoint_url": self.aws.url,
                "profile": "worker",
                "role_arn": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
                "provision_profile": "administrator",
            },
            "source": {"url": str(self.directory / "source"), "github_repository": "cursive-team/connections"},
            "service.secrets.DATABASE_URL": {"secret": NAME, "key": "SECRET_DATABASE_URL"},
            "traffic": {"connect_to": "127.0.0.1"},
            "ports": self.ports,
            "preflight": {"database_instance": "connections", "least_free_gib": 0},
            "provision.account": {
                "pipeline_principal_arns": [f"arn:aws:iam::{ACCOUNT}:user/worker"],
                "operator_principal_arns": [f"arn:aws:iam::{ACCOUNT}:root"],
            },
            "provision.environment": {},
            # A busy machine must not look like a silent AWS.
            "timing": {"aws_connect_timeout": 30, "aws_read_timeout": 90, "lease_expiry": 3600, "aws_attempts": 2},
        }
        for name, value in changed.items():
            section, _, key = name.rpartition("__")
            values[section.replace("__", ".")][key] = value
        parts = []
        for section, entries in values.items():
            head = [f"[{section}]"] if section else []
            parts += [*head, *(f"{key} = {json.dumps(value)}" for key, value in entries.items()), ""]
        return "\n".join(parts)

    @contextmanager
    def operation(
        self, *, role: str | None = ROLE, secret: str = "s" * 32, docker: str | None = None, **changed: Any
    ) -> Iterator[Operation]:
        (self.directory / "environments" / f"{STAGE}.toml").write_text(self.settings(**changed))
        block = ReleaseEnvironment(
            stage=STAGE,
            aws_credentials=AwsCredentials(
                region_name=REGION,
                profile_name="worker" if role else "administrator",
                assume_role_arn=f"arn:aws:iam::{ACCOUNT}:role/{role}" if role else None,
                aws_client_parameters=AwsClientParameters(endpoint_url=self.aws.url),
            ),
            docker_host=DockerHost(base_url=docker),
            webhook_secret=Secret(value=SecretStr(secret)),
        )
        opened = open_operation(block, AwsClients(block), owner_of("preflight", "run", "run-1"))
        yield opened
        opened.close()

    def look(self, *names: str, **given: Any) -> Report:
        """The findings of these checks, or of all."""
        with self.operation(**given) as operation:
            wanted = [check for check in ALL if not names or check.name in names]
            return look_at(Ground(operation), wanted, LOOKS, within=400)

    def record(self, change: Callable[[EnvironmentRecord], EnvironmentRecord]) -> None:
        with self.operation() as operation:
            operation.records.change_environment(change)


def found_in(report: Report, name: str) -> Finding:
    return next(finding for finding in report.findings if finding.check.name == name)


def git(directory: Path, *words: str) -> None:
    identity = ["-c", "user.name=A Developer", "-c", "user.email=developer@example.com"]
    subprocess.run(["git", "-C", str(directory), *identity, *words], check=True, capture_output=True)


def commit(directory: Path, **files: str) -> None:
    """Write files into the source (`__` in a name is a slash, `_DOT_` a dot), and commit them."""
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(directory, "add", "--all")
    git(directory, "commit", "--allow-empty", "-m", "a change")


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    directory = tmp_path_factory.mktemp("preflight")
    with running(directory, AUTH="true") as aws, pytest.MonkeyPatch.context() as patched:
        user, key = make_worker(aws)
        credentials = directory / "credentials"
        credentials.write_text(
            "[administrator]\naws_access_key_id = test\naws_secret_access_key = test\n"
            f"[worker]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
        )
        (directory / "environments").mkdir()
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        patched.setenv("POINTSMAN_ENVIRONMENTS", str(directory / "environments"))
        ensure_state_bucket(aws.s3, StateBucket(BUCKET, REGION, ACCOUNT))
        aws.secretsmanager.create_secret(Name=NAME, SecretString=json.dumps({"SECRET_DATABASE_URL": GOOD}))
        ports = {"production": free_port(), "test_blue": free_port(), "test_green": free_port()}
        outputs = apply_roots(aws, directory, user, ports)
        group = make_database(aws, outputs)
        (directory / "source").mkdir()
        git(directory / "source", "init", "--quiet", "--initial-branch=main")
        commit(directory / "source", Dockerfile=DOCKERFILE, package_DOT_json='{"scripts": {}}')
        made = Provisioned(aws, directory, outputs, ports, group)
        put_state(made)
        found = Infrastructure.model_validate({name: outputs.get(name) for name in Infrastructure.model_fields})
        made.record(lambda r: r.provisioned(found, Weights.all_on(Colour.GREEN)))
        yield made


def make_worker(aws: Emulator) -> tuple[str, dict[str, str]]:
    user = aws.iam.create_user(UserName="worker")["User"]["Arn"]
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.iam.put_user_policy(UserName="worker", PolicyName="assume", PolicyDocument=document)
    return user, aws.iam.create_access_key(UserName="worker")["AccessKey"]


def apply_roots(aws: Emulator, directory: Path, user: str, ports: dict[str, int]) -> dict[str, Any]:
    administrator = terraform_environment(aws.url, "test", "test")
    account = Applied(administrator, "account", directory).apply(
        **common(ACCOUNT),
        stages=[STAGE],
        state_bucket=BUCKET,
        github_repository="cursive-team/connections",
        operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
        pipeline_principal_arns=[user],
    )
    environment = Applied(administrator, "environment", directory).apply(
        **common(ACCOUNT),
        stage=STAGE,
        pipeline_role_name=account["pipeline_role_arns"][STAGE].rpartition("/")[2],
        production_listener_port=ports["production"],
        test_listener_ports={"blue": ports["test_blue"], "green": ports["test_green"]},
        test_listener_cidrs=["127.0.0.0/8"],
        listener_weights={"blue": 0, "green": 100},
        deletion_protection=False,
        secret_names=[NAME],
    )
    return account | environment


def make_database(aws: Emulator, outputs: dict[str, Any]) -> str:
    """A database by hand, as docs/database.md has it; return its security group."""
    group = str(aws.ec2.create_security_group(GroupName="connections-database", Description="database")["GroupId"])
    admit(aws, group, f"{outputs['nat_gateway_ip']}/32")
    aws.rds.create_db_parameter_group(
        DBParameterGroupName="connections", DBParameterGroupFamily="postgres16", Description="TLS"
    )
    aws.rds.create_db_instance(
        DBInstanceIdentifier="connections",
        DBName="connections",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="app",
        MasterUserPassword=PASSWORD,
        AllocatedStorage=20,
        BackupRetentionPeriod=7,
        StorageEncrypted=True,
        DeletionProtection=True,
        PubliclyAccessible=True,
        VpcSecurityGroupIds=[group],
        DBParameterGroupName="connections",
    )
    return group


def port_of(aws: Emulator) -> int:
    return int(aws.rds.describe_db_instances(DBInstanceIdentifier="connections")["DBInstances"][0]["Endpoint"]["Port"])


def permission(range_: str, port: int) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": range_}]}]


def admit(aws: Emulator, group: str, range_: str, port: int = 5432) -> None:
    aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permission(range_, port))


def put_state(made: Provisioned) -> None:
    """The environment's state where `provision` has it: the tests' roots keep theirs on disk."""
    state = {"outputs": {name: {"value": value} for name, value in made.outputs.items()}}
    key = f"terraform/{STAGE}/environment.tfstate"
    made.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(state).encode())


# ---- Healthy


def test_an_environment_as_provisioned_passes(provisioned: Provisioned) -> None:
    report = provisioned.look()
    verdicts = {finding.check.name: finding.verdict for finding in report.findings}
    assert report.failed == [], report.text()
    others = {name: verdict for name, verdict in verdicts.items() if verdict is not Verdict.PASS}
    assert others == ELSEWHERE, report.text()
    assert len(report.of(Verdict.PASS)) >= 30
    assert PASSWORD not in report.text() + report.markdown(STAGE)


def test_before_provision_nothing_fails_that_needs_it(provisioned: Provisioned) -> None:
    key = f"releases/{STAGE}/environment.json"
    body = provisioned.aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    provisioned.aws.s3.delete_object(Bucket=BUCKET, Key=key)
    try:
        report = provisioned.look()
    finally:
        provisioned.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    assert report.failed == [], report.text()
    waiting = {finding.check.name for finding in report.of(Verdict.NOT_YET)}
    assert waiting >= {"record", "listeners", "permissions by simulation", "trust policies", "execution role"}


# ---- Faults, each planted and removed


@contextmanager
def without_policy(made: Provisioned, role: str, name: str) -> Iterator[None]:
    iam = made.aws.iam
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=name)
    yield
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


@contextmanager
def with_policy(made: Provisioned, role: str, action: str) -> Iterator[None]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made.aws.iam.put_role_policy(RoleName=role, PolicyName="more", PolicyDocument=document)
    yield
    made.aws.iam.delete_role_policy(RoleName=role, PolicyName="more")


@contextmanager
def with_trust(made: Provisioned, role: str, principal: str) -> Iterator[None]:
    iam = made.aws.iam
    before = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    wider = {**before, "Statement": [*before["Statement"], statement]}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(wider))
    yield
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(before))


@contextmanager
def done(plant: Callable[[], object], undo: Callable[[], object]) -> Iterator[None]:
    plant()
    yield
    undo()


def without_privacy(made: Provisioned) -> AbstractContextManager[None]:
    s3 = made.aws.s3
    block = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    return done(
        lambda: s3.delete_public_access_block(Bucket=BUCKET),
        lambda: s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=block),
    )


def without_expiry(made: Provisioned) -> AbstractContextManager[None]:
    s3 = made.aws.s3
    rules = {"Rules": s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]}
    return done(
        lambda: s3.delete_bucket_lifecycle(Bucket=BUCKET),
        lambda: s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules),
    )


def versioning(made: Provisioned) -> AbstractContextManager[None]:
    def put(status: str) -> None:
        made.aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})

    return done(lambda: put("Suspended"), lambda: put("Enabled"))


def locked(made: Provisioned) -> AbstractContextManager[None]:
    key = f"terraform/{STAGE}/slot-blue.tfstate.tflock"
    lock = {"ID": "1", "Who": "somebody@elsewhere", "Created": "2026-03-01T11:00:00.123456789Z"}
    s3 = made.aws.s3
    return done(
        lambda: s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(lock).encode()),
        lambda: s3.delete_object(Bucket=BUCKET, Key=key),
    )


def recorded(made: Provisioned, **facts: Any) -> AbstractContextManager[None]:
    def change(**facts: Any) -> None:
        def changed(record: EnvironmentRecord) -> EnvironmentRecord:
            assert record.infrastructure is not None
            return record.model_copy(update={"infrastructure": record.infrastructure.model_copy(update=facts)})

        made.record(changed)

    before = {name: made.outputs[name] for name in facts}
    return done(lambda: change(**facts), lambda: change(**before))


def content(made: Provisioned, text: str) -> AbstractContextManager[None]:
    def put(text: str) -> None:
        made.aws.secretsmanager.put_secret_value(SecretId=NAME, SecretString=text)

    return done(lambda: put(text), lambda: put(json.dumps({"SECRET_DATABASE_URL": GOOD})))


def deleted_secret(made: Provisioned) -> AbstractContextManager[None]:
    secrets = made.aws.secretsmanager
    return done(lambda: secrets.delete_secret(SecretId=NAME), lambda: secrets.restore_secret(SecretId=NAME))


def instance(made: Provisioned, before: dict[str, Any], **planted: Any) -> AbstractContextManager[None]:
    def modify(**facts: Any) -> None:
        made.aws.rds.modify_db_instance(DBInstanceIdentifier="connections", ApplyImmediately=True, **facts)

    return done(lambda: modify(**planted), lambda: modify(**before))


def unencrypted(made: Provisioned) -> AbstractContextManager[None]:
    rds = made.aws.rds
    return done(
        lambda: rds.create_db_instance(
            DBInstanceIdentifier="plain", DBInstanceClass="db.t4g.micro", Engine="postgres", AllocatedStorage=20,
            MasterUsername="app", MasterUserPassword=PASSWORD,
        ),
        lambda: rds.delete_db_instance(DBInstanceIdentifier="plain", SkipFinalSnapshot=True),
    )  # fmt: skip


def wide_open(made: Provisioned) -> AbstractContextManager[None]:
    ec2, port = made.aws.ec2, port_of(made.aws)
    world = permission("0.0.0.0/0", port)
    return done(
        lambda: ec2.authorize_security_group_ingress(GroupId=made.group, IpPermissions=world),
        lambda: ec2.revoke_security_group_ingress(GroupId=made.group, IpPermissions=world),
    )


def shut(made: Provisioned) -> AbstractContextManager[None]:
    ec2 = made.aws.ec2
    ours = permission(f"{made.outputs['nat_gateway_ip']}/32", 5432)
    return done(
        lambda: ec2.revoke_security_group_ingress(GroupId=made.group, IpPermissions=ours),
        lambda: ec2.authorize_security_group_ingress(GroupId=made.group, IpPermissions=ours),
    )


@contextmanager
def sources(made: Provisioned, **files: str) -> Iterator[None]:
    source = made.directory / "source"
    commit(source, **files)
    yield
    git(source, "reset", "--hard", "--quiet", "HEAD~1")


@contextmanager
def as_given(_: Provisioned) -> Iterator[None]:
    """Nothing planted in AWS: the fault is in the settings or in the block."""
    yield


Plant = Callable[[Provisioned], AbstractContextManager[None]]
WORKFLOW = "on:\n  push:\n    tags: ['v*']\njobs:\n  d:\n    steps:\n      - run: terraform apply -auto-approve\n"
WRONG_ACCOUNT = "arn:aws:ecs:ap-southeast-1:999999999999:cluster/cursive-team-connections-sandbox"

FAULTS: list[tuple[str, Plant, dict[str, Any], str]] = [
    ("settings", as_given, {"provision__environment__nonsense": 1}, "nonsense"),
    ("identity", as_given, {"role": "nobody-s-role"}, "AWS does not allow"),
    ("account", as_given, {"aws_account_number": "999999999999"}, "of account 000000000000"),
    ("region", as_given, {"region": "eu-central-1"}, "the credentials block is in ap-southeast-1"),
    ("releases' role", as_given, {"role": None}, "releases act as"),
    ("permissions by trial", lambda m: without_policy(m, ROLE, "slots"), {}, "ecs:DescribeServices"),
    ("permissions by simulation", lambda m: without_policy(m, ROLE, "traffic"), {}, "ModifyListener"),
    ("permissions by simulation", lambda m: without_policy(m, ROLE, "slots"), {}, "ecs:RunTask"),
    ("limits of the role", lambda m: with_policy(m, ROLE, "secretsmanager:*"), {}, "secretsmanager:GetSecretValue"),
    (
        "principals",
        as_given,
        {"provision__account__pipeline_principal_arns": [f"arn:aws:iam::{ACCOUNT}:role/gone"]},
        "role/gone",
    ),
    ("trust policies", lambda m: with_trust(m, ROLE, f"arn:aws:iam::{ACCOUNT}:root"), {}, f"{ACCOUNT}:root as well"),
    (
        "execution role",
        lambda m: without_policy(m, "cursive-team-connections-sandbox-execution", "start-tasks"),
        {},
        "lacks ecr:GetAuthorizationToken",
    ),
    ("state bucket", as_given, {"state_bucket": "nobody-s-bucket"}, "nobody-s-bucket"),
    ("bucket versions", versioning, {}, "suspended"),
    ("bucket privacy", without_privacy, {}, "no public access block"),
    ("bucket expiry", without_expiry, {}, "no rule ends old versions"),
    ("record", lambda m: recorded(m, cluster_arn=WRONG_ACCOUNT), {}, "not its own"),
    ("state lock", locked, {}, "somebody@elsewhere"),
    ("Docker engine", as_given, {"docker": "unix:///nowhere/docker.sock"}, "does not answer"),
    ("disk space", as_given, {"preflight__least_free_gib": 10_000}, "least_free_gib is 10000"),
    ("git access", as_given, {"source__url": "/nowhere/at/all"}, "git ls-remote failed"),
    ("git access", as_given, {"source__main_branch": "trunk"}, "no branch trunk"),
    ("webhook secret", as_given, {"secret": "short"}, "fewer than 16"),
    (
        "Dockerfile",
        lambda m: sources(m, package_DOT_json='{"scripts": {"postinstall": "prisma migrate deploy"}}'),
        {},
        "postinstall",
    ),
    ("old workflow", lambda m: sources(m, _DOT_github__workflows__deploy_DOT_yml=WORKFLOW), {}, "terraform apply"),
    ("secrets", deleted_secret, {}, "about to be deleted"),
    ("secrets", as_given, {"service__secrets__DATABASE_URL__secret": "nobody-s"}, "nobody-s does not exist"),
    ("secret form", as_given, {"service__secrets__DATABASE_URL__key": "URL"}, "no key URL"),
    ("secret form", lambda m: content(m, GOOD), {}, "not JSON"),
    (
        "secret form",
        lambda m: content(m, json.dumps({"SECRET_DATABASE_URL": GOOD.replace(PASSWORD, f"@{PASSWORD}")})),
        {},
        "percent-encoded",
    ),
    ("database instance", as_given, {"preflight__database_instance": "nobodys"}, "no instance nobodys"),
    (
        "database backups",
        lambda m: instance(m, {"BackupRetentionPeriod": 7}, BackupRetentionPeriod=0),
        {},
        "off",
    ),
    ("database encryption", unencrypted, {"preflight__database_instance": "plain"}, "not encrypted"),
    (
        "database deletion protection",
        lambda m: instance(m, {"DeletionProtection": True}, DeletionProtection=False),
        {},
        "off",
    ),
    (
        "database exposure",
        lambda m: content(m, json.dumps({"SECRET_DATABASE_URL": GOOD.replace("&sslmode=require", "")})),
        {},
        "nobody requires TLS",
    ),
    ("database inbound rule", shut, {}, "no rule admits"),
    ("database open to the world", wide_open, {}, "0.0.0.0/0"),
    ("listeners", lambda m: recorded(m, test_listener_arns=gone(m)), {}, "blue test"),
    ("listeners", as_given, {"traffic__https": True}, "says HTTPS"),
    ("test listeners reachable", as_given, {"ports__test_blue": 1}, "no connection to"),
    (
        "certificate",
        as_given,
        {"provision__environment__certificate_arn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/gone"},
        "no such certificate",
    ),
    ("DNS", as_given, {"traffic__host": "localhost"}, "localhost resolves to"),
]


def gone(made: Provisioned) -> dict[str, str]:
    """The test listeners, one of which was removed."""
    arns = dict(made.outputs["test_listener_arns"])
    return {**arns, "blue": f"{arns['blue'].rpartition('/')[0]}/0000000000000000"}


@pytest.mark.parametrize(("name", "plant", "given", "seen"), FAULTS, ids=[f"{f[0]}-{n}" for n, f in enumerate(FAULTS)])
def test_a_fault_is_named_with_its_fix(
    provisioned: Provisioned, name: str, plant: Plant, given: dict[str, Any], seen: str
) -> None:
    with plant(provisioned):
        report = provisioned.look(name, **given)
    finding = found_in(report, name)
    assert finding.verdict is Verdict.FAIL, finding
    assert seen in finding.seen
    assert finding.fix
    assert PASSWORD not in report.text()


def test_what_nobody_here_may_read_is_not_checked_and_fails_nothing(provisioned: Provisioned) -> None:
    """The profile that should read for `provision` is that of a user who may only take the pipeline's role."""
    reads = ("secrets", "secret form", "database instance", "bucket versions", "trust policies", "principals")
    report = provisioned.look(*reads, aws__provision_profile="worker")
    assert report.failed == []
    assert {finding.verdict for finding in report.findings} == {Verdict.UNKNOWN}
    assert "does not allow" in found_in(report, "trust policies").seen
