"""What a release's plan may change: its slot, and there only what a release is made of.

The plans are Terraform's own, of a sandbox: a slot's first release, its second, a rollback, and a service taken in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.colour import Colour
from core.errors import Refused
from core.plan_guard import SlotPlan, guard_slot_plan
from core.record import Infrastructure
from core.release import Configuration, Release
from core.settings import parse_settings

PLANS = Path(__file__).parent / "plans"
SERVICE, TASKS, MIGRATION = (
    "aws_ecs_service.slot",
    "aws_ecs_task_definition.service",
    "aws_ecs_task_definition.migration",
)
SETTINGS = parse_settings(
    "sandbox",
    """
region = "ap-southeast-1"
aws_account_number = "000000000000"
namespace = "cursive-team"
name = "connections"
stage = "sandbox"
state_bucket = "cursive-team-connections-state"

[aws]
endpoint_url = "http://127.0.0.1:4566"

[source]
url = "https://github.com/cursive-team/connections.git"
github_repository = "cursive-team/connections"

[migration]
command = ["prisma", "migrate", "deploy"]
""",
)
INFRASTRUCTURE = Infrastructure.model_validate_json((PLANS / "infrastructure.json").read_text())
FOREIGN_ARN = "arn:aws:secretsmanager:ap-southeast-1:000000000000:secret:payroll-production-a1b2c3:KEY::"

Plan = dict[str, Any]
Mutation = Callable[[Plan], None]


def load(name: str) -> tuple[Plan, SlotPlan]:
    """A plan of Terraform's, and what was released by it."""
    plan: Plan = json.loads((PLANS / f"{name}.json").read_text())
    given = {key: variable["value"] for key, variable in plan["variables"].items()}
    release = Release(
        version=given["release_version"],
        commit="c0ffee",
        image=given["image"],
        configuration=Configuration(
            container_port=given["container_port"],
            cpu=given["cpu"],
            memory=given["memory"],
            variables=given["environment_variables"],
            secrets=given["secrets"],
        ),
    )
    return plan, SlotPlan(SETTINGS, INFRASTRUCTURE, Colour(given["colour"]), release)


def resource(plan: Plan, address: str) -> Any:
    return next(change for change in plan["resource_changes"] if change["address"] == address)


def after(plan: Plan, address: str) -> Any:
    return resource(plan, address)["change"]["after"]


def attribute(address: str, name: str, value: Any) -> Mutation:
    def mutate(plan: Plan) -> None:
        place = after(plan, address)
        *way, last = name.split(".")
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value

    return mutate


service = partial(attribute, SERVICE)
tasks = partial(attribute, TASKS)


def containers(address: str, change: Callable[[Any], Any]) -> Mutation:
    def mutate(plan: Plan) -> None:
        place = after(plan, address)
        found = json.loads(place["container_definitions"])
        changed = change(found)
        place["container_definitions"] = json.dumps(found if changed is None else changed)

    return mutate


def container(name: str, value: Any, address: str = TASKS) -> Mutation:
    return containers(address, lambda found: found[0].update({name: value}))


def variable(name: str, value: str) -> Mutation:
    """The container's variable written anew."""

    def change(found: Any) -> None:
        pair = next(pair for pair in found[0]["environment"] if pair["name"] == name)
        pair["value"] = value

    return containers(TASKS, change)


def more(name: str, pair: Any) -> Mutation:
    return containers(TASKS, lambda found: found[0][name].append(pair))


def of_change(address: str, name: str, value: Any) -> Mutation:
    return lambda plan: resource(plan, address)["change"].update({name: value})


def of_resource(address: str, name: str, value: Any) -> Mutation:
    return lambda plan: resource(plan, address).update({name: value})


def of_plan(name: str, value: Any) -> Mutation:
    return lambda plan: plan.update({name: value})


def unknown(address: str, name: str) -> Mutation:
    return lambda plan: resource(plan, address)["change"]["after_unknown"].update({name: True})


def another(address: str, actions: list[str], **facts: Any) -> Mutation:
    change = {"address": address, "mode": "managed", "change": {"actions": actions, "before": {}, "after": {}}, **facts}
    return lambda plan: plan["resource_changes"].append(change)


