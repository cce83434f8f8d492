"""A stack such as the guide's is adopted: examined, ours made beside it, the name moved, the old one destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from blocks.environment import ReleaseEnvironment
from core.adoption import Fate, plan_adoption
from core.colour import Colour, Weights
from core.dns import plan_finish, plan_move, read_name
from core.errors import Refused
from core.record import Infrastructure
from core.settings import EnvironmentSettings, parse_settings
from core.workflows import deploying_workflows
from lifecycle.adopt import _workflow_files
from lifecycle.dns import NameToMove, move_name
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.existing_stack import find_balancer, find_stack
from systems.records import RecordStore, StateBucket, ensure_state_bucket
from systems.route53 import find_zone
from tests.integration.roots import Applied, common, terraform_environment
from tests.integration.stand import ROOT, Emulator, free_port, running
from tests.unit.facts import owner
from tests.unit.fakes import Block

pytestmark = [pytest.mark.integration, pytest.mark.long]
ACCOUNT = "000000000000"
STAGE = "production"
SECRET = "cursive-team/connections/production"
NAME = "connections.example.com"


def settings() -> EnvironmentSettings:
    text = (ROOT / "environments" / f"{STAGE}.toml").read_text().replace("123456789012", ACCOUNT)
    text = text.replace("[aws]\n", '[aws]\nendpoint_url = "http://127.0.0.1"\n')
    return parse_settings(STAGE, text.replace("[provision.account]", '[provision.account]\ngithub_environment = "x"'))


@dataclass
class Adopted:
    """The guide's stack, and later ours beside it."""

    aws: Emulator
    directory: Path
    old: Applied
    old_outputs: dict[str, Any]

    @property
    def clients(self) -> AwsClients:
        return cast(AwsClients, self.aws.client)

    @property
    def administrator(self) -> dict[str, str]:
        return terraform_environment(self.aws.url, "test", "test")

    def fates(self) -> dict[tuple[str, str], Fate]:
        plan = plan_adoption(settings(), find_stack(self.clients, settings()), ())
        return {(row.kind, row.name): row.fate for row in plan.rows}


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    directory = tmp_path_factory.mktemp("adopting")
    with running(directory) as aws:
        secret = aws.secretsmanager.create_secret(Name=SECRET, SecretString='{"SECRET_DATABASE_URL": "x"}')["ARN"]
        ensure_state_bucket(aws.s3, StateBucket(settings().state_bucket, settings().region, ACCOUNT))
        old = Applied(
            terraform_environment(aws.url, "test", "test"), "guide-stack", directory, sources=ROOT / "examples"
        )
        outputs = old.apply(image_tag="v1.0.0", database_secret_arn=secret, desired_count=0, port=free_port())
        zone = aws.route53.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
        record = {"Name": NAME, "Type": "CNAME", "TTL": 300, "ResourceRecords": [{"Value": outputs["alb_dns_name"]}]}
        batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        aws.route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        yield Adopted(aws, directory, old, outputs)


@dataclass
class Beside:
    """Ours beside the guide's."""

    account: Applied
    environment: Applied
    outputs: dict[str, Any]
    shared: dict[str, Any]
    found_before: dict[tuple[str, str], Fate]


@pytest.fixture(scope="module")
def beside(adopted: Adopted) -> Beside:
    before, aws = adopted.fates(), adopted.aws
    aws.iam.create_role(RoleName="release-worker", AssumeRolePolicyDocument='{"Statement": []}')
    account = Applied(adopted.administrator, "account", adopted.directory)
    shared = account.apply(
        **common(ACCOUNT),
        state_bucket=settings().state_bucket,
        github_repository="cursive-team/connections",
        github_environment="x",
        github_oidc_provider_arn=find_stack(adopted.clients, settings()).oidc_provider,
        import_ecr_repository=True,
        stages=[STAGE],
        operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
        pipeline_principal_arns=[f"arn:aws:iam::{ACCOUNT}:role/release-worker"],
    )
    environment = Applied(adopted.administrator, "environment", adopted.directory)
    outputs = environment.apply(
        **common(ACCOUNT),
        stage=STAGE,
        pipeline_role_name=shared["pipeline_role_arns"][STAGE].rpartition("/")[2],
        production_listener_port=free_port(),
        test_listener_ports={"blue": free_port(), "green": free_port()},
        test_listener_cidrs=["127.0.0.0/8"],
        listener_weights={"blue": 0, "green": 100},
        deletion_protection=False,
        secret_names=[SECRET],
    )
    for root, key in ((account, "account"), (environment, f"{STAGE}/environment")):
        aws.s3.put_object(Bucket=settings().state_bucket, Key=f"terraform/{key}.tfstate", Body=root.state())
    return Beside(account, environment, outputs, shared, before)


