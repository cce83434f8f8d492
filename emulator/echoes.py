"""Answers that a Terraform plan reads back: what was written is what is described."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from emulator.upstream import cloudwatch, ec2, ecs, replace

__all__ = ["install"]

Record = dict[str, Any]
_ALARM_LISTS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_ALARM_SCALARS = ("AlarmDescription", "ExtendedStatistic", "Period", "Statistic", "TreatMissingData", "Unit")


def install() -> None:
    """Put the additions in MiniStack's place."""
    _install_alarms()
    _install_rules_for_all_protocols()
    _install_services()
    _install_flow_logs()


def _install_alarms() -> None:
    """The Query answer of DescribeAlarms lacks most of what was put; the other protocols have it."""
    describe: Callable[..., Any] = cloudwatch._describe_alarms

    @functools.wraps(describe)
    def describe_alarms(params: Record, data: Record, is_cbor: bool, is_json: bool = False) -> Any:
        status, headers, body = describe(params, data, is_cbor, is_json)
        if is_cbor or is_json or status != 200:
            return status, headers, body
        xml = body.decode()
        for alarm in cloudwatch._alarms.values():
            anchor = f"<AlarmArn>{alarm['AlarmArn']}</AlarmArn>"
            xml = xml.replace(anchor, anchor + _alarm_members(alarm))
        return status, headers, xml.encode()

    replace(cloudwatch, "_describe_alarms", describe_alarms)


def _alarm_members(alarm: Record) -> str:
    dimensions = "".join(
        f"<member><Name>{escape(d['Name'])}</Name><Value>{escape(d['Value'])}</Value></member>"
        for d in alarm["Dimensions"]
    )
    members = [
        f"<ActionsEnabled>{str(alarm['ActionsEnabled']).lower()}</ActionsEnabled>",
        f"<Dimensions>{dimensions}</Dimensions>",
    ]
    for name in _ALARM_LISTS:
        items = "".join(f"<member>{escape(item)}</member>" for item in alarm[name])
        members.append(f"<{name}>{items}</{name}>")
    for name in _ALARM_SCALARS:
        if alarm.get(name) not in (None, ""):
            members.append(f"<{name}>{escape(str(alarm[name]))}</{name}>")
    return "".join(members)


def _install_rules_for_all_protocols() -> None:
    """Ports mean nothing in a security group rule for all protocols (-1), so they don't tell two such rules apart."""
    match: Callable[[Record, Record], bool] = ec2._rules_match

    def rules_match(one: Record, other: Record) -> bool:
        return match(_without_idle_ports(one), _without_idle_ports(other))

    replace(ec2, "_rules_match", rules_match)


def _without_idle_ports(rule: Record) -> Record:
    if str(rule.get("IpProtocol")) != "-1":
        return rule
    return {name: value for name, value in rule.items() if name not in ("FromPort", "ToPort")}


def _install_services() -> None:
    """What MiniStack forgets of a service is kept; without a word `availabilityZoneRebalancing` is DISABLED."""
    create: Callable[[Record], Any] = ecs._create_service
    update: Callable[[Record], Any] = ecs._update_service
    sanitize: Callable[[Any], Any] = ecs._sanitize
    member = "availabilityZoneRebalancing"

    def keep(data: Record, reference: str) -> None:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        named = ecs._resolve_service_ref(data.get(reference, ""))
        service = ecs._services.get(f"{cluster}/{named[0]}") if named else None
        if service is not None:
            service |= {name: data[name] for name in (member, "propagateTags", "enableECSManagedTags") if name in data}

    def create_service(data: Record) -> Any:
        answer = create(data)
        if answer[0] == 200:
            keep(data, "serviceName")
        return answer

    def update_service(data: Record) -> Any:
        keep(data, "service")
        return update(data)

    def sanitized(record: Any) -> Any:
        projected = sanitize(record)
        if isinstance(projected, dict) and "serviceArn" in projected:
            projected.setdefault(member, "DISABLED")
        return projected

    replace(ecs, "_create_service", create_service)
    replace(ecs, "_update_service", update_service)
    replace(ecs, "_sanitize", sanitized)


def _install_flow_logs() -> None:
    """The role, the interval, the log group and the tags of a flow log are kept and answered."""
    create: Callable[[Record], Any] = ec2._create_flow_logs
    describe: Callable[[Record], Any] = ec2._describe_flow_logs

    def create_flow_logs(params: Record) -> Any:
        before = set(ec2._flow_logs)
        answer = create(params)
        for made in set(ec2._flow_logs) - before:
            ec2._parse_tag_specs(params, "vpc-flow-log", made)  # MiniStack knows them as flow-log
            ec2._flow_logs[made] |= {
                "DeliverLogsPermissionArn": ec2._p(params, "DeliverLogsPermissionArn"),
                "MaxAggregationInterval": ec2._p(params, "MaxAggregationInterval") or "600",
            }
        return answer

    def describe_flow_logs(params: Record) -> Any:
        status, headers, body = describe(params)
        xml = body.decode()
        for flow_log in ec2._flow_logs.values():
            anchor = f"<flowLogId>{flow_log['FlowLogId']}</flowLogId>"
            xml = xml.replace(anchor, anchor + _flow_log_members(flow_log))
        return status, headers, xml.encode()

    replace(ec2, "_create_flow_logs", create_flow_logs)
    replace(ec2, "_describe_flow_logs", describe_flow_logs)


def _flow_log_members(flow_log: Record) -> str:
    role, interval = flow_log["DeliverLogsPermissionArn"], flow_log["MaxAggregationInterval"]
    members = f"<maxAggregationInterval>{escape(interval)}</maxAggregationInterval>"
    return members + (f"<deliverLogsPermissionArn>{escape(role)}</deliverLogsPermissionArn>" if role else "")
