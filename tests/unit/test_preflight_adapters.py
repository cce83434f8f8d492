"""What AWS answers, as the facts of a preflight: what is missing is missing, what is denied is an error."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import Permanent, PointsmanError
from core.preflight.account import Asked
from core.preflight.database import InboundRule
from core.preflight.secret import SecretSeen
from core.preflight.traffic import Certificate
from systems import acm, iam, quotas, rds, resolver, secrets_manager, security_groups, state_bucket
from systems.records import StateBucket
from tests.unit.fakes import refusal

BUCKET = StateBucket("team-shop-state", "eu-west-1", "123456789012")


def raising(code: str, status: int = 400) -> Any:
    """A client whose every call is answered with this error."""

    class Client:
        def __getattr__(self, call: str) -> Callable[..., Any]:
            def fail(**_: Any) -> Any:
                raise refusal(code, status, call)

            return fail

    return Client()


def answering(**answers: Any) -> Any:
    """A client with these answers, by call."""
    return SimpleNamespace(**{call: lambda answer=answer, **_: answer for call, answer in answers.items()})


SETTINGS = state_bucket.BucketSettings
READS: list[tuple[str, Callable[[Any], Any], Any]] = [
    ("DBInstanceNotFound", lambda client: rds.find_instance(client, "db"), None),
    ("DBInstanceNotFoundFault", lambda client: rds.find_instance(client, "db"), None),
    ("ResourceNotFoundException", lambda client: acm.find_certificate(client, "arn"), None),
    ("ResourceNotFoundException", lambda client: secrets_manager.describe_secret(client, "s"), SecretSeen("s", None)),
    ("NoSuchEntity", lambda client: iam.read_trust(client, "role"), None),
    ("NoSuchKey", lambda client: state_bucket.read_outputs(client, BUCKET, "test"), {}),
    ("NoSuchPublicAccessBlockConfiguration", lambda client: SETTINGS(client, BUCKET).public_access_block(), None),
    ("NoSuchLifecycleConfiguration", lambda client: SETTINGS(client, BUCKET).lifecycle_rules(), []),
]


@pytest.mark.parametrize(("code", "read", "found"), READS, ids=[code for code, _, _ in READS])
def test_what_is_missing_is_told_from_what_is_denied(code: str, read: Callable[[Any], Any], found: Any) -> None:
    assert read(raising(code)) == found
    with pytest.raises(Permanent, match="AWS does not allow"):
        read(raising("AccessDenied", 403))


def test_an_instance_is_read_as_it_is() -> None:
    described = {
        "DBInstanceIdentifier": "connections",
        "DBInstanceStatus": "available",
        "Engine": "postgres",
        "Endpoint": {"Address": "db.example.com", "Port": 5433},
        "PubliclyAccessible": True,
        "StorageEncrypted": True,
        "BackupRetentionPeriod": 7,
        "DBSubnetGroup": {"VpcId": "vpc-1"},
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
        "DBParameterGroups": [{"DBParameterGroupName": "default.postgres16"}],
    }
    found = rds.find_instance(answering(describe_db_instances={"DBInstances": [described]}), "connections")
    assert found is not None
    assert (found.address, found.port, found.public, found.encrypted) == ("db.example.com", 5433, True, True)
    assert (found.backup_days, found.deletion_protected, found.vpc_id) == (7, False, "vpc-1")
    assert (found.security_groups, found.parameter_groups) == (("sg-1",), ("default.postgres16",))


def test_an_instance_that_is_being_made_has_no_address_yet() -> None:
    described = {"DBInstanceIdentifier": "c", "DBInstanceStatus": "creating", "Engine": "postgres"}
    found = rds.find_instance(answering(describe_db_instances={"DBInstances": [described]}), "c")
    assert found is not None
    assert (found.address, found.port) == ("no address yet", 5432)


@pytest.mark.parametrize(
    ("parameters", "required"),
    [
        ([{"ParameterName": "rds.force_ssl", "ParameterValue": "1"}], True),
        ([{"ParameterName": "rds.force_ssl", "ParameterValue": "0"}], False),
        ([{"ParameterName": "rds.force_ssl"}], False),
        ([{"ParameterName": "work_mem", "ParameterValue": "1"}], False),
    ],
)
def test_a_parameter_group_requires_tls_or_not(parameters: list[dict[str, str]], required: bool) -> None:
    pages = answering(paginate=[{"Parameters": []}, {"Parameters": parameters}])
    client = SimpleNamespace(get_paginator=lambda _: pages)
    assert rds.requires_tls(client, ["connections"]) is required


def test_each_source_of_a_group_is_a_rule_of_its_own() -> None:
    permissions = [
        {
            "IpProtocol": "tcp",
            "FromPort": 5432,
            "ToPort": 5432,
            "IpRanges": [{"CidrIp": "1.2.3.4/32"}],
            "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
            "UserIdGroupPairs": [{"GroupId": "sg-2"}],
            "PrefixListIds": [{"PrefixListId": "pl-1"}],
        },
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        {"IpProtocol": "udp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    ]
    client = answering(describe_security_groups={"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": permissions}]})
    assert security_groups.inbound_rules(client, ["sg-1"]) == [
        *(InboundRule("sg-1", 5432, 5432, source) for source in ("1.2.3.4/32", "::/0", "sg-2", "pl-1")),
        InboundRule("sg-1", None, None, "10.0.0.0/8"),
    ]


def test_a_certificate_has_each_name_once() -> None:
    ends = datetime(2027, 1, 1, tzinfo=UTC)
    described = {
        "Status": "ISSUED",
        "NotAfter": ends,
        "DomainName": "a.io",
        "SubjectAlternativeNames": ["a.io", "b.io"],
    }
    described["SubjectAlternativeNames"] = ["a.io", "b.io"]
    client = answering(describe_certificate={"Certificate": described})
    assert acm.find_certificate(client, "arn") == Certificate("ISSUED", ends, ("a.io", "b.io"))


def test_a_secret_that_is_about_to_be_deleted_is_known_as_such() -> None:
    client = answering(describe_secret={"ARN": "arn", "DeletedDate": datetime.now(tz=UTC)})
    assert secrets_manager.describe_secret(client, "s") == SecretSeen("s", "arn", deleted=True)


def test_a_simulation_tells_each_action_on_each_resource() -> None:
    asked: list[dict[str, Any]] = []

    def simulate(**arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return {
            "EvaluationResults": [{"EvalActionName": a, "EvalDecision": "allowed"} for a in arguments["ActionNames"]]
        }

    client = SimpleNamespace(simulate_principal_policy=simulate)
    found = iam.simulate(client, "arn:aws:iam::1:role/p", [Asked(["a:A", "a:B"]), Asked(["a:A"], "r", {"k": "v"})])
    assert found == {("a:A", "*"): "allowed", ("a:B", "*"): "allowed", ("a:A", "r"): "allowed"}
    assert asked[1]["ContextEntries"] == [
        {"ContextKeyName": "k", "ContextKeyValues": ["v"], "ContextKeyType": "string"}
    ]


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        ({"BucketRegion": "eu-west-1"}, "eu-west-1"),
        ({"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}, "eu-west-1"),
        ({}, None),
    ],
)
def test_a_buckets_region_is_what_s3_says(answer: dict[str, Any], region: str | None) -> None:
    assert state_bucket.bucket_region(answering(head_bucket=answer), "b") == region


def test_a_buckets_region_is_known_where_the_look_is_denied() -> None:
    denied = refusal("403", 403, "HeadBucket")
    denied.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amz-bucket-region": "us-east-1"}

    def head_bucket(**_: Any) -> Any:
        raise denied

    assert state_bucket.bucket_region(SimpleNamespace(head_bucket=head_bucket), "b") == "us-east-1"


def test_the_outputs_are_those_of_the_state() -> None:
    body = json.dumps({"outputs": {"nat_gateway_ip": {"value": "1.2.3.4"}}}).encode()
    client = answering(get_object={"Body": io.BytesIO(body)})
    assert state_bucket.read_outputs(client, BUCKET, "test") == {"nat_gateway_ip": "1.2.3.4"}


def test_a_quota_is_a_number() -> None:
    assert quotas.read_quota(answering(get_service_quota={"Quota": {"Value": 6.0}}), "fargate", "L-1") == 6
    with pytest.raises(PointsmanError, match="L-1"):
        quotas.read_quota(raising("NoSuchResourceException"), "fargate", "L-1")


def test_a_name_that_does_not_resolve_has_no_addresses() -> None:
    assert resolver.resolve("nowhere.invalid").addresses == frozenset()
    assert "127.0.0.1" in resolver.resolve("localhost").addresses
    assert not resolver.connects("127.0.0.1", 1, 0.5)