def reference(plan: Plan) -> None:
    found = next(r for r in plan["configuration"]["root_module"]["resources"] if r["address"] == SERVICE)
    found["expressions"]["task_definition"] = {"references": ["var.task_definition"]}


def foreign_definition(plan: Plan) -> None:
    resource(plan, SERVICE)["change"]["after_unknown"]["task_definition"] = False
    after(plan, SERVICE)["task_definition"] = (
        "arn:aws:ecs:ap-southeast-1:000000000000:task-definition/cursive-team-connections-sandbox-blue:1"
    )


def deregistering(plan: Plan) -> None:
    resource(plan, TASKS)["change"]["before"]["skip_destroy"] = False


@pytest.mark.parametrize("name", ["create", "update", "rollback", "adopt"])
def test_the_plans_of_real_releases_pass(name: str) -> None:
    guard_slot_plan(*load(name))


def test_a_plan_that_changes_nothing_passes() -> None:
    plan, expected = load("update")
    for address, family in ((TASKS, "blue"), (MIGRATION, "blue-migration")):
        start = f"arn:aws:ecs:ap-southeast-1:000000000000:task-definition/cursive-team-connections-sandbox-{family}"
        known = {"arn": f"{start}:3", "arn_without_revision": start, "revision": 3, "id": start.rpartition("/")[2]}
        after(plan, address).update(known, enable_fault_injection=False)
        resource(plan, address)["change"].update(actions=["no-op"], after_unknown={})
    resource(plan, SERVICE)["change"].update(actions=["no-op"], after_unknown={})
    after(plan, SERVICE)["task_definition"] = after(plan, TASKS)["arn"]
    guard_slot_plan(plan, expected)


def test_what_ecs_adds_to_a_container_of_its_own_passes() -> None:
    plan, expected = load("update")
    added = {"cpu": 0, "mountPoints": [], "volumesFrom": [], "systemControls": []}
    containers(TASKS, lambda found: found[0].update(added))(plan)
    containers(TASKS, lambda found: found[0]["environment"].reverse())(plan)
    guard_slot_plan(plan, expected)


