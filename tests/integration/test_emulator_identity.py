"""Who may do what: trust policies, sessions of roles, and pages in a browser."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from tests.integration.stand import REGION, Emulator, running, wait_for

pytestmark = pytest.mark.integration
ACCOUNT = "000000000000"


def trust(*principals: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_trust_policy_names_only_principals_that_exist(aws: Emulator) -> None:
    iam, nobody = aws.iam, f"arn:aws:iam::{ACCOUNT}:role/release-worker"
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException, match="Invalid principal in policy"):
        iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=trust(nobody))
    iam.create_role(RoleName="release-worker", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:root"))
    iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=trust(nobody, ACCOUNT))
    iam.create_user(UserName="someone")
    iam.update_assume_role_policy(
        RoleName="pipeline", PolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/someone", nobody)
    )
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException, match="no-one"):
        iam.update_assume_role_policy(RoleName="pipeline", PolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/no-one"))
    kept = iam.get_role(RoleName="pipeline")["Role"]["AssumeRolePolicyDocument"]
    assert "no-one" not in json.dumps(kept)


def allow(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def worker(aws: Emulator, longest: int = 3600) -> tuple[dict[str, str], str]:
    """A user's key, and a role that this user may assume and that may list clusters."""
    iam = aws.iam
    user = iam.create_user(UserName="worker")["User"]["Arn"]
    made = iam.create_access_key(UserName="worker")["AccessKey"]
    role = iam.create_role(
        RoleName="pipeline", AssumeRolePolicyDocument=trust(user), MaxSessionDuration=max(longest, 3600)
    )["Role"]["Arn"]
    iam.put_user_policy(UserName="worker", PolicyName="assume", PolicyDocument=allow("sts:AssumeRole"))
    iam.put_role_policy(RoleName="pipeline", PolicyName="p", PolicyDocument=allow("ecs:ListClusters", "sts:AssumeRole"))
    return {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}, role


def as_session(aws: Emulator, service: str, issued: dict[str, Any]) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name=REGION,
        aws_access_key_id=issued["AccessKeyId"],
        aws_secret_access_key=issued["SecretAccessKey"],
        aws_session_token=issued["SessionToken"],
    )


def test_a_roles_session_has_its_power_until_it_expires(tmp_path: Path) -> None:
    with running(tmp_path, AUTH="true", POINTSMAN_EMULATOR_LONGEST_SESSION="3") as aws:
        key, role = worker(aws)
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.client("ecs", **key).list_clusters()
        issued = aws.client("sts", **key).assume_role(RoleArn=role, RoleSessionName="release")["Credentials"]
        assert 0 < issued["Expiration"].timestamp() - time.time() <= 4
        ecs = as_session(aws, "ecs", issued)
        assert ecs.list_clusters()["clusterArns"] == []
        with pytest.raises(ClientError, match="AccessDenied"):
            ecs.create_cluster(clusterName="more")

        def refusal() -> str:
            try:
                ecs.list_clusters()
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            return ""

        assert "Expired" in wait_for(refusal, "the session expires", 6)
        aws.client("sts", **key).assume_role(RoleArn=role, RoleSessionName="next")
        assert "Expired" in refusal(), "an expired key stays known as expired"


def test_a_session_lasts_no_longer_than_its_role_and_its_chain_allow(tmp_path: Path) -> None:
    with running(tmp_path, AUTH="true") as aws:
        key, role = worker(aws, longest=7200)
        sts = aws.client("sts", **key)
        with pytest.raises(ClientError, match="MaxSessionDuration"):
            sts.assume_role(RoleArn=role, RoleSessionName="session", DurationSeconds=10800)
        issued = sts.assume_role(RoleArn=role, RoleSessionName="session", DurationSeconds=7200)["Credentials"]
        assert issued["Expiration"].timestamp() - time.time() > 7100
        aws.iam.update_assume_role_policy(RoleName="pipeline", PolicyDocument=trust(role))
        with pytest.raises(ClientError, match="role chaining"):
            as_session(aws, "sts", issued).assume_role(RoleArn=role, RoleSessionName="session", DurationSeconds=7200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example:4566"}, 403),
        ({"Host": "169.254.169.254"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({}, 200),
        ({"Host": "localhost:4566"}, 200),
        ({"Origin": "http://127.0.0.1:4200"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/_ministack/health", "/_pointsman/faults"])
def test_pages_of_other_origins_and_names_of_others_are_refused(
    aws: Emulator, path: str, headers: dict[str, str], status: int
) -> None:
    assert httpx.get(f"{aws.url}{path}", headers=headers, trust_env=False).status_code == status


def test_the_preflight_of_a_foreign_page_is_refused(aws: Emulator) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{aws.url}/", headers=headers, trust_env=False)
    assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (403, None)
