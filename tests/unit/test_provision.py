"""`provision`: what it refuses before it plans, and the hold of its own that all environments' account has."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.__main__ import register
from blocks.environment import PROJECT, read_settings
from blocks.provision import check_provision, declared_variables
from core.colour import Colour
from core.errors import Refused
from core.provision_variables import SET_BY_US
from core.record import LeaseRecord, Owner
from core.root_variables import account_variables, environment_variables, slot_variables
from core.settings import EnvironmentSettings, Service
from operation.operation import Operation, open_account
from systems.processes import owner_of
from tasks.infrastructure import account_held, check_principals
from tests.unit.facts import SETTINGS, owner, release, settings_with
from tests.unit.fakes import FakeAws, operation_of

LOCK = "terraform/account.tfstate.tflock"
HERE = owner_of("provision", "other", "other-1")
GONE = HERE.model_copy(update={"pid": 2**22 + 1})


def held_by(operation: Operation, whose: Owner) -> None:
    """Another run holds the account, for a minute now."""
    account = open_account(operation)
    since = datetime.now(UTC) - timedelta(seconds=60)
    lease = LeaseRecord(
        owner=whose,
        fencing_token=1,
        acquired_at=since,
        renewed_at=since,
        expires_at=since + timedelta(seconds=120),
        step="account",
    )
    account.records.change_environment(lambda r: r.model_copy(update={"lease": lease, "fencing_token": 1}))


def hold_of_account(operation: Operation) -> LeaseRecord | None:
    return open_account(operation).records.environment().lease


def test_it_is_held_while_it_is_provisioned_and_free_afterwards(operation: Operation) -> None:
    with account_held(operation) as account:
        held = hold_of_account(operation)
        assert held is not None
        assert held.owner == account.owner
    assert hold_of_account(operation) is None
    own = operation.records.environment().lease
    assert own is not None, "the environment's own hold is another one"


def test_it_is_free_though_provisioning_failed(operation: Operation) -> None:
    with pytest.raises(Refused), account_held(operation):
        raise Refused("It was refused")
    assert hold_of_account(operation) is None


def test_another_environment_s_provision_is_not_run_over(operation: Operation) -> None:
    held_by(operation, HERE)
    with pytest.raises(Refused, match="account is held by provision: it is at account"), account_held(operation):
        pytest.fail("it began")
    held = hold_of_account(operation)
    assert held is not None
    assert held.owner == HERE


def test_a_dead_one_s_lease_is_taken_over_and_its_lock_released(aws: FakeAws, operation: Operation) -> None:
    held_by(operation, GONE)
    created = f"{datetime.now(UTC) - timedelta(seconds=30):%Y-%m-%dT%H:%M:%S}.123456789Z"
    told = {"ID": "lock-1", "Who": f"root@{os.uname().nodename}", "Created": created}
    aws.s3.objects[LOCK] = (json.dumps(told).encode(), '"1"')
    with account_held(operation):
        assert LOCK not in aws.s3.objects


# --- what [provision.*] may name


def with_provision(**sections: str) -> EnvironmentSettings:
    return settings_with("".join(f"\n[provision.{root}]\n{text}\n" for root, text in sections.items()))


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (
            {"environment": "internl = true"},
            r"\[provision.environment\] internl is not a variable .*did you mean internal",
        ),
        ({"environment": "idle_timeout = 300"}, r"\[provision.environment\] idle_timeout is not a variable"),
        ({"environment": "container_port = 3000"}, r"container_port is set by \[service\] container_port"),
        ({"environment": 'health_check_path = "/x"'}, r"health_check_path is set by \[service\] health_check_path"),
        (
            {"environment": "listener_weights = { blue = 1, green = 0 }"},
            "listener_weights is set by the release record",
        ),
        ({"account": 'pipeline_principals = ["x"]'}, "did you mean pipeline_principal_arns"),
        (
            {"account": 'region = "eu-west-1"', "environment": "x = 1"},
            r"\[provision.account\] region is set by region; ",
        ),
    ],
)
def test_a_name_that_would_do_nothing_or_undo_something_is_refused(sections: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_provision(with_provision(**sections))


def test_an_environment_that_could_not_be_provisioned_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test.toml").write_text(SETTINGS + "[provision.environment]\ninternl = true\n")
    monkeypatch.setenv("POINTSMAN_ENVIRONMENTS", str(tmp_path))
    with pytest.raises(Refused, match="did you mean internal"):
        register("test")


def test_a_slow_start_is_given_its_time(operation: Operation) -> None:
    slow = settings_with().model_copy(update={"service": Service(grace_period=300)})
    given = slot_variables(slow, operation.infrastructure, Colour.GREEN, release("v1.0.0"))
    assert given["health_check_grace_period_seconds"] == 300
    assert given.keys() <= declared_variables(PROJECT / "terraform/slot")


def test_the_names_that_the_roots_declare_are_taken() -> None:
    check_provision(
        with_provision(environment="internal = true\ndeletion_protection = false", account="images_kept = 50")
    )


def test_the_files_that_ship_are_taken() -> None:
    for stage in ("sandbox", "production"):
        check_provision(read_settings(stage))


def test_what_is_set_elsewhere_is_what_provision_sets(operation: Operation) -> None:
    ours = environment_variables(operation.settings, operation.record, {})
    assert {*ours, "container_port"} == SET_BY_US["environment"].keys()
    assert account_variables(operation.settings).keys() == SET_BY_US["account"].keys()


@pytest.mark.parametrize(
    ("outputs", "bound"),
    [
        ({"pipeline_role_arns": {"test": "arn:aws:iam::123456789012:role/shop-test-pipeline"}}, "shop-test-pipeline"),
        ({"pipeline_role_arns": {"staging": "arn:aws:iam::123456789012:role/shop-staging-pipeline"}}, None),
    ],
)
def test_the_role_of_this_stage_and_no_other_is_bound_to_its_network(
    outputs: dict[str, object], bound: str | None, operation: Operation
) -> None:
    assert environment_variables(operation.settings, operation.record, outputs)["pipeline_role_name"] == bound


@pytest.mark.parametrize("root", ["account", "environment"])
def test_every_variable_that_provision_sets_is_one_of_the_root_s(root: str, operation: Operation) -> None:
    ours = {
        "account": account_variables(operation.settings),
        "environment": environment_variables(operation.settings, operation.record, {}),
    }[root]
    assert ours.keys() <= declared_variables(PROJECT / "terraform" / root)


def test_variables_are_found_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.tf").write_text(
        'variable "one" {\n}\n# variable "no" {\n  variable "two"{ type = string }\nvariable three {}\n'
    )
    (tmp_path / "b.tf").write_text('output "variable" {\n  value = var.variable\n}\n')
    assert declared_variables(tmp_path) == {"one", "two", "three"}


# --- who may take the roles

ROOT = "arn:aws:iam::123456789012:root"
WORKER = "arn:aws:iam::123456789012:role/machines/worker"


@pytest.mark.parametrize(
    ("principal", "missing"),
    [
        (ROOT, False),
        (WORKER, False),
        ("arn:aws:iam::123456789012:user/ann", False),
        ("arn:aws:sts::123456789012:assumed-role/worker/session", False),
        ("arn:aws:iam::999999999999:role/not-ours-to-ask", False),
        ("arn:aws:iam::123456789012:role/operators", True),
        ("arn:aws:iam::123456789012:role/worker", True),
        ("arn:aws:iam::123456789012:user/bob", True),
        ("arn:aws:sts::123456789012:assumed-role/operators/session", True),
    ],
)
def test_a_principal_that_does_not_exist_is_named_before_anything_is_made(
    aws: FakeAws, principal: str, missing: bool, no_run_log: None
) -> None:
    aws.iam.roles["worker"] = WORKER
    aws.iam.users["ann"] = "arn:aws:iam::123456789012:user/ann"
    settings = with_provision(
        account=f"""operator_principal_arns = ["{principal}"]\npipeline_principal_arns = ["{WORKER}"]"""
    )
    operation = operation_of(aws, settings, owner())
    if missing:
        with pytest.raises(Refused, match=f"IAM has no {principal}"):
            check_principals.fn(operation)
    else:
        check_principals.fn(operation)
