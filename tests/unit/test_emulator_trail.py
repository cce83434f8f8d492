"""What the emulator's CloudTrail keeps: writes, and the resources that a request names."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.trail import is_write, resources_of


@pytest.mark.parametrize(
    ("action", "writes"),
    [
        ("AuthorizeSecurityGroupIngress", True),
        ("PutRolePolicy", True),
        ("UpdateService", True),
        ("DescribeServices", False),
        ("ListTagsForResource", False),
        ("GetRole", False),
        ("AssumeRole", False),
        ("FilterLogEvents", False),
        ("", False),
    ],
)
def test_reads_are_not_kept(action: str, writes: bool) -> None:
    assert is_write(action) is writes


@pytest.mark.parametrize(
    ("service", "parameters", "named"),
    [
        ("ec2", {"GroupId": "sg-1", "IpPermissions.1.FromPort": "22"}, ["sg-1"]),
        ("ec2", {"ResourceId.1": "subnet-1", "Tag.1.Value": "ada"}, ["subnet-1"]),
        ("iam", {"RoleName": "task", "PolicyName": "all", "PolicyDocument": '{"Resource": "*"}'}, ["task", "all"]),
        ("logs", {"logGroupName": "group", "retentionInDays": 1}, ["group"]),
        ("elasticloadbalancing", {"ListenerArn": "arn:aws:x", "Again": ["arn:aws:x"]}, ["arn:aws:x"]),
        ("ecs", {"service": "arn:aws:ecs:service/a", "cluster": "c"}, []),
    ],
)
def test_what_a_request_names(service: str, parameters: dict[str, Any], named: list[str]) -> None:
    assert resources_of(service, parameters) == named
