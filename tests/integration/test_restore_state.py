"""A slot's state is deleted, broken or replaced, with real Terraform: it is restored, and its plan is empty."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prefect import Task
from prefect.blocks.system import Secret
from prefect.logging import disable_run_logger
from prefect_aws import AwsCredentials
from prefect_docker import DockerHost

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.errors import Refused
from core.history import Attempt, State
from core.record import EnvironmentRecord, Infrastructure, Live
from core.release import Configuration, Release
from core.root_variables import slot_variables
from core.settings import EnvironmentSettings, parse_settings
from core.state_restoration import read_state
from flows.restore_state import restore
from lifecycle.takeover import take_over
from operation.lease import now
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.processes import owner_of
from systems.terraform import state_key
from tasks.plan import apply_plan, init_slot, plan_slot
from tests.integration.stand import REGION, SUBNETS, Emulator, make_stack, running, wait_for
from tests.unit.facts import COMMIT

pytestmark = pytest.mark.integration

ACCOUNT, BUCKET = "000000000000", "cursive-team-connections-state"
KEY = state_key("sandbox", "blue")
SETTINGS = f"""
region = "{REGION}"
aws_account_number = "{ACCOUNT}"
namespace = "cursive-team"
name = "connections"
stage = "sandbox"
state_bucket = "{BUCKET}"

[aws]
endpoint_url = "URL"

[source]
url = "https://git.example.com/cursive-team/connections.git"
github_repository = "cursive-team/connections"

[timing]
poll = 0.05
heartbeat = 1
lease_expiry = 60
consistency = 0.05
vacate = 20
"""


def run_without_prefect(patched: pytest.MonkeyPatch) -> None:
    """Steps are called as they are; what they publish is kept nowhere."""
    patched.setattr(Task, "__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
    patched.setattr("tasks.state.create_markdown_artifact", lambda **_published: None)


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    run_without_prefect(monkeypatch)
    with disable_run_logger():
        yield


def open_as(settings: EnvironmentSettings, url: str, flow: str, run: str) -> Operation:
    """An operation of this process on the emulated account."""
    credentials = AwsCredentials(
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        aws_client_parameters={"endpoint_url": url},
    )
    block = ReleaseEnvironment(
        stage="sandbox",
        aws_credentials=credentials,
        docker_host=DockerHost(),
        webhook_secret=Secret(value="0123456789abcdef"),
    )
    block.__dict__["settings"] = settings
    return open_operation(block, AwsClients(block), owner_of(flow, run, f"{run}-1"))


@dataclass
class Place:
    """An environment with an empty blue slot, and what releases put there."""

    aws: Emulator
    settings: EnvironmentSettings
    runs: int = 0
    good: bytes = b""
    opened: list[Operation] = field(default_factory=list)

    def open(self, flow: str) -> Operation:
        self.runs += 1
        operation = open_as(self.settings, self.aws.url, flow, f"{flow}-{self.runs}")
        self.opened.append(operation)
        operation.records.environment()
        return operation

    def release(self, version: str) -> Operation:
        """Plan and apply a version into blue, as a release does, and record it as live there."""
        operation = self.open("release")
        operation.lease.take(version, lambda _record: None)
        try:
            operation.journal.begin_attempt(version, COMMIT, Colour.BLUE)
            release = release_of(version, operation.infrastructure)
            operation.journal.change(lambda a: a.pinned(release))
            plan = plan_slot(operation, init_slot(operation))
            operation.journal.advance(State.PLANNED)
            apply_plan(operation, plan)
            operation.records.change_environment(lambda r: r.gone_live(live_of(operation.journal.attempt)))
        finally:
            operation.lease.drop()
        self.good = self.content()
        return operation

    def versions(self) -> list[str]:
        """The ids of the state's versions, newest first."""
        found = self.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=KEY)
        return [v["VersionId"] for v in found["Versions"] if v["Key"] == KEY]

    def content(self, version_id: str | None = None) -> bytes:
        asked = {"VersionId": version_id} if version_id else {}
        body: bytes = self.aws.s3.get_object(Bucket=BUCKET, Key=KEY, **asked)["Body"].read()
        return body

    def remember(self) -> None:
        """Take the state as it is now for the good one where it holds the same: a restored one has another serial."""
        now, good = read_state(self.content_or_nothing()), read_state(self.good)
        if not isinstance(now, str) and not isinstance(good, str) and now.resources == good.resources:
            self.good = self.content_or_nothing()

    def content_or_nothing(self) -> bytes:
        try:
            return self.content()
        except self.aws.s3.exceptions.NoSuchKey:
            return b""

    def put_if_changed(self) -> None:
        """Write the state again that the last release left, where it is another."""
        if self.content_or_nothing() != self.good:
            self.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=self.good)

    def close(self) -> None:
        for operation in self.opened:
            operation.close()


