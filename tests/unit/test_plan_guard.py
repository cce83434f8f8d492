"""What a release's plan may change: its slot, and there only what a release is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import Refused
from core.plan_guard import SlotPlan, guard_slot_plan
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP, REPOSITORY, release

RELEASE = release("v1.1.0", variables={"LOG": "info"}, secrets={"KEY": "arn:key::"})
EXPECTED = SlotPlan(service="shop-test-green", container="shop", target_group_arn=GREEN_GROUP, release=RELEASE)
SERVICE, DEFINITION, MIGRATION = (
    "aws_ecs_service.slot",
    "aws_ecs_task_definition.service",
    "aws_ecs_task_definition.migration",
)
CONTAINER: dict[str, Any] = {
    "name": "shop",
    "image": RELEASE.image,
    "essential": True,
    "environment": [
        {"name": "LOG", "value": "info"},
        {"name": "POINTSMAN_COLOUR", "value": "green"},
        {"name": "POINTSMAN_REVISION", "value": RELEASE.revision},
        {"name": "POINTSMAN_VERSION", "value": "v1.1.0"},
    ],
    "secrets": [{"name": "KEY", "valueFrom": "arn:key::"}],
}


def change(address: str, actions: list[str], after: Any, before: Any = None) -> dict[str, Any]:
    return {"address": address, "mode": "managed", "change": {"actions": actions, "before": before, "after": after}}


def definition(*containers: dict[str, Any], address: str = DEFINITION, **facts: Any) -> dict[str, Any]:
    after = {"container_definitions": json.dumps(containers or (CONTAINER,)), "cpu": "256", "memory": "512", **facts}
    before = {
        "container_definitions": json.dumps([{**CONTAINER, "image": f"{REPOSITORY}@sha256:{'00' * 32}"}]),
        "cpu": "256",
        "memory": "512",
    }
    return change(address, ["delete", "create"], after, before)


def service(actions: tuple[str, ...] = ("update",), **facts: Any) -> dict[str, Any]:
    after = {"name": "shop-test-green", "load_balancer": [{"target_group_arn": GREEN_GROUP}], **facts}
    return change(SERVICE, list(actions), after)


GOOD = [definition(), definition(address=MIGRATION), service()]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([], id="nothing"),
        pytest.param(GOOD, id="a new revision in the slot"),
        pytest.param(
            [change(DEFINITION, ["create"], GOOD[0]["change"]["after"]), service(("create",))],
            id="the slot's first release",
        ),
        pytest.param([*GOOD, change("aws_lb.main", ["no-op"], {})], id="something else stays as it is"),
        pytest.param(
            [*GOOD, {**change("data.aws_caller_identity.now", ["read"], {}), "mode": "data"}], id="something is read"
        ),
    ],
)
def test_a_release_may_change_its_slot(changes: list[dict[str, Any]]) -> None:
    guard_slot_plan({"resource_changes": changes}, EXPECTED)


FORBIDDEN = [
    pytest.param(change(address, actions, {}), address, id=f"{' and '.join(actions)} {address}")
    for address, actions in [
        ("aws_lb_listener.production", ["update"]),
        ("aws_lb_listener.production", ["delete", "create"]),
        ("aws_lb_target_group.green", ["update"]),
        ("aws_security_group.tasks", ["create"]),
        ("aws_iam_role.task", ["update"]),
        ("aws_ecs_cluster.main", ["delete"]),
        ("aws_ecs_service.other", ["update"]),
        ("aws_ecs_service.slot[0]", ["create"]),
        ("module.slot.aws_ecs_service.slot", ["update"]),
        ("aws_ecs_task_definition.service[1]", ["create"]),
        ("aws_ecs_task_definition.third", ["create"]),
        ("aws_secretsmanager_secret_version.database", ["create"]),
        ("aws_db_instance.main", ["delete"]),
    ]
]


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        *FORBIDDEN,
        pytest.param(change(SERVICE, ["delete"], None), "would be deleted", id="the service deleted"),
        pytest.param(service(("delete", "create")), "would be replaced", id="the service replaced"),
        pytest.param(service(("create", "delete")), "would be replaced", id="the service replaced, new first"),
        pytest.param(service(name="shop-test-blue"), "'shop-test-blue'", id="the live colour's service"),
        pytest.param(
            service(load_balancer=[{"target_group_arn": BLUE_GROUP}]), BLUE_GROUP, id="the live colour's target group"
        ),
        pytest.param(
            service(load_balancer=[{"target_group_arn": GREEN_GROUP}, {"target_group_arn": BLUE_GROUP}]),
            BLUE_GROUP,
            id="both target groups",
        ),
        pytest.param(service(load_balancer=[]), "no target group", id="no target group"),
        pytest.param(service(load_balancer=None), "no target group", id="no target group named"),
        pytest.param(change(DEFINITION, ["update"], {}), DEFINITION, id="a definition updated in place"),
        pytest.param(change(DEFINITION, ["delete"], None), DEFINITION, id="a definition deleted"),
        pytest.param(change(MIGRATION, ["delete"], None), MIGRATION, id="the migration's definition deleted"),
        pytest.param(definition({**CONTAINER, "name": "cuckoo"}), "cuckoo", id="another container"),
        pytest.param(definition(CONTAINER, {**CONTAINER, "name": "sidecar"}), "sidecar", id="a container beside it"),
        pytest.param(definition({**CONTAINER, "image": "evil@sha256:00"}), "evil@sha256:00", id="another image"),
        pytest.param(
            definition({**CONTAINER, "image": f"{REPOSITORY}:v1.1.0"}), f"{REPOSITORY}:v1.1.0", id="an image by its tag"
        ),
        pytest.param(
            definition({**CONTAINER, "image": "evil@sha256:00"}, address=MIGRATION),
            "evil@sha256:00",
            id="another image for the migration",
        ),
        pytest.param(change(DEFINITION, ["create"], {}), "no container", id="containers not known before apply"),
    ],
)
def test_a_plan_that_goes_beyond_its_slot_is_refused_by_name(fault: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match=r"The plan of v1\.1\.0 goes beyond its slot") as refusal:
        guard_slot_plan({"resource_changes": [*GOOD, fault]}, EXPECTED)
    assert named in refusal.value.why
    assert "provision" in refusal.value.do


def test_every_fault_is_named_at_once() -> None:
    faults = [change("aws_lb.main", ["delete"], None), service(name="other"), change("aws_iam_role.x", ["create"], {})]
    with pytest.raises(Refused) as refusal:
        guard_slot_plan({"resource_changes": faults}, EXPECTED)
    assert all(name in refusal.value.why for name in ("aws_lb.main", "'other'", "aws_iam_role.x"))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(definition({**CONTAINER, "privileged": True}), id="privileged"),
        pytest.param(
            definition({**CONTAINER, "environment": [*CONTAINER["environment"], {"name": "X", "value": "1"}]}),
            id="a variable that is not declared",
        ),
        pytest.param(
            definition({**CONTAINER, "secrets": [{"name": "KEY", "valueFrom": "arn:other::"}]}),
            id="a secret that is not declared",
        ),
    ],
)
def test_a_container_changes_only_where_a_release_may(fault: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        guard_slot_plan({"resource_changes": [fault]}, EXPECTED)
