"""What each role may not do, call by call, with authorization in force: refused by its policies, and said to be."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.integration.forbidden import EVERYTHING, TABLE, Acting, Forbidden
from tests.integration.provisioned import ACCOUNT, SECRET, SHARED, STAGE, Provisioned
from tests.integration.stand import REGION, ROOT

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("forbidden", TABLE, ids=str)
def test_what_a_role_may_not_do_is_refused(provisioned: Provisioned, forbidden: Forbidden) -> None:
    before = provisioned.calls(forbidden.role).get(forbidden.action, {"denied": 0})["denied"]
    with pytest.raises(ClientError) as caught:
        forbidden.call(Acting(provisioned, forbidden.role))
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
    assert forbidden.action in str(caught.value) or forbidden.action.startswith("s3:")  # S3 says no more than no
    if forbidden.action != "sts:AssumeRole":  # the trust policy decides that one
        assert provisioned.calls(forbidden.role)[forbidden.action]["denied"] == before + 1


def test_the_table_is_as_long_as_it_is_said_to_be() -> None:
    assert len({str(forbidden) for forbidden in TABLE}) == len(TABLE) >= 40


@pytest.mark.parametrize("role", ["execution", "task"])
def test_only_tasks_take_the_roles_of_tasks(provisioned: Provisioned, role: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        provisioned.keys(role)


# Images by the registry's own protocol


@pytest.mark.parametrize(
    ("role", "repository", "status"),
    [
        ("pipeline", "cursive-team/connections/sandbox", 202),
        ("pipeline", "cursive-team/connections/production", 403),
        ("pipeline", "cursive-team/connections", 403),
    ],
)
def test_an_image_is_pushed_to_ones_own_repository_only(
    provisioned: Provisioned, role: str, repository: str, status: int
) -> None:
    [given] = provisioned.client("ecr", role).get_authorization_token()["authorizationData"]
    upload = f"{provisioned.aws.url}/v2/{repository}/blobs/uploads/"
    headers = {"Authorization": f"Basic {given['authorizationToken']}"}
    answer = httpx.post(upload, headers=headers, trust_env=False)
    assert answer.status_code == status, answer.text
    assert status == 202 or "ecr:InitiateLayerUpload" in answer.text


@pytest.mark.parametrize("token", [None, "AWS:guessed"])
def test_nobody_pushes_without_a_token(provisioned: Provisioned, token: str | None) -> None:
    headers = {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"} if token else {}
    upload = f"{provisioned.aws.url}/v2/cursive-team/connections/sandbox/blobs/uploads/"
    answer = httpx.post(upload, headers=headers, trust_env=False)
    assert (answer.status_code, answer.headers.get("www-authenticate", "")[:5]) == (401, "Basic")


# The boundary


@contextmanager
def administrator_s_policy(provisioned: Provisioned, role: str) -> Iterator[None]:
    """Give a role an administrator's policy, as somebody may by mistake."""
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    provisioned.aws.iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    try:
        yield
    finally:
        provisioned.aws.iam.detach_role_policy(RoleName=role, PolicyArn=arn)


@pytest.mark.parametrize("role", ["pipeline", "reconciler", "operator"])
@pytest.mark.parametrize(
    "call",
    [
        lambda a: a.iam.create_user(UserName="u"),
        lambda a: a.ec2.create_vpc(CidrBlock="10.1.0.0/16"),
        lambda a: a.s3.create_bucket(Bucket="mine"),
        lambda a: a.s3.get_object(Bucket="somebody-s-bucket", Key="k"),
        lambda a: a.ecs.delete_cluster(cluster=STAGE),
        lambda a: a.elbv2.delete_listener(ListenerArn=a.outputs["production_listener_arn"]),
        lambda a: a.define(taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{SHARED}-operator"),
        lambda a: a.secretsmanager.put_secret_value(SecretId=SECRET, SecretString="{}"),
    ],
    ids=["user", "network", "bucket", "another bucket", "cluster", "listener", "role passed", "secret written"],
)
def test_no_policy_lifts_a_role_over_its_boundary(
    provisioned: Provisioned, role: str, call: Callable[[Acting], object]
) -> None:
    name = provisioned.role_arn(role).rpartition("/")[2]
    elsewhere = {"LocationConstraint": REGION}
    with suppress(provisioned.aws.s3.exceptions.BucketAlreadyOwnedByYou):
        provisioned.aws.s3.create_bucket(Bucket="somebody-s-bucket", CreateBucketConfiguration=elsewhere)
    with administrator_s_policy(provisioned, name), pytest.raises(ClientError, match=r"AccessDenied|Unauthorized"):
        call(Acting(provisioned, role))


def test_every_role_is_made_under_the_boundary(provisioned: Provisioned) -> None:
    iam = provisioned.aws.iam
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith(SHARED)]
    bounded = {
        name: iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        for name in roles
    }
    assert bounded == dict.fromkeys(
        [
            *(f"{SHARED}-{stage}-{role}" for stage in ("sandbox", "production") for role in ("pipeline", "reconciler")),
            f"{STAGE}-execution",
            f"{STAGE}-flow-logs",
            f"{STAGE}-task",
            f"{SHARED}-operator",
        ],
        provisioned.account["permissions_boundary_arn"],
    )


def test_an_identity_that_provisions_can_be_held_to_the_boundary(provisioned: Provisioned) -> None:
    """The policy is the one that docs/roles.md shows."""
    iam, boundary = provisioned.aws.iam, provisioned.account["permissions_boundary_arn"]
    shown = re.search(r"```json\n(.+?)```", (ROOT / "docs" / "roles.md").read_text(), re.DOTALL)
    assert shown is not None
    iam.create_user(UserName="provisioner")
    iam.put_user_policy(
        UserName="provisioner",
        PolicyName="roles",
        PolicyDocument=shown[1].replace("123456789012", ACCOUNT),
    )
    key = iam.create_access_key(UserName="provisioner")["AccessKey"]
    acting = provisioned.aws.client("iam", key["AccessKeyId"], key["SecretAccessKey"])
    tasks = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    made = {
        "RoleName": f"{SHARED}-staging-task",
        "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [tasks]}),
    }
    for refused in ({}, {"PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}):
        with pytest.raises(ClientError, match=r"AccessDenied.*iam:CreateRole"):
            acting.create_role(**made, **refused)
    acting.create_role(**made, PermissionsBoundary=boundary)
    acting.put_role_policy(RoleName=made["RoleName"], PolicyName="p", PolicyDocument=EVERYTHING)
    other = {**made, "RoleName": f"{SHARED}-unbounded"}
    provisioned.aws.iam.create_role(**other)
    refusals: list[Callable[[], object]] = [
        lambda: acting.put_role_policy(RoleName=other["RoleName"], PolicyName="p", PolicyDocument=EVERYTHING),
        lambda: acting.delete_role_permissions_boundary(RoleName=made["RoleName"]),
        lambda: acting.put_role_permissions_boundary(
            RoleName=made["RoleName"], PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
        lambda: acting.create_policy_version(PolicyArn=boundary, PolicyDocument=EVERYTHING, SetAsDefault=True),
        lambda: acting.delete_policy(PolicyArn=boundary),
        lambda: acting.create_user(UserName="u"),
    ]
    for refused_call in refusals:
        with pytest.raises(ClientError, match="AccessDenied"):
            refused_call()
    acting.delete_role_policy(RoleName=made["RoleName"], PolicyName="p")
    provisioned.aws.iam.delete_role(RoleName=made["RoleName"])
    provisioned.aws.iam.delete_role(RoleName=other["RoleName"])