def release_of(version: str, infrastructure: Infrastructure) -> Release:
    return Release(
        version=version,
        commit=COMMIT,
        image=f"{infrastructure.ecr_repository_url}@sha256:{'0123456789abcdef' * 4}",
        configuration=Configuration(container_port=8080, cpu=256, memory=512),
    )


def live_of(attempt: Attempt) -> Live:
    assert attempt.release is not None
    assert attempt.colour is not None
    return Live(release=attempt.release, colour=attempt.colour, since=now(), slot=attempt.slot)


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulator, Infrastructure]]:
    with running(tmp_path_factory.mktemp("state")) as aws:
        stack = make_stack(aws, "unused", "connections-sandbox")
        cluster = aws.ecs.create_cluster(clusterName="cursive-team-connections-sandbox")["cluster"]["clusterArn"]
        role = f"arn:aws:iam::{ACCOUNT}:role/cursive-team-connections-sandbox"
        yield (
            aws,
            Infrastructure(
                ecr_repository_url=f"localhost:{aws.port}/cursive-team/connections",
                alb_dns_name="connections-sandbox.alb.localhost",
                production_listener_arn=stack.listener,
                test_listener_arns=dict.fromkeys(Colour, stack.listener),
                target_group_arns={colour: stack.groups[colour.value] for colour in Colour},
                cluster_arn=cluster,
                private_subnet_ids=SUBNETS,
                task_security_group_id=stack.tasks,
                execution_role_arn=f"{role}-execution",
                task_role_arn=f"{role}-task",
                log_group_name="cursive-team-connections-sandbox",
            ),
        )


@pytest.fixture(scope="module")
def released(provisioned: tuple[Emulator, Infrastructure]) -> Iterator[Place]:
    """A bucket with v1.0.0 and then v1.1.0 in blue."""
    aws, infrastructure = provisioned
    aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    made = Place(aws, parse_settings("sandbox", SETTINGS.replace("URL", aws.url)))
    blank = EnvironmentRecord(environment="sandbox", infrastructure=infrastructure, weights=Weights.all_on(Colour.BLUE))
    made.open("provision").records.change_environment(lambda _: blank)
    with pytest.MonkeyPatch.context() as patched, disable_run_logger():
        run_without_prefect(patched)
        made.release("v1.0.0")
        made.release("v1.1.0")
    yield made
    made.close()


@pytest.fixture
def place(released: Place) -> Iterator[Place]:
    """The same for each test: its state is as the last release left it, whatever the test before did to it."""
    released.put_if_changed()
    yield released
    httpx.delete(f"{released.aws.url}/_pointsman/faults", trust_env=False)
    released.remember()


def delete(place: Place) -> None:
    place.aws.s3.delete_object(Bucket=BUCKET, Key=KEY)


def cut_off(place: Place) -> None:
    place.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=place.content()[:700])


def put_back_an_older_one(place: Place) -> None:
    place.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=place.content(place.versions()[-1]))


def write_another_lineage(place: Place) -> None:
    blank = {"version": 4, "terraform_version": "1.11.4", "serial": 99, "lineage": "another", "outputs": {}}
    place.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps({**blank, "resources": []}).encode())


@pytest.mark.parametrize("harm", [delete, cut_off, put_back_an_older_one, write_another_lineage])
def test_a_state_is_restored_and_its_plan_is_empty(place: Place, harm: Callable[[Place], None]) -> None:
    good, before = place.versions()[0], place.content()
    harm(place)
    operation = place.open("restore-state")
    said = restore(operation, "blue", confirm=f"sandbox {good}")
    assert said == f"Version {good} of the state of blue is the newest again; a plan on it changes nothing."
    restored, was = read_state(place.content()), read_state(before)
    assert not isinstance(restored, str)
    assert not isinstance(was, str)
    assert restored.resources == was.resources
    assert restored.lineage == was.lineage
    assert restored.serial > was.serial
    assert operation.records.environment().lease is None


def test_the_next_release_works_and_a_sound_state_is_left_alone(place: Place) -> None:
    good = place.versions()[0]
    delete(place)
    restore(place.open("restore-state"), "blue", confirm=f"sandbox {good}")
    operation = place.release("v1.2.0")
    assert restore(place.open("restore-state"), "blue") == "The state of blue is sound; a plan on it changes nothing."
    services = place.aws.ecs.describe_services(
        cluster=operation.infrastructure.cluster_arn, services=["connections-sandbox-blue"]
    )["services"]
    live = operation.records.environment().live
    assert live is not None
    assert [s["taskDefinition"] for s in services] == [live.definition]
    assert live.release.version == "v1.2.0"


