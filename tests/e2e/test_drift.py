"""Drift on the sandbox: none after a release, then a foreign hand in state, event and artifact, and none again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from core.record import Infrastructure
from sandbox.operator import Operator, Run
from sandbox.settings import CODE
from tasks.drift import EVENT
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("something_live")]


def infrastructure(operator: Operator) -> Infrastructure:
    found = operator.record().infrastructure
    assert found is not None
    return found


def look(operator: Operator) -> Run:
    return operator.wait(operator.run("drift"))


def report(operator: Operator, run: Run) -> str:
    body = {"artifacts": {"flow_run_id": {"any_": [run.id]}, "key": {"any_": ["drift-sandbox"]}}}
    (artifact,) = operator.api.post("/artifacts/filter", json=body).raise_for_status().json()
    return str(artifact["data"])


def events(operator: Operator) -> list[dict[str, Any]]:
    body = {"filter": {"event": {"name": [EVENT]}}}
    found: list[dict[str, Any]] = operator.api.post("/events/filter", json=body).raise_for_status().json()["events"]
    return found


def writes(operator: Operator) -> list[str]:
    asked = [{"AttributeKey": "ReadOnly", "AttributeValue": "false"}]
    found = operator.client("cloudtrail").lookup_events(LookupAttributes=asked)["Events"]
    # What the emulator's own metrics and reconcilers do is no call.
    versions = operator.client("s3").list_object_versions(Bucket=operator.settings.state_bucket, Prefix="terraform/")
    return [e["EventId"] for e in found] + [f"{v['Key']} {v['VersionId']}" for v in versions["Versions"]]


def command(operator: Operator) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", "drift", "sandbox"],
        env={**os.environ, **operator.sandbox.environment()},
        cwd=CODE,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def foreign(operator: Operator) -> Iterator[None]:
    """A rule on the production listener, an open port and a tag, by nobody's release; taken back afterwards."""
    made, elbv2, ec2 = infrastructure(operator), operator.client("elbv2"), operator.client("ec2")
    with ExitStack() as undo:
        [rule] = elbv2.create_rule(
            ListenerArn=made.production_listener_arn,
            Priority=5,
            Conditions=[{"Field": "path-pattern", "Values": ["/admin"]}],
            Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
        )["Rules"]
        undo.callback(elbv2.delete_rule, RuleArn=rule["RuleArn"])
        opened = {
            "GroupId": made.task_security_group_id,
            "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
            ],
        }
        ec2.authorize_security_group_ingress(**opened)
        undo.callback(ec2.revoke_security_group_ingress, **opened)
        tag = {"Resources": [made.private_subnet_ids[0]], "Tags": [{"Key": "Owner", "Value": "ada"}]}
        ec2.create_tags(**tag)
        undo.callback(ec2.delete_tags, **tag)
        yield


def test_after_a_release_nothing_differs(operator: Operator) -> None:
    before = writes(operator)
    run = look(operator)
    assert (run.type, run.state) == ("COMPLETED", "Completed"), run.message
    assert run.message == "No drift in sandbox from Terraform's state and the release record."
    assert writes(operator) == before


def test_a_foreign_hand_is_seen_as_state_event_and_artifact(operator: Operator, foreign: None) -> None:
    before, told = writes(operator), len(events(operator))
    run = look(operator)
    assert (run.type, run.state) == ("FAILED", "Drift"), run.message
    assert run.message.startswith("Drift in sandbox: 3 differences: ")
    text = report(operator, run)
    listener = f"listener on port {operator.settings.ports.production}"
    for row in ("| `aws_security_group.tasks` | `ingress` |", "`tags.Owner`", f"| `{listener}` | `rule` |"):
        assert row in text
    assert "AuthorizeSecurityGroupIngress" in text
    assert writes(operator) == before
    # Prefect's server writes events down a moment after it got them.
    wait_for(lambda: len(events(operator)) > told, 30, "the event did not arrive")
    newest, *_ = after = events(operator)
    assert len(after) == told + 1
    assert newest["resource"]["prefect.resource.id"] == "pointsman.environment.sandbox"
    assert newest["payload"]["message"] == run.message
    assert [name for name, _ in operator.task_runs(run.id)][-2:] == ["who", "report"]


def test_the_command_s_exit_status_says_it_too(operator: Operator, foreign: None) -> None:
    done = command(operator)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("Drift in sandbox: 3 differences: ")


def test_once_it_is_taken_back_nothing_differs(operator: Operator) -> None:
    done = command(operator)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("No drift in sandbox")