def test_the_guides_stack_is_found_whole_before_anything_of_ours_is_there(adopted: Adopted, beside: Beside) -> None:
    assert beside.found_before == {
        ("role", "github_actions"): Fate.OFF,
        ("service", "connections/connections"): Fate.BESIDE,
        ("load balancer", "connections"): Fate.BESIDE,
        ("secret", SECRET): Fate.USED,
        (
            "OIDC provider",
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com",
        ): Fate.USED,
        ("image repository", "cursive-team/connections"): Fate.IMPORTED,
        ("bucket", settings().state_bucket): Fate.USED,
        ("DNS record", f"{NAME} CNAME"): Fate.USED,
    }


def test_what_runs_there_is_what_our_settings_should_say(adopted: Adopted, beside: Beside) -> None:
    (service,) = find_stack(adopted.clients, settings()).services

    assert (service.tag, service.cpu, service.memory, service.container_port) == ("v1.0.0", 256, 512, 8080)
    assert [(one.variable, one.secret, one.key) for one in service.secrets] == [
        ("DATABASE_URL", SECRET, "SECRET_DATABASE_URL")
    ]
    assert service.balancers[0].dns_name == adopted.old_outputs["alb_dns_name"]


def test_its_workflow_must_be_off() -> None:
    (found,) = deploying_workflows(_workflow_files(ROOT / "examples" / "guide-stack"))

    assert found.must_be_off


def test_ours_stands_beside_it_with_the_repository_imported(adopted: Adopted, beside: Beside) -> None:
    assert beside.shared["ecr_repository_url"] == adopted.old_outputs["ecr_repository_url"]
    (repository,) = adopted.aws.ecr.describe_repositories(repositoryNames=["cursive-team/connections"])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert beside.account.still_wanted() == {}
    assert beside.outputs["alb_dns_name"] != adopted.old_outputs["alb_dns_name"]
    assert len(adopted.aws.elbv2.describe_load_balancers()["LoadBalancers"]) == 2


def test_the_old_stack_wants_nothing_changed_but_what_was_imported(adopted: Adopted, beside: Beside) -> None:
    assert {"aws_ecr_repository.main"} >= set(adopted.old.still_wanted()), "only its tags' mutability"


def test_what_is_ours_is_in_nobodys_way_afterwards(adopted: Adopted, beside: Beside) -> None:
    fates = adopted.fates()

    assert fates[("image repository", "cursive-team/connections")] is Fate.USED
    assert Fate.IN_THE_WAY not in fates.values()
    assert ("role", "cursive-team-connections-github-actions") not in fates


def test_names_that_somebody_else_made_are_in_the_way(adopted: Adopted, beside: Beside) -> None:
    state = adopted.aws.s3.get_object(Bucket=settings().state_bucket, Key="terraform/account.tfstate")["Body"].read()
    adopted.aws.s3.delete_object(Bucket=settings().state_bucket, Key="terraform/account.tfstate")
    try:
        fates = adopted.fates()
    finally:
        adopted.aws.s3.put_object(Bucket=settings().state_bucket, Key="terraform/account.tfstate", Body=state)

    assert fates[("role", "cursive-team-connections-operator")] is Fate.IN_THE_WAY
    assert fates[("role", "cursive-team-connections-production-pipeline")] is Fate.IN_THE_WAY