@pytest.mark.parametrize(("harm", "why"), [(delete, "it was deleted"), (cut_off, "it is not JSON")])
def test_a_release_is_refused_before_it_plans_anything(place: Place, harm: Callable[[Place], None], why: str) -> None:
    harm(place)
    with pytest.raises(Refused, match=f"The state of blue is lost or broken: {why}") as caught:
        place.release("v1.2.0")
    assert "python -m flows restore-state sandbox --state blue" in str(caught.value)


# --- killed at each step


CHILD = """
import sys
import pytest
from prefect.logging import disable_run_logger
from core.settings import parse_settings
from flows.restore_state import restore
from tests.integration.test_restore_state import SETTINGS, open_as, run_without_prefect

url, confirm = sys.argv[1:]
with pytest.MonkeyPatch.context() as patched, disable_run_logger():
    run_without_prefect(patched)
    operation = open_as(parse_settings("sandbox", SETTINGS.replace("URL", url)), url, "restore-state", "child")
    print(restore(operation, "blue", confirm=confirm), flush=True)
"""


@pytest.mark.parametrize(
    ("slow", "until"),
    [
        pytest.param({"service": "s3", "action": "ListObjectVersions"}, "survey state", id="survey"),
        pytest.param(
            {"service": "s3", "action": "PutObject", "match": "slot-blue.tfstate"}, "restore state", id="write"
        ),
        pytest.param({"service": "ecs", "action": "DescribeTaskDefinition"}, "see state", id="plan"),
    ],
)
def test_a_restore_that_is_killed_is_finished_when_it_is_run_again(
    place: Place, slow: dict[str, Any], until: str
) -> None:
    good = place.versions()[0]
    delete(place)
    url = f"{place.aws.url}/_pointsman/faults"
    httpx.post(url, json={"effect": "delay:1.5", "times": 0, **slow}, trust_env=False).raise_for_status()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, place.aws.url, f"sandbox {good}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    records = place.open("reconcile").records

    def there() -> bool:
        assert child.poll() is None, child.communicate()
        lease = records.environment().lease
        return lease is not None and lease.step == until

    wait_for(there, f"it is at {until}", 300)
    time.sleep(0.7)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    httpx.delete(url, trust_env=False)
    time.sleep(2)  # a write that was under way lands after its writer's death
    after = place.open("reconcile")
    assert take_over(after) is not None
    assert after.records.environment().lease is None
    assert after.state_locks.read("blue") is None
    said = restore(place.open("restore-state"), "blue", confirm=f"sandbox {good}")
    assert said.endswith("a plan on it changes nothing.")
    assert restore(place.open("restore-state"), "blue").startswith("The state of blue is sound")


# --- the last one: it leaves a state that was imported


def test_where_no_version_is_left_the_imports_bring_back_what_exists(place: Place) -> None:
    found = place.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=KEY)
    for entry in (*found["Versions"], *found.get("DeleteMarkers", [])):
        place.aws.s3.delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    with pytest.raises(Refused, match=r"no version of it is left, although v1\.\d\.0 was applied there"):
        place.release("v1.3.0")
    operation = place.open("restore-state")
    with pytest.raises(Refused, match="no version of it fits: there is none") as caught:
        restore(operation, "blue")
    commands = re.findall(r"terraform import '([^']+)' '([^']+)'", caught.value.do)
    assert [address for address, _ in commands] == [
        "aws_ecs_service.slot",
        "aws_ecs_task_definition.service",
        "aws_ecs_task_definition.migration",
    ]
    workplace = operation.terraform
    root = workplace.open_root("slot", KEY)
    live = operation.records.environment().live
    assert live is not None
    variables = slot_variables(operation.settings, operation.infrastructure, Colour.BLUE, live.release)
    (root.directory / "given.auto.tfvars.json").write_text(json.dumps(variables))
    for address, identity in commands:
        workplace.terraform(root).run("import", address, identity, input=False)
    found_now = read_state(place.content())
    assert not isinstance(found_now, str)
    assert len(found_now.resources) == 3
    said = restore(place.open("restore-state"), "blue")
    assert said.startswith("The state of blue is sound")
    # An import cannot know all that is configured; nothing is made anew or replaced.
    assert "create " not in said
    assert "replace " not in said
