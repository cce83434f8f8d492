"""The policies that the roots write, read back from IAM: nothing on every resource without a reason, and no finding."""

from __future__ import annotations

import json
from typing import Any

import parliament
import pytest

from tests.integration.provisioned import SHARED, STAGE, Provisioned

pytestmark = pytest.mark.integration

# Each action that is allowed on every resource, and why AWS leaves no other way; docs/roles.md says it to people.
NO_RESOURCE = "AWS knows no resource for it"
WILDCARDS = {
    "cloudtrail:LookupEvents": NO_RESOURCE,
    "cloudwatch:GetMetricData": NO_RESOURCE,
    "cloudwatch:ListMetrics": NO_RESOURCE,
    "ec2:Describe": NO_RESOURCE,
    "ecr:GetAuthorizationToken": NO_RESOURCE,
    "ecs:DescribeTaskDefinition": NO_RESOURCE,
    "ecs:ListClusters": NO_RESOURCE,
    "ecs:ListServices": "AWS knows no resource for it; bound by ecs:cluster",
    "ecs:ListTaskDefinitions": NO_RESOURCE,
    "ecs:ListTasks": "AWS knows no resource for it; bound by ecs:cluster",
    "ecs:RegisterTaskDefinition": "refused by AWS on `*`; bound by iam:PassRole and by what may be run",
    "elasticloadbalancing:Describe": NO_RESOURCE,
    "logs:DescribeLogGroups": NO_RESOURCE,
}

# What parliament finds, and why it stays: by issue, then by what its details must name.
EXPLAINED: dict[tuple[str, str], str] = {
    ("RESOURCE_STAR", "ecs:RegisterTaskDefinition"): WILDCARDS["ecs:RegisterTaskDefinition"],
    ("RESOURCE_STAR", "ecs:ListTasks"): "listed by cluster, not by container instance; bound by ecs:cluster",
    ("RESOURCE_STAR", "ec2:DescribeInstanceAttribute"): "a read; `account` does not know the environments' instances",
    ("RESOURCE_STAR", "ec2:DescribeVpcAttribute"): "a read; `account` does not know the environments' networks",
    ("RESOURCE_MISMATCH", "listener/net/*/*/*"): "parliament asks for every kind of listener, and ours is of one",
    ("RESOURCE_MISMATCH", "ssm:GetParameter"): "Amazon's public parameters have no account in their ARN",
    ("MISMATCHED_TYPE", "ecs:auto-assign-public-ip"): "AWS calls the key a string; both spellings are refused",
    ("UNKNOWN_CONDITION_FOR_ACTION", "elasticloadbalancing:ListenerProtocol"): "it holds two lists of the service, and "
    "reads the one without conditions",
    ("MISMATCHED_TYPE", "StringEquals requires a value of type String but given Bool"): "the same key",
}


def inline_policies(provisioned: Provisioned, role: str) -> dict[str, dict[str, Any]]:
    """A role's own policies by name."""
    iam = provisioned.aws.iam
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def boundary(provisioned: Provisioned) -> dict[str, Any]:
    """The boundary's document."""
    iam, arn = provisioned.aws.iam, provisioned.account["permissions_boundary_arn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return document


ROLES = [*(f"{STAGE}-{role}" for role in ("pipeline", "reconciler", "execution", "task")), f"{SHARED}-operator"]


def allowed_everywhere(provisioned: Provisioned) -> set[str]:
    """Actions that a role is allowed on every resource."""
    return {
        action
        for role in ROLES
        for policy in inline_policies(provisioned, role).values()
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow" and "*" in statement["Resource"]
        for action in statement["Action"]
    }


def reason_for(action: str) -> str | None:
    """The entry of the table that an action falls under: the action itself, or a prefix that ends in `Describe`."""
    found = (name for name in WILDCARDS if action == name or (name.endswith(":Describe") and action.startswith(name)))
    return next(found, None)


def test_every_action_on_every_resource_is_explained(provisioned: Provisioned) -> None:
    found = allowed_everywhere(provisioned)
    assert {action for action in found if reason_for(action) is None} == set()
    assert {reason_for(action) for action in found} == WILDCARDS.keys(), "an explanation for what is not there any more"


def test_no_role_is_allowed_actions_by_wildcard(provisioned: Provisioned) -> None:
    actions = {
        action
        for role in ROLES
        for policy in inline_policies(provisioned, role).values()
        for statement in policy["Statement"]
        for action in statement["Action"]
    }
    assert {action for action in actions if "*" in action} == set()


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: white space does not count
@pytest.mark.parametrize("role", ROLES)
def test_the_policies_of_a_role_fit(provisioned: Provisioned, role: str) -> None:
    written = [json.dumps(policy, separators=(",", ":")) for policy in inline_policies(provisioned, role).values()]
    assert sum(map(len, written)) <= 10_240


def test_the_boundary_fits_with_room_for_the_application(provisioned: Provisioned) -> None:
    assert len(json.dumps(boundary(provisioned), separators=(",", ":"))) <= 5_000  # of 6,144


def findings(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What parliament says of a policy: the issue and what it is about, each action by itself."""
    analyzed = parliament.analyze_policy_string(json.dumps(document))
    return [
        (finding.issue, json.dumps(detail))
        for finding in analyzed.findings
        for detail in (finding.detail if isinstance(finding.detail, list) else [finding.detail])
    ]


def unexplained(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that the table does not explain."""
    return [
        (issue, about)
        for issue, about in found
        if not any(issue == known and named in about for known, named in EXPLAINED)
    ]


@pytest.mark.parametrize("role", ROLES)
def test_parliament_finds_nothing_unexplained_in_a_role(provisioned: Provisioned, role: str) -> None:
    for name, policy in inline_policies(provisioned, role).items():
        assert unexplained(findings(policy)) == [], f"{role}: {name}"


def test_parliament_finds_nothing_unexplained_in_the_boundary(provisioned: Provisioned) -> None:
    """It says which actions there are; on which resources, each role's own policies say."""
    assert {issue for issue, _ in findings(boundary(provisioned))} == {"RESOURCE_STAR"}


def test_every_explanation_is_of_something_that_parliament_finds(provisioned: Provisioned) -> None:
    found = [f for role in ROLES for policy in inline_policies(provisioned, role).values() for f in findings(policy)]
    stale = [key for key in EXPLAINED if not any(issue == key[0] and key[1] in about for issue, about in found)]
    assert stale == []


def test_parliament_would_find_something() -> None:
    wrong = {"Effect": "Allow", "Action": "s3:GetObjekt", "Resource": "arn:aws:s3:::bucket"}
    assert [issue for issue, _ in findings({"Version": "2012-10-17", "Statement": [wrong]})] == ["UNKNOWN_ACTION"]
