"""What becomes of a stack that serves already: each thing of it, the settings to write, and the steps."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.environment import PROJECT
from core.adoption import (
    Adoption,
    Fate,
    FoundBalancer,
    FoundBucket,
    FoundRecord,
    FoundRepository,
    FoundRole,
    FoundSecret,
    FoundService,
    FoundStack,
    names_we_make,
    plan_adoption,
    secret_named_by,
    serves_application,
)
from core.errors import Refused
from core.workflows import DeployingWorkflow, deploying_workflows
from lifecycle.adopt import _workflow_files, describe_adoption
from tests.unit.facts import settings_with

SETTINGS = settings_with()
WITH_GITHUB = settings_with('\n[provision.account]\ngithub_environment = "production"\n')
BALANCER = FoundBalancer("shop", "shop-1.elb.amazonaws.com", ("HTTP 80",), "shop", "/healthz", 2)
SERVICE = FoundService(
    cluster="shop",
    name="shop",
    task_definition="shop:7",
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop:v1.4.0",
    desired=2,
    running=2,
    cpu=512,
    memory=1024,
    container_port=8080,
    variables=("LOG_LEVEL",),
    secrets=(FoundSecret("DATABASE_URL", "team/shop", "SECRET_DATABASE_URL"),),
    balancers=(BALANCER,),
)
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
ROLE = FoundRole("github_actions", ("AdministratorAccess",), ("repo:team/shop:*",))
STACK = FoundStack(
    services=(SERVICE,),
    roles=(ROLE,),
    oidc_provider=PROVIDER,
    repository=FoundRepository("team/shop", "AES256", mutable=True),
    bucket=FoundBucket("team-shop-state", ()),
    records=(FoundRecord("example.com", "shop.example.com", "A", BALANCER.dns_name),),
)


def plan(stack: FoundStack = STACK, **options: Any) -> Adoption:
    return plan_adoption(options.pop("settings", SETTINGS), stack, options.pop("workflows", ()), **options)


def fates(adoption: Adoption) -> dict[tuple[str, str], Fate]:
    return {(row.kind, row.name): row.fate for row in adoption.rows}


def test_each_thing_of_the_guides_stack_has_its_fate() -> None:
    assert fates(plan()) == {
        ("role", "github_actions"): Fate.OFF,
        ("service", "shop/shop"): Fate.BESIDE,
        ("load balancer", "shop"): Fate.BESIDE,
        ("secret", "team/shop"): Fate.USED,
        ("OIDC provider", PROVIDER): Fate.USED,
        ("image repository", "team/shop"): Fate.IMPORTED,
        ("bucket", "team-shop-state"): Fate.USED,
        ("DNS record", "shop.example.com A"): Fate.USED,
    }


@pytest.mark.parametrize(
    ("found", "of", "fate"),
    [
        ({"repository": FoundRepository("team/shop", "KMS", mutable=True)}, "image repository", Fate.IN_THE_WAY),
        ({"repository": FoundRepository("team/shop", "AES256", False, ours=True)}, "image repository", Fate.USED),
        ({"bucket": FoundBucket("team-shop-state", ("it is not versioned",))}, "bucket", Fate.IN_THE_WAY),
        ({"taken": (("role", "team-shop-operator"),)}, "role", Fate.IN_THE_WAY),
        ({"roles": (FoundRole("docs", ("s3-docs",), ()),), "taken": ()}, "role", Fate.BESIDE),
        ({"roles": (FoundRole("deployer", ("AdministratorAccess",), ()),)}, "role", Fate.OFF),
    ],
)
def test_what_differs_has_another_fate(found: dict[str, Any], of: str, fate: Fate) -> None:
    assert [row.fate for row in plan(replace(STACK, **found)).rows if row.kind == of][-1] is fate


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (FoundSecret("DATABASE_URL", "team/url", ""), {"secret": "team/url"}),
        (FoundSecret("DATABASE_URL", "/team/url", "", parameter=True), {"parameter": "/team/url"}),
    ],
)
def test_a_secret_that_is_no_json_key_is_used_as_a_whole(found: FoundSecret, written: dict[str, str]) -> None:
    adoption = plan(replace(STACK, services=(replace(SERVICE, secrets=(found,)),)))
    [row] = [row for row in adoption.rows if row.kind == "secret"]
    assert (row.fate, row.remark) == (Fate.USED, "read by name: DATABASE_URL from all of it")
    assert tomllib.loads(adoption.settings)["service"]["secrets"]["DATABASE_URL"] == written


def test_the_settings_are_those_of_what_runs() -> None:
    written = tomllib.loads(plan(settings=WITH_GITHUB).settings)

    assert written == {
        "service": {
            "container_port": 8080,
            "cpu": 512,
            "memory": 1024,
            "desired_count": 2,
            "health_check_path": "/healthz",
            "variables": {},
            "secrets": {"DATABASE_URL": {"secret": "team/shop", "key": "SECRET_DATABASE_URL"}},
        },
        "provision": {"account": {"github_oidc_provider_arn": PROVIDER, "import_ecr_repository": True}},
    }


def test_a_variables_value_is_never_written_down() -> None:
    assert "# LOG_LEVEL: as in shop:7" in plan().settings


def test_the_provider_is_named_only_where_a_role_for_workflows_is_wanted() -> None:
    assert "github_oidc_provider_arn" not in plan().settings


def test_the_settings_are_ones_that_an_environment_can_have() -> None:
    settings_with(plan(settings=WITH_GITHUB).settings.replace("[service]\n", "").partition("[service.variables]")[2])


def test_what_is_in_our_state_is_not_imported_again() -> None:
    owned = replace(STACK, repository=FoundRepository("team/shop", "AES256", False, ours=True))

    assert "import_ecr_repository" not in plan(owned).settings


@pytest.mark.parametrize(
    ("image", "step"),
    [
        ("team/shop:v1.4.0", "Release v1.4.0 to test"),
        ("team/shop:latest", "latest is not a version"),
        ("team/shop@sha256:" + "ab" * 32, "Release to test the version that runs there now"),
    ],
)
def test_the_first_release_is_what_runs_already(image: str, step: str) -> None:
    steps = plan(replace(STACK, services=(replace(SERVICE, image=image),))).steps

    assert any(one.startswith(step) for one in steps)


def test_once_ours_is_provisioned_the_name_is_next() -> None:
    steps = plan(ours="ours.elb.amazonaws.com").steps

    assert not any("provision/test" in one for one in steps)
    assert any("python -m flows dns test" in one for one in steps)


def test_nothing_found_is_said() -> None:
    text = describe_adoption(plan(FoundStack()))

    assert text.startswith("No stack that serves the application was found")


def test_workflows_that_deploy_by_themselves_must_be_off() -> None:
    workflows = deploying_workflows(_workflow_files(PROJECT / "examples" / "guide-stack"))

    (row,) = [row for row in plan(workflows=workflows).rows if row.kind == "workflow"]

    assert (row.name, row.fate) == (".github/workflows/deploy.yml", Fate.OFF)
    assert "terraform apply" in row.remark
    assert "docker push" in row.remark


def test_a_workflow_that_a_person_starts_may_stay() -> None:
    by_hand = DeployingWorkflow(".github/workflows/a.yml", "a", ("by hand",), False, ())

    assert not any(row.kind == "workflow" for row in plan(workflows=(by_hand,)).rows)


def test_workflows_that_nobody_looked_at_count_as_on() -> None:
    (row,) = [row for row in plan(workflows=None).rows if row.kind == "workflow"]

    assert row.fate is Fate.OFF
    assert "--checkout" in row.remark


def test_a_checkout_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not a directory"):
        _workflow_files(tmp_path / "nothing")
    assert _workflow_files(tmp_path) == {}


@pytest.mark.parametrize(
    ("cluster", "service", "image", "serves"),
    [
        ("shop", "shop", "registry/other:1", True),
        ("tools", "web", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop:v1.0.0", True),
        ("tools", "web", "registry.example.com/team/shop", True),
        ("tools", "web", "registry.example.com:5000/team/shop@sha256:ab", True),
        ("tools", "web", "registry.example.com/team/other:1", False),
        ("team-shop-test", "shop-test-blue", "x/team/shop:v1.0.0", False),
        ("team-shop-staging", "shop-staging-blue", "x/team/shop:v1.0.0", False),
    ],
)
def test_the_applications_service_is_told_by_its_image_or_name(
    cluster: str, service: str, image: str, serves: bool
) -> None:
    assert serves_application(SETTINGS, cluster, service, image) is serves


@pytest.mark.parametrize(
    ("value_from", "secret", "key"),
    [
        ("arn:aws:secretsmanager:eu-west-1:1:secret:team/shop-AbCdEf:URL::", "team/shop", "URL"),
        ("arn:aws:secretsmanager:eu-west-1:1:secret:team/shop-AbCdEf", "team/shop", ""),
    ],
)
def test_a_secret_is_told_by_what_the_container_names(value_from: str, secret: str, key: str) -> None:
    assert secret_named_by("URL", value_from) == FoundSecret("URL", secret, key)


@pytest.mark.parametrize("value_from", ["arn:aws:ssm:eu-west-1:1:parameter/url", "/plain/parameter"])
def test_a_parameter_is_told_by_what_the_container_names(value_from: str) -> None:
    assert secret_named_by("URL", value_from) == FoundSecret("URL", value_from, "", parameter=True)


def test_every_name_that_aws_has_once_an_account_is_looked_for() -> None:
    assert ("role", "team-shop-github-actions") in names_we_make(WITH_GITHUB)
    assert ("role", "team-shop-github-actions") not in names_we_make(SETTINGS)
    assert {name for kind, name in names_we_make(SETTINGS) if kind == "role"} == {
        "team-shop-operator",
        "team-shop-test-pipeline",
        "team-shop-test-execution",
        "team-shop-test-task",
    }


def test_the_table_is_aligned() -> None:
    lines = describe_adoption(plan()).splitlines()

    assert lines[0].startswith("what ")
    at = lines[0].index("becomes")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines[1 : len(plan().rows) + 1])
