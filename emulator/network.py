"""Who reaches whom: internet gateways, subnets and security groups, as far as load balancers and tasks meet them.

Containers sit on Docker's bridge, where everybody reaches everybody; here the account's own records decide.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from emulator.routing import load_balancers_of, scope_of
from emulator.upstream import alb, ec2, ecs, replace, responses

__all__ = ["client_reaches", "install", "remember_groups", "target_is_reached"]

Answer = tuple[int, dict[str, str], Any]
Parameters = dict[str, Any]
Rule = dict[str, Any]
_GROUPS = "_security_groups"


def install(hosts: tuple[str, ...]) -> None:
    """Put the additions in MiniStack's place; `hosts` are the addresses of each load balancer."""
    create: Callable[[Parameters], Answer] = alb._create_lb
    write: Callable[[dict[str, Any]], str] = alb._lb_xml

    def create_load_balancer(params: Parameters) -> Answer:
        ec2._ensure_defaults_initialized()
        subnets = _subnets(params)
        groups = alb._parse_member_list(params, "SecurityGroups")
        refusal = _refuse_place(subnets, alb._p(params, "Scheme", "internet-facing")) or _refuse_groups(groups)
        if refusal:
            return refusal
        vpc = ec2._subnets[subnets[0]]["VpcId"]
        given = {f"Subnets.member.{number}": [subnet] for number, subnet in enumerate(subnets, 1)}
        if not groups:
            given["SecurityGroups.member.1"] = [_default_group(vpc)]
        return create({**params, **given, "VpcId": [vpc]})

    def load_balancer_xml(balancer: dict[str, Any]) -> str:
        xml = write(balancer)
        for number, subnet in enumerate(balancer.get("Subnets", [])):
            before = f"<SubnetId>{subnet}</SubnetId>"
            address = f"<member><IpAddress>{hosts[number % len(hosts)]}</IpAddress></member>"
            xml = xml.replace(
                f"{before}<LoadBalancerAddresses/>",
                f"{before}<LoadBalancerAddresses>{address}</LoadBalancerAddresses>",
            )
        return xml

    replace(alb, "_create_lb", create_load_balancer)
    replace(alb, "_lb_xml", load_balancer_xml)


def remember_groups(request: dict[str, Any], tasks: Iterable[str]) -> None:
    """Keep the security groups that RunTask, or the service, gave to its tasks."""
    network = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    for arn in tasks:
        if arn in ecs._tasks:
            ecs._tasks[arn][_GROUPS] = list(network.get("securityGroups") or [])


def client_reaches(balancer_arn: str, port: int, address: str) -> bool:
    """Return whether the load balancer's security groups admit this client to this port."""
    with responses.request_scope(*scope_of(balancer_arn)):
        balancer = alb._lbs.get(balancer_arn)
        return balancer is None or any(
            _covers_port(rule, port) and _covers_address(rule, address)
            for rule in _rules(balancer["SecurityGroups"], "IpPermissions")
        )


def target_is_reached(group_arn: str, host: str, port: int) -> bool:
    """Return whether a load balancer of the target group may send to the task, and the task take it, on this port.

    What is no task of ours, such as an address registered by hand, has no security group that one could ask.
    """
    with responses.request_scope(*scope_of(group_arn)):
        task = _task_at(host)
        if task is None:
            return True
        receiving = task.get(_GROUPS) or [_default_group(alb._tgs[group_arn]["VpcId"])]
        return any(_connects(alb._lbs[arn], receiving, port) for arn in load_balancers_of(group_arn))


def _connects(balancer: dict[str, Any], receiving: list[str], port: int) -> bool:
    sending = balancer["SecurityGroups"]
    inside = ec2._vpcs.get(balancer["VpcId"], {}).get("CidrBlock", "0.0.0.0/0")
    goes_out = any(
        _covers_port(rule, port) and (_names_group(rule, receiving) or _covers_network(rule, inside))
        for rule in _rules(sending, "IpPermissionsEgress")
    )
    comes_in = any(
        _covers_port(rule, port) and (_names_group(rule, sending) or _covers_network(rule, inside))
        for rule in _rules(receiving, "IpPermissions")
    )
    return goes_out and comes_in


def _task_at(host: str) -> dict[str, Any] | None:
    for task in ecs._tasks.values():
        if task["lastStatus"] != "STOPPED" and ecs._task_ip(task) == host:
            found: dict[str, Any] = task
            return found
    return None


def _rules(groups: Iterable[str], direction: str) -> list[Rule]:
    return [rule for group in groups for rule in ec2._security_groups.get(group, {}).get(direction, [])]


def _covers_port(rule: Rule, port: int) -> bool:
    if str(rule["IpProtocol"]) == "-1":
        return True
    return rule["IpProtocol"] in ("tcp", "6") and int(rule["FromPort"]) <= port <= int(rule["ToPort"])


def _names_group(rule: Rule, groups: list[str]) -> bool:
    return any(pair.get("GroupId") in groups for pair in rule.get("UserIdGroupPairs") or [])


def _covers_address(rule: Rule, address: str) -> bool:
    return any(ipaddress.ip_address(address) in network for network in _networks(rule))


def _covers_network(rule: Rule, inside: str) -> bool:
    return any(network.overlaps(ipaddress.ip_network(inside)) for network in _networks(rule))


def _networks(rule: Rule) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    written = [entry["CidrIp"] for entry in rule.get("IpRanges") or []]
    written += [entry["CidrIpv6"] for entry in rule.get("Ipv6Ranges") or []]
    return [ipaddress.ip_network(cidr, strict=False) for cidr in written]


def _default_group(vpc: str) -> str:
    for group_id, group in ec2._security_groups.items():
        if group["VpcId"] == vpc and group["GroupName"] == "default":
            return str(group_id)
    return ""


# Refusals


def _subnets(params: Parameters) -> list[str]:
    found: list[str] = alb._parse_member_list(params, "Subnets")
    number = 1
    while mapped := alb._p(params, f"SubnetMappings.member.{number}.SubnetId"):
        found.append(mapped)
        number += 1
    return found


def _refuse_place(subnets: list[str], scheme: str) -> Answer | None:
    """AWS's answer to subnets where no load balancer of this scheme can stand."""
    for subnet in subnets:
        if subnet not in ec2._subnets:
            return _error("SubnetNotFound", f"The subnet ID '{subnet}' does not exist")
    if len({ec2._subnets[subnet]["AvailabilityZone"] for subnet in subnets}) < 2:
        return _error("ValidationError", "At least two subnets in two different Availability Zones must be specified")
    for vpc in sorted({ec2._subnets[subnet]["VpcId"] for subnet in subnets}):
        if scheme == "internet-facing" and not _has_gateway(vpc):
            return _error("InvalidSubnet", f"VPC {vpc} has no internet gateway")
    return None


def _refuse_groups(groups: list[str]) -> Answer | None:
    for group in groups:
        if group not in ec2._security_groups:
            return _error("InvalidSecurityGroup", f"The security group '{group}' does not exist")
    return None


def _has_gateway(vpc: str) -> bool:
    return any(
        attachment["VpcId"] == vpc and attachment.get("State") in ("available", "attached")
        for gateway in ec2._internet_gateways.values()
        for attachment in gateway.get("Attachments") or []
    )


def _error(code: str, message: str) -> Answer:
    answer: Answer = alb._error(code, message)
    return answer
