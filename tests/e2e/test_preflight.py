"""Preflight on the sandbox: healthy, several faults at once each by its name, and a release that heeds them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.observer import Observer
from sandbox.operator import STAGE, Operator
from sandbox.settings import CODE, SECRET_NAME, STATE_BUCKET
from sandbox.traffic import Client

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("something_live")]

PIPELINE = "cursive-team-connections-sandbox-pipeline"
LOCK = f"terraform/{STAGE}/slot-blue.tfstate.tflock"


def command(operator: Operator, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", "preflight", STAGE, *options],
        env={**os.environ, **operator.sandbox.environment()},
        cwd=CODE,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def artifact(operator: Operator) -> str:
    found = operator.api.get(f"/artifacts/preflight-{STAGE}/latest").raise_for_status().json()
    return str(found["data"])


def test_a_healthy_environment_passes_and_what_was_not_looked_at_is_explained(operator: Operator) -> None:
    run = operator.wait(operator.run("preflight"))
    assert run.type == "COMPLETED", f"{run.message}\n{artifact(operator)}"
    shown = artifact(operator)
    verdicts = dict(re.findall(r"^\| ([^|]+?) \| (pass|not checked|not yet) \|", shown, re.MULTILINE))
    for name in ("task", "database reachable", "secret form", "permissions by simulation", "limits of the role"):
        assert verdicts[name] == "pass", shown
    assert list(verdicts.values()).count("pass") >= 30, shown
    assert "postgresql://" not in shown.replace("postgresql://user:password", "")


@contextmanager
def planted(operator: Operator) -> Iterator[list[str]]:
    """Five faults at once, by the names of the checks that must find them."""
    iam, s3, secrets = (operator.client(service) for service in ("iam", "s3", "secretsmanager"))
    policy = iam.get_role_policy(RoleName=PIPELINE, PolicyName="traffic")["PolicyDocument"]
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    wide = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    value = secrets.get_secret_value(SecretId=SECRET_NAME)["SecretString"]
    address = json.loads(value)["SECRET_DATABASE_URL"]
    iam.delete_role_policy(RoleName=PIPELINE, PolicyName="traffic")
    iam.put_role_policy(RoleName=PIPELINE, PolicyName="more", PolicyDocument=wide)
    s3.put_bucket_versioning(Bucket=STATE_BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_lifecycle(Bucket=STATE_BUCKET)
    broken = json.dumps({"SECRET_DATABASE_URL": address.replace("://", "://us@er:p/", 1)})
    secrets.put_secret_value(SecretId=SECRET_NAME, SecretString=broken)
    try:
        yield ["permissions by simulation", "limits of the role", "bucket versions", "bucket expiry", "secret form"]
    finally:
        secrets.put_secret_value(SecretId=SECRET_NAME, SecretString=value)
        s3.put_bucket_versioning(Bucket=STATE_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        iam.delete_role_policy(RoleName=PIPELINE, PolicyName="more")
        iam.put_role_policy(RoleName=PIPELINE, PolicyName="traffic", PolicyDocument=json.dumps(policy))
        kept = {"NoncurrentDays": 90, "NewerNoncurrentVersions": 20}
        rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": kept}
        s3.put_bucket_lifecycle_configuration(Bucket=STATE_BUCKET, LifecycleConfiguration={"Rules": [rule]})


def test_several_faults_are_each_named_with_a_fix(operator: Operator) -> None:
    with planted(operator) as names:
        run = operator.wait(operator.run("preflight"))
        shown = artifact(operator)
        told = command(operator)
    assert run.type == "FAILED"
    assert run.message.startswith(f"{len(names)} of "), run.message
    for name in names:
        assert name in run.message
        [row] = [line for line in shown.splitlines() if line.startswith(f"| {name} |")]
        assert "**FAIL**" in row
        assert len(row.split(" | ")[-1]) > 20, "its fix"
    assert told.returncode == 1
    assert told.stdout.count("FAIL ") == told.stdout.count("→ ") == len(names)
    assert "us@er" not in shown + told.stdout + told.stderr


def test_the_fast_form_takes_no_more_than_three_seconds_and_starts_no_task(
    operator: Operator, record_property: Any
) -> None:
    timed = (
        "import time; from flows.preflight import look_from_shell; began = time.monotonic(); "
        f"report = look_from_shell({STAGE!r}, True); print(report.text()); "
        "print('seconds', round(time.monotonic() - began, 2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", timed],
        env={**os.environ, **operator.sandbox.environment()},
        cwd=CODE,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seconds = float(done.stdout.rpartition("seconds ")[2])
    record_property("seconds", seconds)
    assert "FAIL" not in done.stdout
    assert command(operator, "--fast").returncode == 0
    # The block is loaded from Prefect's server before it looks.
    assert seconds < 5


def test_a_release_is_refused_before_it_begins_and_goes_through_once_the_fault_is_gone(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, was = observer.look(), operator.live
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag)
    lock = json.dumps({"ID": "1", "Who": "somebody@elsewhere", "Created": "2026-03-01T11:00:00.5Z"})
    operator.client("s3").put_object(Bucket=STATE_BUCKET, Key=LOCK, Body=lock.encode())
    try:
        refused = operator.wait(operator.run("release", tag=tag))
    finally:
        operator.client("s3").delete_object(Bucket=STATE_BUCKET, Key=LOCK)
    assert refused.type == "FAILED"
    assert f"{tag} was not begun: 1 preflight check failed: state lock" in refused.message
    assert "somebody@elsewhere" in refused.message
    assert f"`python -m flows unlock {STAGE} --state blue`" in refused.message
    assert operator.live == was
    assert observer.faults(before, live=was) == []
    again = operator.wait(operator.run("release", tag=tag))
    assert again.type == "COMPLETED", again.message
    assert operator.live == tag
