"""Security groups, to read: who is let in.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.preflight.database import InboundRule
from systems.aws import aws_errors

__all__ = ["inbound_rules"]


def inbound_rules(ec2: Any, groups: Sequence[str]) -> list[InboundRule]:
    """Return the inbound rules for TCP, or for everything, of these groups: one for each source."""
    with aws_errors(f"reading the security groups {', '.join(groups)}"):
        found = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    return [rule for group in found for rule in _rules(group)]


def _rules(group: dict[str, Any]) -> Iterator[InboundRule]:
    for permission in group.get("IpPermissions", ()):
        if permission.get("IpProtocol") not in ("tcp", "6", "-1"):
            continue
        ports = (permission.get("FromPort"), permission.get("ToPort"))
        first, last = (None, None) if permission["IpProtocol"] == "-1" else ports
        sources = [
            *(entry["CidrIp"] for entry in permission.get("IpRanges", ())),
            *(entry["CidrIpv6"] for entry in permission.get("Ipv6Ranges", ())),
            *(entry["GroupId"] for entry in permission.get("UserIdGroupPairs", ())),
            *(entry["PrefixListId"] for entry in permission.get("PrefixListIds", ())),
        ]
        for source in sources:
            yield InboundRule(group["GroupId"], first, last, str(source))