SECRET_OPTION = {"logDriver": "awslogs", "secretOptions": [{"name": "x", "valueFrom": FOREIGN_ARN}]}
MUTATIONS: list[tuple[str, Mutation]] = [
    # the service
    ("name", service("name", "connections-sandbox-green")),
    ("cluster", service("cluster", "arn:aws:ecs:ap-southeast-1:000000000000:cluster/payroll")),
    ("id", service("id", "arn:aws:ecs:ap-southeast-1:000000000000:service/payroll/api")),
    ("task_definition", service("task_definition", "payroll-production:7")),
    ("task_definition", foreign_definition),
    ("task_definition", reference),
    ("desired_count", service("desired_count", 50)),
    ("launch_type", service("launch_type", "EC2")),
    ("platform_version", service("platform_version", "1.3.0")),
    ("scheduling_strategy", service("scheduling_strategy", "DAEMON")),
    ("iam_role", service("iam_role", "arn:aws:iam::000000000000:role/admin")),
    ("enable_execute_command", service("enable_execute_command", True)),
    ("enable_execute_command", unknown(SERVICE, "enable_execute_command")),
    ("force_delete", service("force_delete", True)),
    ("force_new_deployment", service("force_new_deployment", True)),
    ("triggers", service("triggers", {"now": "1"})),
    ("propagate_tags", service("propagate_tags", "SERVICE")),
    ("deployment_controller[0].type", service("deployment_controller.0.type", "EXTERNAL")),
    ("deployment_circuit_breaker[0].rollback", service("deployment_circuit_breaker.0.rollback", True)),
    ("deployment_minimum_healthy_percent", service("deployment_minimum_healthy_percent", 0)),
    ("deployment_maximum_percent", service("deployment_maximum_percent", 1_000)),
    ("health_check_grace_period_seconds", service("health_check_grace_period_seconds", 3_600)),
    ("network_configuration[0].assign_public_ip", service("network_configuration.0.assign_public_ip", True)),
    ("network_configuration[0].subnets", service("network_configuration.0.subnets", ["subnet-0f0f"])),
    ("network_configuration[0].security_groups", service("network_configuration.0.security_groups", ["sg-0f0f"])),
    ("load_balancer[0].target_group_arn", service("load_balancer.0.target_group_arn", "arn:green")),
    ("load_balancer[0].container_name", service("load_balancer.0.container_name", "cuckoo")),
    ("load_balancer[0].container_port", service("load_balancer.0.container_port", 22)),
    ("load_balancer[0].elb_name", service("load_balancer.0.elb_name", "classic")),
    ("load_balancer", service("load_balancer", [])),
    ("capacity_provider_strategy", service("capacity_provider_strategy", [{"capacity_provider": "SPOT"}])),
    ("service_registries", service("service_registries", [{"registry_arn": "arn:x"}])),
    ("service_connect_configuration", service("service_connect_configuration", [{"enabled": True}])),
    ("volume_configuration", service("volume_configuration", [{"name": "disk"}])),
    ("vpc_lattice_configurations", service("vpc_lattice_configurations", [{"role_arn": "arn:x"}])),
    ("placement_constraints", service("placement_constraints", [{"type": "memberOf"}])),
    ("alarms", service("alarms", [{"enable": True}])),
    ("tags_all.Stage", service("tags_all.Stage", "production")),
    ("tags", service("tags", {"Stage": "production"})),
    ("propagate_tags", service("propagate_tags", "SERVICE")),
    ("propagate_tags", service("propagate_tags", None)),
    ("enable_ecs_managed_tags", service("enable_ecs_managed_tags", False)),
    # the definitions
    ("family", tasks("family", "payroll-production")),
    ("task_role_arn", tasks("task_role_arn", "arn:aws:iam::000000000000:role/OrganizationAccountAccessRole")),
    ("execution_role_arn", tasks("execution_role_arn", "arn:aws:iam::000000000000:role/payroll-execution")),
    ("tags", tasks("tags", {"CostCentre": "somebody"})),
    ("tags_all.CostCentre", tasks("tags_all.CostCentre", "somebody")),
    ("network_mode", tasks("network_mode", "host")),
    ("pid_mode", tasks("pid_mode", "host")),
    ("ipc_mode", tasks("ipc_mode", "host")),
    ("cpu", tasks("cpu", "4096")),
    ("memory", tasks("memory", "8192")),
    ("requires_compatibilities", tasks("requires_compatibilities", ["EC2"])),
    ("runtime_platform[0].cpu_architecture", tasks("runtime_platform.0.cpu_architecture", "ARM64")),
    ("volume", tasks("volume", [{"name": "efs", "efs_volume_configuration": [{"file_system_id": "fs-1"}]}])),
    ("ephemeral_storage", tasks("ephemeral_storage", [{"size_in_gib": 200}])),
    ("proxy_configuration", tasks("proxy_configuration", [{"container_name": "envoy"}])),
    ("enable_fault_injection", tasks("enable_fault_injection", True)),
    ("track_latest", tasks("track_latest", True)),
    ("skip_destroy", tasks("skip_destroy", False)),
    ("skip_destroy", deregistering),
    # their containers
    ("container_definitions", tasks("container_definitions", "null")),
    ("container_definitions", tasks("container_definitions", None)),
    ("container_definitions", tasks("container_definitions", "{}")),
    ("container_definitions", tasks("container_definitions", "not JSON")),
    ("container_definitions", unknown(TASKS, "container_definitions")),
    ("container_definitions", containers(TASKS, lambda _: [])),
    ("container_definitions", containers(TASKS, lambda found: [*found, {**found[0], "name": "sidecar"}])),
    ("container_definitions[0]", containers(TASKS, lambda _: [None])),
    ("container_definitions[0].name", container("name", "cuckoo")),
    ("container_definitions[0].image", container("image", "evil@sha256:00")),
    ("container_definitions[0].image", container("image", "localhost:4566/cursive-team/connections:v1.2.0")),
    ("container_definitions[0].image", container("image", "evil@sha256:00", MIGRATION)),
    ("container_definitions[0].Image", container("Image", "evil@sha256:00")),
    ("container_definitions[0].essential", container("essential", False)),
    ("container_definitions[0].command", container("command", ["sh", "-c", "env"])),
    ("container_definitions[0].command", container("command", ["sh", "-c", "env"], MIGRATION)),
    ("container_definitions[0].entryPoint", container("entryPoint", ["sh"])),
    ("container_definitions[0].entryPoint", container("entryPoint", ["sh"], MIGRATION)),
    ("container_definitions[0].user", container("user", "0:0")),
    ("container_definitions[0].privileged", container("privileged", True)),
    ("container_definitions[0].linuxParameters", container("linuxParameters", {"capabilities": {"add": ["ALL"]}})),
    ("container_definitions[0].mountPoints", container("mountPoints", [{"sourceVolume": "efs"}])),
    ("container_definitions[0].environmentFiles", container("environmentFiles", [{"value": "arn:x"}])),
    ("container_definitions[0].repositoryCredentials", container("repositoryCredentials", {"x": "arn:x"})),
    ("container_definitions[0].portMappings[0].hostPort", container("portMappings", [{"hostPort": 22}])),
    ("container_definitions[0].logConfiguration.secretOptions", container("logConfiguration", SECRET_OPTION)),
    ("container_definitions[0].logConfiguration.logDriver", container("logConfiguration", {"logDriver": "splunk"})),
    ("container_definitions[0].workingDirectory", container("workingDirectory", "/tmp")),
    ("container_definitions[0].stopTimeout", container("stopTimeout", 120)),
    ("container_definitions[0].environment.POINTSMAN_REVISION", variable("POINTSMAN_REVISION", "000000000000")),
    ("container_definitions[0].environment.POINTSMAN_VERSION", variable("POINTSMAN_VERSION", "v9.9.9")),
    ("container_definitions[0].environment.POINTSMAN_COLOUR", variable("POINTSMAN_COLOUR", "green")),
    ("container_definitions[0].environment.LOG_LEVEL", variable("LOG_LEVEL", "trace")),
    ("gain NODE_OPTIONS", more("environment", {"name": "NODE_OPTIONS", "value": "--require=/evil"})),
    ("LOG_LEVEL 2 times", more("environment", {"name": "LOG_LEVEL", "value": "info"})),
    ("container_definitions[0].environment", more("environment", {"name": "X", "value": "1", "valueFrom": "y"})),
    ("lack LOG_LEVEL", containers(TASKS, lambda found: found[0]["environment"].pop(0) and None)),
    ("gain API_KEY", more("secrets", {"name": "API_KEY", "valueFrom": FOREIGN_ARN})),
    ("DATABASE_URL 2 times", more("secrets", {"name": "DATABASE_URL", "valueFrom": FOREIGN_ARN})),
    ("secrets.DATABASE_URL", container("secrets", [{"name": "DATABASE_URL", "valueFrom": FOREIGN_ARN}])),
    # what would be done
    ("would be deleted", of_change(SERVICE, "actions", ["delete"])),
    ("would be deleted and created", of_change(SERVICE, "actions", ["delete", "create"])),
    ("would be created and deleted", of_change(SERVICE, "actions", ["create", "delete"])),
    ("would be forget", of_change(SERVICE, "actions", ["forget"])),
    ("aws_ecs_task_definition.service would be updated", of_change(TASKS, "actions", ["update"])),
    ("aws_ecs_task_definition.migration would be deleted", of_change(MIGRATION, "actions", ["delete"])),
    ("imported from 'payroll/api'", of_change(SERVICE, "importing", {"id": "payroll/api"})),
    ("imported from", of_change(TASKS, "importing", {"id": "arn:x"})),
    ("generated_config", of_change(SERVICE, "generated_config", "resource {}")),
    ("previous_address", of_resource(SERVICE, "previous_address", "aws_ecs_service.other")),
    ("deposed", of_resource(SERVICE, "deposed", "0a1b2c3d")),
    ("module_address", of_resource(SERVICE, "module_address", "module.evil")),
    ("provider_name", of_resource(SERVICE, "provider_name", "registry.terraform.io/evil/aws")),
    ("provider_name", of_resource(TASKS, "provider_name", "registry.terraform.io/evil/aws")),
    ("mode", of_resource(SERVICE, "mode", "data")),
    # other resources
    ("data.aws_iam_role.x", another("data.aws_iam_role.x", ["delete"], mode="data")),
    ("data.external.x", another("data.external.x", ["read"], mode="data")),
    ("aws_lb.main", another("aws_lb.main", ["no-op"], previous_address="aws_lb.old")),
    ("aws_lb_listener.production", another("aws_lb_listener.production", ["update"])),
    ("aws_security_group.tasks", another("aws_security_group.tasks", ["create"])),
    ("aws_iam_role.task", another("aws_iam_role.task", ["update"])),
    ("aws_db_instance.main", another("aws_db_instance.main", ["delete"])),
    ("aws_ecs_service.slot[0]", another("aws_ecs_service.slot[0]", ["create"])),
    ("module.slot.aws_ecs_service.slot", another("module.slot.aws_ecs_service.slot", ["update"])),
    ("aws_ecs_service.slot appears 2 times", another(SERVICE, ["update"])),
    ("aws_ecs_task_definition.migration appears 0 times", lambda plan: plan["resource_changes"].pop(1) and None),
    # the plan
    ("resource_changes", lambda plan: plan.pop("resource_changes") and None),
    ("format_version", of_plan("format_version", "2.0")),
    ("format_version", lambda plan: plan.pop("format_version") and None),
    ("errored", of_plan("errored", True)),
    ("complete", of_plan("complete", False)),
    ("deferred_changes", of_plan("deferred_changes", [{"reason": "provider_config_unknown"}])),
    ("action_invocations", of_plan("action_invocations", [{"address": "action.evil"}])),
    ("output.service_name", lambda plan: plan["output_changes"]["service_name"].update(after="payroll")),
    ("output.other", lambda plan: plan["output_changes"].update(other={"actions": ["create"], "after": 1})),
]


