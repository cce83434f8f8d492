"""A whole life under the roles, with authorization in force: what they are granted is enough, and all of it is used.

It has a sandbox of its own, in which the worker may do nothing but assume the roles.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from core.history import State
from sandbox.operator import Operator, fault
from sandbox.parts import Sandbox
from systems.process_table import carrying
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PREFIX = "cursive-team-connections-sandbox"
SLOW = fault("delay:0.3", "s3", "PutObject", "releases/sandbox")

# Granted and not asked for in this life, with the reason; an entry that is asked for after all fails as well.
_BOTH = {
    "elasticloadbalancing:DescribeLoadBalancers": "preflight compares the application's name with the load balancer's",
    "elasticloadbalancing:ModifyTargetGroup": "a version with another health check than the slot's last sets its own",
    "ecs:StopTask": "a migration that takes too long, or that a dead run left at work, is stopped",
}
UNUSED: dict[str, dict[str, str]] = {
    "pipeline": _BOTH,
    "reconciler": {
        **_BOTH,
        "logs:GetLogEvents": "completing a cold rollback reads the last lines of a task that fails",
        "logs:DescribeLogStreams": "completing a cold rollback reads the last lines of a task that fails",
        "s3:GetObjectVersion": "completing a cold rollback looks whether the slot's state is lost",
    },
}
BY_CHANCE = {"s3:GetObjectVersion", "logs:GetLogEvents", "logs:DescribeLogStreams", "ecs:StopTask"}
"""What cleaning up needs depends on how far the dead run had come: used in one life, and not in the next."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    offset = int(os.environ.get("POINTSMAN_SANDBOX_PORT_OFFSET") or 0) + 500
    environ = {"POINTSMAN_SANDBOX_AUTH": "1", "POINTSMAN_SANDBOX_PORT_OFFSET": str(offset)}
    started = Sandbox(tmp_path_factory.mktemp("under-roles"), environ=environ)
    try:
        started.up()
        yield started
    finally:
        started.down()


@pytest.fixture(scope="module")
def life(sandbox: Sandbox) -> Operator:
    """An environment that was provisioned, released to, rolled back, cleaned up after and retired."""
    operator = Operator(sandbox)
    provisioned = operator.provision(timeout=600)
    assert provisioned.type == "COMPLETED", provisioned.message
    for version in ("v1.0.0", "v1.1.0"):
        complete(operator, operator.deliver(version, operator.push(version)))
    complete(operator, operator.run("rollback"))  # warm
    assert operator.live == "v1.0.0"
    complete(operator, operator.run("retire", at_once=True))
    complete(operator, operator.run("rollback", to_version="v1.1.0"))  # cold
    assert operator.live == "v1.1.0"
    operator.push("v1.1.0", tag="v1.2.0")
    kill_at(operator, operator.run("release", tag="v1.2.0"), "start", tag="v1.2.0")
    settled(operator)
    assert (operator.live, operator.history("v1.2.0").state) == ("v1.1.0", State.FAILED)
    complete(operator, operator.run("retire", at_once=True))
    kill_at(operator, operator.run("rollback", to_version="v1.0.0"), "vacate")
    settled(operator)
    assert operator.live == "v1.0.0"
    complete(operator, operator.run("status"))
    return operator


def complete(operator: Operator, run_id: str) -> None:
    """See a run end well."""
    run = operator.wait(run_id)
    assert run.type == "COMPLETED", run.message


def kill_at(operator: Operator, run_id: str, step: str, *, tag: str | None = None) -> None:
    """`kill -9` of a run's process at a step of it."""

    def there() -> bool:
        lease = operator.record().lease
        return lease is not None and lease.owner.flow_run_id == run_id and lease.step == step

    with operator.with_faults(SLOW):
        wait_for(there, 120, f"{tag or run_id} did not reach {step}")
        for process in carrying({"PREFECT__FLOW_RUN_ID": run_id}):
            with suppress(psutil.Error):
                if "prefect" in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGKILL)


def settled(operator: Operator) -> None:
    """See the reconciler clean up, with nobody's help."""

    def free() -> bool:
        record = operator.record()
        return record.lease is None and record.rollback is None

    wait_for(free, 240, "nobody cleaned up")


def granted(operator: Operator, role: str) -> set[str]:
    """The actions that a role's own policies allow."""
    iam, name = operator.client("iam"), f"{PREFIX}-{role}"
    policies = [
        iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    return {action for statement in statements if statement["Effect"] == "Allow" for action in statement["Action"]}


def calls(operator: Operator) -> list[dict[str, object]]:
    """What was asked for, by whom."""
    url = f"{operator.sandbox.settings.aws_url}/_pointsman/calls"
    listed: list[dict[str, object]] = httpx.get(url, trust_env=False).json()["calls"]
    return listed


def used(operator: Operator, role: str) -> set[str]:
    """The actions that a role asked for and was allowed."""
    return {str(c["action"]) for c in calls(operator) if c["principal"] == f"role/{PREFIX}-{role}" and c["allowed"]}


@pytest.mark.parametrize("role", ["pipeline", "reconciler"])
def test_what_a_role_is_granted_is_used_or_explained(life: Operator, role: str) -> None:
    explained = UNUSED[role].keys()
    assert granted(life, role) - used(life, role) - explained == set()
    assert (explained & used(life, role)) - BY_CHANCE == set(), "explained as unused, and used"


def test_nobody_was_refused_anything(life: Operator) -> None:
    """What a role asks for in an ordinary life it may do; a refusal would be a right that is missing."""
    refused = {(c["principal"], c["action"]) for c in calls(life) if c["denied"]}
    # HeadBucket tells the bucket's region though it may not list all of it, which is all that preflight asks.
    assert refused <= {(f"role/{PREFIX}-pipeline", "s3:ListBucket")}


def test_nobody_else_acted(life: Operator) -> None:
    """The worker does nothing itself but take the roles, and the receiver has no identity."""
    acting = {str(c["principal"]) for c in calls(life)}
    assert acting <= {
        "user/release-worker",
        f"role/{PREFIX}-pipeline",
        f"role/{PREFIX}-reconciler",
        "role/cursive-team-connections-operator",
    }
    assert {c["action"] for c in calls(life) if c["principal"] == "user/release-worker"} == {"sts:AssumeRole"}


def test_the_reconciler_cleaned_up_under_its_own_role(life: Operator) -> None:
    assert {"ecs:RegisterTaskDefinition", "elasticloadbalancing:ModifyListener", "s3:DeleteObject"} <= used(
        life, "reconciler"
    )
    assert not any(action.startswith("ecr:") for action in used(life, "reconciler"))


def test_images_are_in_the_stage_s_own_repository(life: Operator) -> None:
    ecr = life.client("ecr")
    assert ecr.describe_images(repositoryName="cursive-team/connections/sandbox")["imageDetails"]
    assert ecr.describe_images(repositoryName="cursive-team/connections")["imageDetails"] == []
