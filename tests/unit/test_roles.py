"""Which role each flow acts as, and which repositories an environment's images may be in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_docker import DockerHost
from pydantic import SecretStr

from blocks.environment import ReleaseEnvironment
from core.colour import Colour
from core.errors import Refused
from core.infrastructure import is_from_own_repository, refuse_foreign_infrastructure
from core.plan_guard import guard_slot_plan
from core.root_variables import environment_variables
from core.settings import parse_settings
from core.slot_shape import SlotPlan
from emulator.calls import Asked, name_of
from tasks.infrastructure import record_infrastructure
from tests.unit.facts import DIGEST, INFRASTRUCTURE, SETTINGS, owner, release, settings_with
from tests.unit.fakes import FakeAws, operation_of
from tests.unit.test_plan_guard import load

ROLE = "arn:aws:iam::123456789012:role/team-shop-test"
OPERATOR = "arn:aws:iam::123456789012:role/team-shop-operator"
ALL = f'role_arn = "{ROLE}-pipeline"\nreconciler_role_arn = "{ROLE}-reconciler"\noperator_role_arn = "{OPERATOR}"'
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def acting(aws: str, flow: str, assumes: str | None) -> str | None:
    """The role that the block of these settings assumes in a flow."""
    block = ReleaseEnvironment(
        stage="test",
        aws_credentials=AwsCredentials(region_name="eu-west-1", assume_role_arn=assumes),
        docker_host=DockerHost(),
        webhook_secret=Secret(value=SecretStr("x" * 16)),
    )
    block.settings = settings_with(f"[aws]\n{aws}\n")
    found: str | None = block.acting_in(flow).aws_credentials.assume_role_arn
    return found


@pytest.mark.parametrize(
    ("flow", "role"),
    [
        ("release", f"{ROLE}-pipeline"),
        ("rollback", f"{ROLE}-pipeline"),
        ("unfreeze", f"{ROLE}-pipeline"),
        ("reconcile", f"{ROLE}-reconciler"),
        ("retire", f"{ROLE}-reconciler"),
        ("drift", OPERATOR),
        ("status", OPERATOR),
    ],
)
def test_each_flow_acts_as_its_role(flow: str, role: str) -> None:
    assert acting(ALL, flow, f"{ROLE}-pipeline") == role


@pytest.mark.parametrize("flow", ["release", "reconcile", "retire", "drift", "status"])
def test_a_file_of_before_lets_every_flow_act_as_the_one_role(flow: str) -> None:
    assert acting(f'role_arn = "{ROLE}-pipeline"', flow, f"{ROLE}-pipeline") == f"{ROLE}-pipeline"


@pytest.mark.parametrize("flow", ["release", "reconcile", "drift"])
def test_who_assumes_no_role_assumes_none(flow: str) -> None:
    assert acting("", flow, None) is None


def test_a_reconciler_without_a_pipeline_is_refused() -> None:
    with pytest.raises(Refused, match="need role_arn"):
        settings_with(f'[aws]\nreconciler_role_arn = "{ROLE}-reconciler"\n')


# Repositories


@pytest.mark.parametrize(
    ("chosen", "repository"),
    [
        ("", "team/shop"),
        ('stage_repositories = ["test"]', "team/shop/test"),
        ('stage_repositories = ["production"]', "team/shop"),
        ('stage_repositories = "test"', "team/shop"),
    ],
)
def test_a_stage_pushes_to_its_own_repository_where_the_account_gives_it_one(chosen: str, repository: str) -> None:
    assert settings_with(f"[provision.account]\n{chosen}\n").repository == repository


@pytest.mark.parametrize(
    ("image", "ours"),
    [
        (f"{REGISTRY}/team/shop@{DIGEST}", True),
        (f"{REGISTRY}/team/shop/test@{DIGEST}", True),
        (f"{REGISTRY}/team/shop/production@{DIGEST}", False),
        (f"{REGISTRY}/team/other@{DIGEST}", False),
        (f"{REGISTRY}/team@{DIGEST}", False),
        (f"registry.example.com/team/shop@{DIGEST}", False),
    ],
)
@pytest.mark.parametrize("recorded", ["team/shop", "team/shop/test"])
def test_an_image_is_in_the_shared_repository_or_in_the_stage_s_own(image: str, ours: bool, recorded: str) -> None:
    infrastructure = INFRASTRUCTURE.model_copy(update={"ecr_repository_url": f"{REGISTRY}/{recorded}"})
    assert is_from_own_repository(image, infrastructure, settings_with()) is ours


@pytest.mark.parametrize("repository", ["team/shop", "team/shop/test"])
def test_a_record_may_name_either_repository(repository: str) -> None:
    recorded = INFRASTRUCTURE.model_copy(update={"ecr_repository_url": f"{REGISTRY}/{repository}"})
    refuse_foreign_infrastructure(recorded, settings_with())
    assert recorded.repository == repository


def test_a_release_of_before_is_rolled_back_to_from_the_repository_of_before() -> None:
    plan, expected = load("rollback")
    own = f"{expected.infrastructure.ecr_repository_url}/sandbox"
    moved = expected.infrastructure.model_copy(update={"ecr_repository_url": own})
    guard_slot_plan(plan, SlotPlan(expected.settings, moved, Colour(expected.colour), expected.release))


@pytest.mark.parametrize("repository", ["team/shop", "team/shop/test"])
def test_an_image_is_looked_for_where_it_was_pushed(repository: str) -> None:
    moved = release("v1.0.0").model_copy(update={"image": f"{REGISTRY}/{repository}@{DIGEST}"})
    assert (moved.image_repository, moved.image_digest) == (repository, DIGEST)


def test_what_provision_records_is_the_stage_s_own_repository(aws: FakeAws) -> None:
    operation = operation_of(aws, parse_settings("test", SETTINGS), owner())
    outputs = {
        **json.loads(INFRASTRUCTURE.model_dump_json()),
        "ecr_repository_urls": {"test": f"{REGISTRY}/team/shop/test", "production": f"{REGISTRY}/team/shop"},
    }
    operation.lease.take(None, lambda _record: None)
    record_infrastructure.fn(operation, outputs)
    found = operation.records.environment().infrastructure
    assert found is not None
    assert found.ecr_repository_url == f"{REGISTRY}/team/shop/test"


def test_the_environment_gets_its_reconciler_and_the_boundary_of_the_account(aws: FakeAws) -> None:
    operation = operation_of(aws, parse_settings("test", SETTINGS), owner())
    boundary = "arn:aws:iam::123456789012:policy/team-shop-boundary"
    account = {
        "reconciler_role_arns": {"test": f"{ROLE}-reconciler", "production": "arn:aws:iam::1:role/other"},
        "task_permissions_boundary_arn": boundary,
    }
    given = environment_variables(operation.settings, operation.record, account)
    assert (given["reconciler_role_name"], given["permissions_boundary_arn"]) == ("team-shop-test-reconciler", boundary)


# What the emulator writes down


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:sts::000000000000:assumed-role/team-shop-pipeline/session", "role/team-shop-pipeline"),
        ("arn:aws:iam::000000000000:user/worker", "user/worker"),
    ],
)
def test_a_session_is_listed_by_its_role(arn: str, name: str) -> None:
    assert name_of(arn) == name


def test_only_what_was_allowed_is_listed_with_its_resource() -> None:
    asked = Asked("role/r", "ecs:UpdateService")
    for resource, allowed in (("a", True), ("a", True), ("b", False)):
        asked.add(resource, allowed=allowed)
    assert (asked.allowed, asked.denied, asked.resources) == (2, 1, ["a"])


def test_the_receiver_knows_no_aws() -> None:
    """No module of it imports boto3 or a client of ours: it has no use for a role."""
    import webhook

    for module in Path(webhook.__path__[0]).glob("*.py"):
        text = module.read_text()
        assert "boto" not in text, module
        assert "systems." not in text, module