@pytest.mark.parametrize("name", ["update", "rollback"])
@pytest.mark.parametrize(("named", "mutate"), MUTATIONS, ids=[f"{n}-{named}" for n, (named, _) in enumerate(MUTATIONS)])
def test_one_change_of_a_real_plan_is_refused_by_name(name: str, named: str, mutate: Mutation) -> None:
    plan, expected = load(name)
    before = deepcopy(plan)
    mutate(plan)
    assert plan != before
    with pytest.raises(Refused, match=r"The plan for v1\.\d\.0 changes more than its slot") as refusal:
        guard_slot_plan(plan, expected)
    assert named in refusal.value.why
    assert "provision" in refusal.value.do


def test_a_first_release_starts_no_task() -> None:
    plan, expected = load("create")
    service("desired_count", 2)(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert "aws_ecs_service.slot.desired_count would become 2, not 0" in refusal.value.why


def test_what_would_become_of_an_attribute_is_said() -> None:
    plan, expected = load("update")
    service("network_configuration.0.assign_public_ip", True)(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert refusal.value.why == f"{SERVICE}.network_configuration[0].assign_public_ip would become true, not false"


def without(*way: str) -> Mutation:
    """A part of the plan's configuration that is not there."""

    def mutate(plan: Plan) -> None:
        place = plan
        for step in way[:-1]:
            place = place[step]
        del place[way[-1]]

    return mutate


def of_configured(change: Callable[[Any], object]) -> Mutation:
    """Another configuration of the service."""

    def mutate(plan: Plan) -> None:
        found = plan["configuration"]["root_module"]["resources"]
        change(next(resource for resource in found if resource["address"] == SERVICE))

    return mutate


def is_not_there(address: str) -> Mutation:
    def mutate(plan: Plan) -> None:
        plan["resource_changes"] = [r for r in plan["resource_changes"] if r["address"] != address]

    return mutate


def both(*mutations: Mutation) -> Mutation:
    def mutate(plan: Plan) -> None:
        for one in mutations:
            one(plan)

    return mutate


DEFINED_ELSEWHERE = f"{SERVICE}.task_definition would become what None gives, not {TASKS}.arn"


@pytest.mark.parametrize(
    ("mutate", "why"),
    [
        (
            lambda plan: plan["resource_changes"].append({"address": "aws_lb.x"}),
            "aws_lb.x would be changed (?), which is not part of a slot",
        ),
        (
            another("aws_lb.x", ["delete", "create"]),
            "aws_lb.x would be changed (delete and create), which is not part of a slot",
        ),
        (another("aws_lb.x", [], change={}), "aws_lb.x would be changed (?), which is not part of a slot"),
        (of_change(TASKS, "actions", ["forget"]), f"{TASKS} would be forget"),
        (of_change(TASKS, "actions", None), f"{TASKS} would be ?"),
        (of_change(TASKS, "actions", ["update", "read"]), f"{TASKS} would be updated and read"),
        (lambda plan: resource(plan, MIGRATION).pop("change"), f"{MIGRATION} would be ?"),
        (of_resource(SERVICE, "mode", "data"), f"{SERVICE}: mode is 'data', not 'managed'"),
        (of_resource(SERVICE, "type", "aws_lb"), f"{SERVICE}: type is 'aws_lb', not 'aws_ecs_service'"),
        (of_resource(SERVICE, "name", "main"), f"{SERVICE}: name is 'main', not 'slot'"),
        (without("configuration"), DEFINED_ELSEWHERE),
        (without("configuration", "root_module"), DEFINED_ELSEWHERE),
        (without("configuration", "root_module", "resources"), DEFINED_ELSEWHERE),
        (lambda plan: plan["configuration"]["root_module"].update(resources=[]), DEFINED_ELSEWHERE),
        (of_configured(lambda found: found.pop("expressions")), DEFINED_ELSEWHERE),
        (of_configured(lambda found: found["expressions"].pop("task_definition")), DEFINED_ELSEWHERE),
        (is_not_there(SERVICE), f"{SERVICE} appears 0 times"),
        (of_plan("errored", None), "errored is not false: Terraform did not finish the plan"),
        (of_plan("complete", None), "complete is not true: the plan defers some changes"),
        (without("resource_changes"), "resource_changes is missing"),
        (
            both(of_plan("errored", True), of_plan("complete", False)),
            "errored is not false: Terraform did not finish the plan; "
            "complete is not true: the plan defers some changes",
        ),
    ],
)
def test_a_plan_that_is_not_whole_is_refused_and_breaks_nothing(mutate: Mutation, why: str) -> None:
    plan, expected = load("update")
    mutate(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert refusal.value.why == why


def test_a_service_whose_definition_is_not_in_the_plan_is_refused() -> None:
    plan, expected = load("update")
    both(foreign_definition, is_not_there(TASKS))(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert f"{TASKS} appears 0 times" in refusal.value.why
    assert f"which is not {TASKS}.arn" in refusal.value.why


@pytest.mark.parametrize("version", ["1.0", "1.2.1"])
def test_every_format_of_the_first_kind_is_read(version: str) -> None:
    plan, expected = load("update")
    plan["format_version"] = version
    guard_slot_plan(plan, expected)


ROLE = "arn:aws:iam::000000000000:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"


@pytest.mark.parametrize(
    ("address", "name", "value"),
    [
        *((SERVICE, "platform_version", value) for value in ("LATEST", "1.4.0", None)),
        *((SERVICE, "availability_zone_rebalancing", value) for value in ("DISABLED", None)),
        *((SERVICE, "iam_role", value) for value in (ROLE, "aws-service-role", None)),
        *((TASKS, "enable_fault_injection", value) for value in (False, None)),
    ],
)
def test_what_aws_fills_in_of_its_own_passes(address: str, name: str, value: object) -> None:
    plan, expected = load("update")
    attribute(address, name, value)(plan)
    resource(plan, address)["change"]["after_unknown"].pop(name, None)
    guard_slot_plan(plan, expected)


def test_tags_of_the_settings_are_those_of_the_definitions() -> None:
    plan, expected = load("update")
    provision = SETTINGS.provision.model_copy(update={"environment": {"tags": {"CostCentre": "platform"}}})
    settings = SETTINGS.model_copy(update={"provision": provision})
    tagged = SlotPlan(settings, INFRASTRUCTURE, expected.colour, expected.release)
    with pytest.raises(Refused, match="tags"):
        guard_slot_plan(plan, tagged)
    for address in (TASKS, MIGRATION):
        attribute(address, "tags", {"CostCentre": "platform"})(plan)
        attribute(address, "tags_all.CostCentre", "platform")(plan)
    guard_slot_plan(plan, tagged)


def test_an_entry_point_of_the_settings_is_the_migration_s() -> None:
    plan, expected = load("update")
    migration = SETTINGS.migration.model_copy(update={"entry_point": ["sh", "-c"]})
    with_one = SlotPlan(
        SETTINGS.model_copy(update={"migration": migration}), INFRASTRUCTURE, expected.colour, expected.release
    )
    with pytest.raises(Refused, match="entryPoint"):
        guard_slot_plan(plan, with_one)
    container("entryPoint", ["sh", "-c"], MIGRATION)(plan)
    guard_slot_plan(plan, with_one)


def test_a_revision_is_described_to_the_reader() -> None:
    plan, expected = load("update")
    tasks("arn", "arn:x")(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    start = "arn:aws:ecs:ap-southeast-1:000000000000:task-definition/cursive-team-connections-sandbox"
    assert f'{TASKS}.arn would become "arn:x", not {start}' in refusal.value.why


def test_values_of_variables_are_not_repeated() -> None:
    plan, expected = load("update")
    variable("LOG_LEVEL", "hunter2")(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert "hunter2" not in str(refusal.value)


def test_every_fault_is_named_at_once() -> None:
    plan, expected = load("update")
    for mutate in (another("aws_lb.main", ["delete"]), service("name", "other"), tasks("task_role_arn", "arn:x")):
        mutate(plan)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert all(name in refusal.value.why for name in ("aws_lb.main", "slot.name", "task_role_arn"))


def test_what_stands_behind_another_resource_is_looked_at_too() -> None:
    plan, expected = load("update")
    service("name", "other")(plan)
    plan["resource_changes"].insert(0, {"address": "aws_lb.x", "change": {"actions": ["delete"]}})
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, expected)
    assert "aws_lb.x" in refusal.value.why
    assert f"{SERVICE}.name" in refusal.value.why


def test_a_record_that_leads_elsewhere_does_not_make_its_plan_right() -> None:
    plan, expected = load("update")
    foreign = "arn:aws:iam::000000000000:role/OrganizationAccountAccessRole"
    tasks("task_role_arn", foreign)(plan)
    led = SlotPlan(
        expected.settings,
        expected.infrastructure.model_copy(update={"task_role_arn": foreign}),
        expected.colour,
        expected.release,
    )
    with pytest.raises(Refused, match=r"task_role_arn|goes beyond") as refusal:
        guard_slot_plan(plan, led)
    assert "task_role_arn" in refusal.value.why


def test_an_image_of_another_registry_is_refused_whatever_the_record_says() -> None:
    plan, expected = load("update")
    ours = expected.release.image
    foreign = expected.release.model_copy(update={"image": ours.replace("localhost", "registry.example.com")})
    text = json.dumps(plan).replace(ours, foreign.image).replace(expected.release.revision, foreign.revision)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(json.loads(text), SlotPlan(SETTINGS, INFRASTRUCTURE, expected.colour, foreign))
    assert refusal.value.why == f"{foreign.image} is not from {INFRASTRUCTURE.ecr_repository_url}"


def test_a_slow_start_s_grace_period_is_the_one_of_the_settings() -> None:
    plan, expected = load("create")
    slow = SETTINGS.model_copy(update={"service": SETTINGS.service.model_copy(update={"grace_period": 300})})
    patient = SlotPlan(slow, INFRASTRUCTURE, expected.colour, expected.release)
    with pytest.raises(Refused, match="health_check_grace_period_seconds"):
        guard_slot_plan(plan, patient)
    resource(plan, SERVICE)["change"]["after"]["health_check_grace_period_seconds"] = 300
    guard_slot_plan(plan, patient)


def test_the_architecture_is_the_one_of_the_release_and_no_other() -> None:
    plan, expected = load("create")
    arm = expected.release.configuration.model_copy(update={"cpu_architecture": "ARM64"})
    release = expected.release.model_copy(update={"configuration": arm})
    wanted = SlotPlan(SETTINGS, INFRASTRUCTURE, expected.colour, release)
    with pytest.raises(Refused, match=r"runtime_platform\[0\]\.cpu_architecture would become .X86_64., not .ARM64."):
        guard_slot_plan(plan, wanted)
    for address in (TASKS, MIGRATION):
        resource(plan, address)["change"]["after"]["runtime_platform"][0]["cpu_architecture"] = "ARM64"
    # All that is left is the revision, which the plan's variables do not follow here.
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, wanted)
    assert "cpu_architecture" not in refusal.value.why
