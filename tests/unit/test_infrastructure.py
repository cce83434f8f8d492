"""What `provision` recorded is held against the settings before anything is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.colour import Colour
from core.errors import Refused
from core.infrastructure import refuse_foreign_infrastructure
from core.record import Infrastructure
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP, INFRASTRUCTURE, LISTENER, settings_with
from tests.unit.test_plan_guard import SETTINGS

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/test-a1B2c3"


def changed(**facts: Any) -> Infrastructure:
    return INFRASTRUCTURE.model_copy(update=facts)


def test_what_was_provisioned_is_ours() -> None:
    refuse_foreign_infrastructure(changed(secret_arns={"shop/test": SECRET}), settings_with())


def test_what_a_sandbox_provisioned_is_ours() -> None:
    recorded = (Path(__file__).parent / "plans" / "infrastructure.json").read_text()
    refuse_foreign_infrastructure(Infrastructure.model_validate_json(recorded), SETTINGS)


def test_the_partition_is_the_regions() -> None:
    text = INFRASTRUCTURE.model_dump_json().replace("arn:aws:", "arn:aws-cn:").replace("eu-west-1", "cn-north-1")
    settings = settings_with(region='"cn-north-1"')
    refuse_foreign_infrastructure(
        Infrastructure.model_validate_json(text.replace("amazonaws.com", "amazonaws.com.cn")), settings
    )
    with pytest.raises(Refused, match="cluster_arn"):
        refuse_foreign_infrastructure(Infrastructure.model_validate_json(text.replace("aws-cn", "aws")), settings)


@pytest.mark.parametrize(
    ("named", "facts"),
    [
        ("ecr_repository_url", {"ecr_repository_url": "registry.example.com/team/shop"}),
        ("ecr_repository_url", {"ecr_repository_url": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/other"}),
        ("production_listener_arn", {"production_listener_arn": LISTENER.replace("shop-test", "shop-production")}),
        ("http_forward_listener_arn", {"http_forward_listener_arn": LISTENER.replace("123456789012", "999999999999")}),
        ("test_listener_arns.blue", {"test_listener_arns": {Colour.BLUE: LISTENER.replace("eu-west-1", "us-east-1")}}),
        ("target_group_arns.blue", {"target_group_arns": {Colour.BLUE: GREEN_GROUP, Colour.GREEN: GREEN_GROUP}}),
        ("target_group_arns.green", {"target_group_arns": {Colour.BLUE: BLUE_GROUP, Colour.GREEN: BLUE_GROUP}}),
        ("cluster_arn", {"cluster_arn": "arn:aws:ecs:eu-west-1:123456789012:cluster/payroll"}),
        ("private_subnet_ids[1]", {"private_subnet_ids": ("subnet-1", "vpc-1")}),
        ("task_security_group_id", {"task_security_group_id": "default"}),
        ("execution_role_arn", {"execution_role_arn": "arn:aws:iam::123456789012:role/payroll-execution"}),
        ("task_role_arn", {"task_role_arn": "arn:aws:iam::999999999999:role/team-shop-test-task"}),
        ("log_group_name", {"log_group_name": "payroll"}),
        ("secret_arns.shop/test", {"secret_arns": {"shop/test": SECRET.replace("shop/test", "payroll")}}),
        ("secret_arns.shop/test", {"secret_arns": {"shop/test": SECRET.replace("123456789012", "999999999999")}}),
    ],
)
def test_what_is_not_ours_is_refused_by_name(named: str, facts: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="names infrastructure that is not its own") as refusal:
        refuse_foreign_infrastructure(changed(**facts), settings_with())
    assert f"{named} is " in refusal.value.why
    assert "provision/test" in refusal.value.do


def test_each_fault_is_said_with_what_it_should_be() -> None:
    with pytest.raises(Refused) as refusal:
        refuse_foreign_infrastructure(
            changed(ecr_repository_url="x/y", task_security_group_id="default", log_group_name="payroll"),
            settings_with(),
        )
    assert refusal.value.why == (
        "ecr_repository_url is 'x/y', not 123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop; "
        "task_security_group_id is 'default', not the id of a security group; "
        "log_group_name is 'payroll', not team-shop-test"
    )