@pytest.fixture
def operation(adopted: Adopted, beside: Beside) -> Iterator[Operation]:
    """An operator's look at the environment, whose record says what was provisioned."""
    records = RecordStore(adopted.aws.s3, settings().state_bucket, STAGE, ACCOUNT)
    found = {name: (beside.shared | beside.outputs).get(name) for name in Infrastructure.model_fields}
    infrastructure = Infrastructure.model_validate(found)
    records.change_environment(lambda r: r.provisioned(infrastructure, Weights.all_on(Colour.GREEN)))
    block = cast(ReleaseEnvironment, Block(settings()))
    made = open_operation(block, adopted.clients, owner(flow="dns"), records=records)
    yield made
    made.close()


def test_the_name_gets_weights_but_leads_to_nothing_that_is_not_live(
    adopted: Adopted, beside: Beside, operation: Operation
) -> None:
    asked = NameToMove("example.com", NAME, adopted.old_outputs["alb_dns_name"])
    service = adopted.aws.elbv2
    old = find_balancer(service, adopted.old_outputs["alb_dns_name"])
    assert old is not None
    assert old.healthy == 0, "the old service runs no task here, so nothing healthy answers either"

    assert f"0 of 100 answers lead to {STAGE}" in move_name(operation, asked, 0)
    with pytest.raises(Refused, match="Nothing is live in production"):
        move_name(operation, asked, 10)

    shares = shares_of(adopted)
    assert shares == {adopted.old_outputs["alb_dns_name"]: 100, beside.outputs["alb_dns_name"]: 0}


def shares_of(adopted: Adopted) -> dict[str, int | None]:
    zone = find_zone(adopted.aws.route53, "example.com", settings().timing)
    return {one["ResourceRecords"][0]["Value"]: one.get("Weight") for one in zone.records(NAME)}


def test_route_53_takes_each_step_over_and_back(adopted: Adopted, beside: Beside) -> None:
    zone = find_zone(adopted.aws.route53, "example.com", settings().timing)
    names = (beside.outputs["alb_dns_name"], adopted.old_outputs["alb_dns_name"])
    in_place = [one for one in (find_balancer(adopted.aws.elbv2, name) for name in names) if one]
    ours, old = (one.called(f"balancer {one.name}") for one in in_place)
    for weight in (0, 10, 50, 100, 0, 100):
        move = plan_move(read_name(NAME, zone.records(NAME), ours, None), ours, old, weight)
        zone.change(move, "test")
        assert move.is_seen(zone.records(NAME))
        assert shares_of(adopted)[names[0]] == weight
    zone.change(plan_finish(read_name(NAME, zone.records(NAME), ours, None), ours), "test")
    assert shares_of(adopted) == {names[0]: None}


def test_the_emulator_refuses_what_route_53_refuses(adopted: Adopted) -> None:
    zone = find_zone(adopted.aws.route53, "example.com", settings().timing)
    plain = {"Name": "a.example.com", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "b.example.com"}]}
    weighted = {**plain, "SetIdentifier": "x", "Weight": 1}
    wrong = {
        "a non-weighted set exists": [plain, weighted],
        "is not from 0 to 255": [{**weighted, "Weight": 256}],
        "must contain the same TTL": [weighted, {**weighted, "SetIdentifier": "y", "TTL": 5}],
        "not permitted at apex": [{**plain, "Name": "example.com"}],
    }
    for said, sets in wrong.items():
        changes = [{"Action": "UPSERT", "ResourceRecordSet": one} for one in sets]
        with pytest.raises(ClientError, match=said):
            adopted.aws.route53.change_resource_record_sets(HostedZoneId=zone.id, ChangeBatch={"Changes": changes})
        assert zone.records("a.example.com") == []


def test_the_old_stack_goes_and_ours_keeps_what_was_taken_over(adopted: Adopted, beside: Beside) -> None:
    adopted.old.run("state", "rm", "aws_ecr_repository.main", "aws_iam_openid_connect_provider.github")
    adopted.old.run("destroy", "-auto-approve", "-input=false")

    (left,) = adopted.aws.elbv2.describe_load_balancers()["LoadBalancers"]
    assert left["DNSName"] == beside.outputs["alb_dns_name"]
    assert adopted.aws.ecr.describe_repositories(repositoryNames=["cursive-team/connections"])["repositories"]
    assert len(adopted.aws.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]) == 1
    assert beside.account.still_wanted() == {}
    assert beside.environment.still_wanted() == {}
    assert find_stack(adopted.clients, settings()).services == ()
