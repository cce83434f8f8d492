"""What runs in a slot: each setting reaches the slot's root and its plan, and a rollback keeps what the record says."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import partial
from typing import Any

import pytest

from core.colour import Colour
from core.container import repository_of
from core.errors import Refused
from core.fargate import fault_of_size
from core.plan_guard import guard_slot_plan
from core.record import EnvironmentRecord
from core.release import Configuration, Pins, Release
from core.root_variables import environment_variables, slot_variables
from core.slot_shape import SlotPlan
from operation.operation import Operation
from tasks.destruction import _slot_variables as slot_variables_of_its_end
from tests.unit.facts import INFRASTRUCTURE, release, settings_with
from tests.unit.test_plan_guard import MIGRATION, TASKS, after, attribute, container, containers, load

OLD = {"container_port": 8080, "cpu": 256, "memory": 512, "variables": {"A": "1"}, "secrets": {"KEY": "arn:key::"}}
"""A configuration as records held it before any of these settings was there."""

CHECK = ["CMD-SHELL", "curl -f http://localhost:8080/ || exit 1"]
# The setting, the variable of the slot's root with its value, and what ECS is told in the application's container.
SETTINGS: list[tuple[str, str, Any, dict[str, Any]]] = [
    ('command = ["node", "web.js"]', "container.command", ["node", "web.js"], {"command": ["node", "web.js"]}),
    ('entry_point = ["tini", "--"]', "container.entry_point", ["tini", "--"], {"entryPoint": ["tini", "--"]}),
    ('user = "1000:1000"', "container.user", "1000:1000", {"user": "1000:1000"}),
    ("stop_timeout = 90", "container.stop_timeout", 90, {"stopTimeout": 90}),
    ("init_process = true", "container.init_process", True, {"linuxParameters": {"initProcessEnabled": True}}),
    (
        "ulimits.nofile = { soft = 4096, hard = 8192 }",
        "container.ulimits",
        {"nofile": {"soft": 4096, "hard": 8192}},
        {"ulimits": [{"name": "nofile", "softLimit": 4096, "hardLimit": 8192}]},
    ),
    (
        f"health_check = {{ command = {json.dumps(CHECK)}, retries = 5 }}",
        "container.health_check",
        {"command": CHECK, "interval": 30, "timeout": 5, "retries": 5, "start_period": 0},
        {"healthCheck": {"command": CHECK, "interval": 30, "timeout": 5, "retries": 5, "startPeriod": 0}},
    ),
    (
        "extra_ports = [9090, 9091]",
        "container.extra_ports",
        [9090, 9091],
        {"portMappings": [{"containerPort": port, "hostPort": port, "protocol": "tcp"} for port in (8080, 9090, 9091)]},
    ),
    ("ephemeral_storage = 50", "ephemeral_storage", 50, {}),
]
each = pytest.mark.parametrize(("setting", "variable", "value", "told"), SETTINGS, ids=[row[1] for row in SETTINGS])


PROXY = "sha256:" + "cd" * 32
BESIDE = """
depends_on = { proxy = "HEALTHY" }
[[service.containers]]
name = "proxy"
image = "public.ecr.aws/x/proxy:1.2"
essential = false
command = ["serve"]
variables = { LEVEL = "info" }
extra_ports = [9000]
health_check = { command = ["CMD", "ok"] }
"""


def configured(setting: str) -> Configuration:
    settings = settings_with(desired_count=f"1\n{setting}", vacate="300")
    return Configuration.of(settings, {}, Pins(images={"public.ecr.aws/x/proxy:1.2": PROXY}))


def given(setting: str, to: Release) -> dict[str, Any]:
    return slot_variables(settings_with(desired_count=f"1\n{setting}", vacate="300"), INFRASTRUCTURE, Colour.GREEN, to)


def at(variables: dict[str, Any], variable: str) -> Any:
    found: Any = variables
    for name in variable.split("."):
        found = found[name]
    return found


@each
def test_the_slot_is_given_what_the_settings_say(setting: str, variable: str, value: Any, told: dict[str, Any]) -> None:
    made = release("v1.0.0").model_copy(update={"configuration": configured(setting)})
    assert at(given(setting, made), variable) == value


@each
def test_a_rollback_gives_what_the_record_says_and_not_the_settings(
    setting: str, variable: str, value: Any, told: dict[str, Any]
) -> None:
    old = release("v1.0.0").model_copy(update={"configuration": Configuration.model_validate(OLD)})
    unset = given("", old)
    assert given(setting, old) == unset, "the settings are newer than the release"
    recorded = Configuration.model_validate_json(configured(setting).model_dump_json())
    kept = given("", old.model_copy(update={"configuration": recorded}))
    assert at(kept, variable) == value
    assert at(kept, variable) != at(unset, variable)


@each
def test_another_way_to_run_is_another_revision(setting: str, variable: str, value: Any, told: dict[str, Any]) -> None:
    assert configured(setting).digest != configured("").digest


@each
def test_a_plan_without_it_is_refused_and_one_with_it_passes(
    setting: str, variable: str, value: Any, told: dict[str, Any]
) -> None:
    plan, expected = load("update")
    unset = expected.release.configuration
    asked = configured(setting)
    wanted = unset.model_copy(update={"container": asked.container, "ephemeral_storage": asked.ephemeral_storage})
    made = expected.release.model_copy(update={"configuration": wanted})
    # The plan is another release's: its revision is the one that a release with the setting has.
    text = json.dumps(plan).replace(expected.release.revision, made.revision)
    plan, asking = json.loads(text), SlotPlan(expected.settings, expected.infrastructure, expected.colour, made)
    with pytest.raises(Refused) as refusal:
        guard_slot_plan(plan, asking)
    assert refusal.value.why.count(TASKS) == 1
    for key, said in told.items():
        container(key, said)(plan)
    if asked.container.user:
        container("user", asked.container.user, MIGRATION)(plan)
    if asked.ephemeral_storage:
        for address in (TASKS, MIGRATION):
            attribute(address, "ephemeral_storage", [{"size_in_gib": asked.ephemeral_storage}])(plan)
    guard_slot_plan(plan, asking)
    with pytest.raises(Refused):
        guard_slot_plan(plan, SlotPlan(expected.settings, expected.infrastructure, expected.colour, expected.release))


# ---- File systems


FILES = """
mounts.files = { path = "/files" }
volumes.files = { file_system = "fs-0a1b2c3d", access_point = "fsap-0a1b2c3d", iam = true }
"""
MOUNTED = [{"sourceVolume": "files", "containerPath": "/files", "readOnly": False}]


def test_a_file_system_reaches_the_slot_and_stays_with_a_rollback() -> None:
    made = release("v1.0.0").model_copy(update={"configuration": configured(FILES)})
    old = release("v1.0.0").model_copy(update={"configuration": Configuration.model_validate(OLD)})
    assert given("", made)["volumes"]["files"]["file_system"] == "fs-0a1b2c3d"
    assert given("", made)["container"]["mounts"] == {"files": {"path": "/files", "read_only": False}}
    assert given(FILES, old) == given("", old)
    assert configured(FILES).digest != configured("").digest


def test_the_guard_takes_the_file_system_of_the_release_and_no_other() -> None:
    plan, expected = load("update")
    asked = configured(FILES)
    wanted = expected.release.configuration.model_copy(update={"container": asked.container, "volumes": asked.volumes})
    made = expected.release.model_copy(update={"configuration": wanted})
    plan = json.loads(json.dumps(plan).replace(expected.release.revision, made.revision))
    asking = SlotPlan(expected.settings, expected.infrastructure, expected.colour, made)
    container("mountPoints", MOUNTED)(plan)
    with pytest.raises(Refused, match=r"service\.volume would become"):
        guard_slot_plan(plan, asking)
    efs = {
        "file_system_id": "fs-0a1b2c3d",
        "root_directory": "/",
        "transit_encryption": "ENABLED",
        "transit_encryption_port": None,
        "authorization_config": [{"access_point_id": "fsap-0a1b2c3d", "iam": "ENABLED"}],
    }
    volume = {"name": "files", "host_path": "", "configure_at_launch": None, "efs_volume_configuration": [efs]}
    attribute(TASKS, "volume", [volume])(plan)
    guard_slot_plan(plan, asking)
    for name, value in (("file_system_id", "fs-ffffffff"), ("transit_encryption", "DISABLED")):
        worse = deepcopy(plan)
        attribute(TASKS, f"volume.0.efs_volume_configuration.0.{name}", value)(worse)
        with pytest.raises(Refused, match=name):
            guard_slot_plan(worse, asking)


def test_policies_of_the_tasks_are_given_to_the_environment_and_to_no_release() -> None:
    policy = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    settings = settings_with(desired_count=f'1\ntask_policies = ["{policy}"]')
    given = environment_variables(settings, EnvironmentRecord(environment="test"), {})
    assert given["task_policy_arns"] == [policy]
    assert Configuration.of(settings, {}) == configured("")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('mounts.files = { path = "/files" }', "files is no volume of service.volumes"),
        ('volumes.files = { file_system = "fs-0a1b2c3d" }', "files is mounted by no container"),
        ('volumes.files = { file_system = "files" }', "service.volumes.files.file_system"),
        ('mounts.files = { path = "files" }', "service.mounts.files.path"),
        (
            'volumes.files = { file_system = "fs-0a1b2c3d", access_point = "fsap-0a1b2c3d", root_directory = "/x" }',
            "root_directory goes without access_point",
        ),
        ('task_policies = ["AmazonS3ReadOnlyAccess"]', "service.task_policies"),
    ],
)
def test_file_systems_and_policies_that_can_t_be_are_refused(setting: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        settings_with(desired_count=f"1\n{setting}")


# ---- Containers beside the application's


def test_a_container_beside_the_application_s_reaches_the_slot_by_its_digest() -> None:
    made = release("v1.0.0").model_copy(update={"configuration": configured(BESIDE)})
    variables = given(BESIDE, made)
    [sidecar] = variables["sidecars"]
    assert sidecar["image"] == f"public.ecr.aws/x/proxy@{PROXY}"
    assert (sidecar["name"], sidecar["essential"], sidecar["command"]) == ("proxy", False, ["serve"])
    assert variables["container"]["depends_on"] == {"proxy": "HEALTHY"}


def test_a_rollback_runs_the_containers_of_the_record_by_their_digests() -> None:
    old = release("v1.0.0").model_copy(update={"configuration": Configuration.model_validate(OLD)})
    assert given(BESIDE, old)["sidecars"] == []
    recorded = Configuration.model_validate_json(configured(BESIDE).model_dump_json())
    [kept] = given("", old.model_copy(update={"configuration": recorded}))["sidecars"]
    assert kept["image"] == f"public.ecr.aws/x/proxy@{PROXY}"


def test_a_tag_that_moved_is_no_other_configuration_and_another_tag_is() -> None:
    unpinned = Configuration.of(settings_with(desired_count=f"1\n{BESIDE}"), {})
    assert unpinned.digest == configured(BESIDE).digest
    assert configured(BESIDE.replace(":1.2", ":1.3")).digest != unpinned.digest
    assert configured("").digest != unpinned.digest


def test_the_guard_takes_the_containers_of_the_release_and_no_other() -> None:
    plan, expected = load("update")
    asked = configured(BESIDE)
    wanted = expected.release.configuration.model_copy(
        update={"container": asked.container, "containers": asked.containers}
    )
    made = expected.release.model_copy(update={"configuration": wanted})
    plan = json.loads(json.dumps(plan).replace(expected.release.revision, made.revision))
    asking = SlotPlan(expected.settings, expected.infrastructure, expected.colour, made)
    with pytest.raises(Refused, match="with 1 entries instead of 2"):
        guard_slot_plan(plan, asking)
    log = json.loads(after(plan, TASKS)["container_definitions"])[0]["logConfiguration"]
    beside = {
        "name": "proxy",
        "image": f"public.ecr.aws/x/proxy@{PROXY}",
        "essential": False,
        "command": ["serve"],
        "environment": [{"name": "LEVEL", "value": "info"}],
        "secrets": [],
        "portMappings": [{"containerPort": 9000, "hostPort": 9000, "protocol": "tcp"}],
        "healthCheck": {"command": ["CMD", "ok"], "interval": 30, "timeout": 5, "retries": 3, "startPeriod": 0},
        "logConfiguration": log,
    }
    container("dependsOn", [{"containerName": "proxy", "condition": "HEALTHY"}])(plan)
    containers(TASKS, lambda found: found.append(beside))(plan)  # `connections` comes before `proxy`
    guard_slot_plan(plan, asking)
    for key, value in (("image", "public.ecr.aws/x/proxy:1.2"), ("privileged", True), ("essential", True)):
        worse = deepcopy(plan)
        containers(TASKS, partial(lambda found, key, value: found[1].update({key: value}), key=key, value=value))(worse)
        with pytest.raises(Refused, match=rf"container_definitions\[1\]\.{key}"):
            guard_slot_plan(worse, asking)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('containers = [{ name = "shop", image = "x:1" }]', "shop is the name of two containers"),
        ('containers = [{ name = "a", image = "x:1" }, { name = "a", image = "x:1" }]', "a is the name of two"),
        ('containers = [{ name = "a", image = "nginx" }]', "'nginx' is not an image by tag or digest"),
        ('containers = [{ name = "a", image = "x:1", extra_ports = [8080] }]', "8080: containers of a task share"),
        ('containers = [{ name = "a", image = "x:1", variables = { "A-B" = "1" } }]', "A-B: a name is letters"),
        (
            'containers = [{ name = "a", image = "x:1", variables = { U = "http://u:p@h/" } }]',
            "U: a URL with credentials",
        ),
        ('depends_on = { gone = "START" }', "shop waits for gone, which is no container of its task"),
        ('containers = [{ name = "a", image = "x:1" }]\ndepends_on = { a = "HEALTHY" }', "which has no health_check"),
        ('containers = [{ name = "a", image = "x:1" }]\ndepends_on = { a = "SUCCESS" }', "whose end is the task's"),
        ('depends_on = { shop = "START" }', "depends_on: shop wait for each other"),
        (
            'depends_on.a = "START"\ncontainers = [{ name = "a", image = "x:1", depends_on = { shop = "START" } }]',
            "a, shop wait for each other",
        ),
        ('depends_on = { a = "READY" }', "service.depends_on.a"),
    ],
)
def test_containers_that_could_not_start_are_refused_with_the_reason(setting: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        settings_with(desired_count=f"1\n{setting}")


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("nginx:1.27", "nginx"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b"),
        ("localhost:5000/a/b@sha256:" + "a" * 64, "localhost:5000/a/b"),
        ("a/b:1@sha256:" + "a" * 64, "a/b"),
    ],
)
def test_a_repository_is_an_image_s_name_without_tag_and_digest(image: str, repository: str) -> None:
    assert repository_of(image) == repository


# ---- Older records


def test_a_release_of_an_older_record_keeps_its_revision() -> None:
    """Its tasks answer with the revision that they were given when it was computed without these settings."""
    old = release("v1.0.0").model_copy(update={"configuration": Configuration.model_validate(OLD)})
    assert old.revision == "9216566cc66b"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('command = ["node", ""]', r"service\.command\.1: .*at least 1 character"),
        ('user = "a b"', r"service\.user"),
        ("stop_timeout = 121", r"service\.stop_timeout: .*less than or equal to 120"),
        ("ulimits.nproc = { soft = 1, hard = 1 }", "nproc: Fargate keeps the system's own limits for all but nofile"),
        ("ulimits.nofile = { soft = 2, hard = 1 }", "soft = 2 is above hard = 1"),
        ('health_check = { command = ["curl", "localhost"] }', "begins with 'curl': ECS needs CMD"),
        ('health_check = { command = ["CMD-SHELL", "curl", "x"] }', "CMD-SHELL takes one line"),
        ('health_check = { command = ["CMD", "true"], interval = 3 }', r"health_check\.interval"),
        ("extra_ports = [9090, 9090]", "9090 appears twice"),
        ("extra_ports = [8080]", "8080 is in both container_port and extra_ports"),
        ("ephemeral_storage = 20", r"ephemeral_storage: .*greater than or equal to 21"),
        ("ephemeral_storage = 201", r"ephemeral_storage: .*less than or equal to 200"),
        ("cpu = 300", "cpu = 300 is not a size that Fargate offers: 256, 512, 1024, 2048, 4096, 8192, 16384"),
        ("memory = 4096", "memory = 4096 does not go with cpu = 256 on Fargate, which offers 512, 1024 or 2048 MiB"),
        ("cpu = 8192\nmemory = 20000", "offers 16384 to 61440 in steps of 4096 MiB"),
    ],
)
def test_what_fargate_does_not_have_is_refused_with_the_reason(setting: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        settings_with(desired_count=f"1\n{setting}")


def test_a_task_that_takes_longer_to_stop_than_a_slot_may_take_to_drain_is_refused() -> None:
    slow = "\n[provision.environment]\nderegistration_delay_seconds = 200\n"
    patient = settings_with(slow, desired_count="1\nstop_timeout = 90", vacate="300")
    assert patient.service.stop_timeout == 90
    with pytest.raises(Refused, match=r"timing.vacate \(300 s\) must be longer than .* together \(310 s\)"):
        settings_with(slow, desired_count="1\nstop_timeout = 110", vacate="300")


@pytest.mark.parametrize(
    ("cpu", "memory", "offered"),
    [
        (256, 512, True),
        (256, 1536, False),
        (512, 512, False),
        (512, 4096, True),
        (1024, 2048, True),
        (2048, 16384, True),
        (2048, 17408, False),
        (4096, 30720, True),
        (8192, 16384, True),
        (8192, 17408, False),
        (16384, 122880, True),
        (16384, 61440, False),
        (32768, 122880, False),
    ],
)
def test_sizes_are_those_of_fargate_s_table(cpu: int, memory: int, offered: bool) -> None:
    assert (fault_of_size(cpu, memory) is None) is offered


SIDECARS = """
[[service.containers]]
name = "ours"
image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/proxy:1.2"

[[service.containers]]
name = "public"
image = "public.ecr.aws/x/proxy:1.2"
"""


def test_the_pipeline_may_pull_the_sidecars_of_its_own_registry_which_it_pins() -> None:
    given = environment_variables(settings_with(SIDECARS), EnvironmentRecord(environment="test"), {})
    assert given["base_image_repositories"] == ["team/proxy"]


def test_a_slot_s_end_asks_for_no_digest_of_a_sidecar(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(operation), "settings", settings_with(SIDECARS))
    given = slot_variables_of_its_end(operation, Colour.BLUE)
    assert given["sidecars"] == []
    assert given["image"].endswith(f"@sha256:{'0' * 64}")
