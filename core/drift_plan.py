"""Terraform's part of drift: a plan's JSON in, differences out.

A plan's `resource_drift` is what changed in AWS since Terraform wrote its state; `resource_changes` beside it is what
`provision` would change anyway: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.colour import Colour
from core.drift import MISSING, NOTHING, SLOTS, Difference
from core.drift_values import either, parts, shown

__all__ = ["listed_listeners", "plan_differences", "plan_pending"]

# What a release moves is held against the record.
_MOVED = {
    "aws_lb_target_group": ("port", "health_check[0].path", "health_check[0].matcher"),
    "aws_ecs_service": ("desired_count",),
}
_WEIGHTED_LISTENERS = ("aws_lb_listener.http_forward", "aws_lb_listener.https")
# What AWS fills in as other resources of ours arrive, after Terraform wrote the state.
_FILLED_IN = {
    "aws_lb_target_group": ("load_balancer_arns",),
    "aws_instance": ("associate_public_ip_address", "instance_state", "public_dns", "public_ip"),
    "aws_network_interface": ("attachment", "private_dns_name"),
    "aws_s3_bucket": (
        "grant",
        "lifecycle_rule",
        "logging",
        "policy",
        "replication_configuration",
        "request_payer",
        "server_side_encryption_configuration",
        "versioning",
    ),
    "aws_vpc_endpoint": ("dns_entry", "network_interface_ids", "state"),
    "aws_eip": (
        "association_id",
        "instance",
        "network_interface",
        "private_dns",
        "private_ip",
        "ptr_record",
    ),
}
# Lists that grow by resources of their own: each member must belong to one of those.
_MEMBERS = {
    "aws_iam_role": ("inline_policy", "managed_policy_arns"),
    "aws_route_table": ("route",),
    "aws_security_group": ("egress", "ingress"),
}
# The environment's root gives these roles, which are the account's, their place, and what secrets and builds need.
_OF_ANOTHER_ROOT: Mapping[str, set[str]] = {
    "aws_iam_role.pipeline": {"build", "place", "secrets"},
    "aws_iam_role.reconciler": {"place"},
}

_SERVICES = {
    "aws_cloudwatch_log": "logs",
    "aws_cloudwatch_metric": "monitoring",
    "aws_ecr": "ecr",
    "aws_ecs": "ecs",
    "aws_iam": "iam",
    "aws_lb": "elasticloadbalancing",
    "aws_secretsmanager": "secretsmanager",
}
_NAMED_BY = {
    "aws_iam_role_policy": ("role",),
    "aws_iam_role_policy_attachment": ("role",),
    "aws_iam_role": ("name", "arn"),
    "aws_route": ("route_table_id",),
    "aws_route_table_association": ("route_table_id", "subnet_id"),
    "aws_vpc_security_group_egress_rule": ("security_group_rule_id", "security_group_id"),
    "aws_vpc_security_group_ingress_rule": ("security_group_rule_id", "security_group_id"),
}


def plan_differences(area: str, plan: Mapping[str, Any], live: Colour | None = None) -> tuple[Difference, ...]:
    """Return what changed in AWS since Terraform wrote a root's state, and what grew on its resources since.

    `plan` is the JSON of a plan. The definition that the service of the colour `live` has is held against the record.
    What Terraform marks as sensitive is never shown.
    """
    found: list[Difference] = []
    for drifted in plan.get("resource_drift", ()):
        if drifted.get("mode", "managed") == "managed":
            found += _drifted(area, drifted, live)
    resources = _resources(plan)
    for resource in resources:
        found += _grown(area, resource, resources)
    return tuple(found)


def plan_pending(plan: Mapping[str, Any], differences: Iterable[Difference]) -> tuple[str, ...]:
    """Return what a plan would change although nobody touched it: the settings are newer than the last apply."""
    drifted = {one.address for one in differences}
    return tuple(
        change["address"]
        for change in plan.get("resource_changes", ())
        if change["change"]["actions"] not in (["no-op"], ["read"]) and change["address"] not in drifted
    )


def listed_listeners(plan: Mapping[str, Any]) -> frozenset[str]:
    """Return the ARNs of the listeners that are in the state of the root `environment`."""
    return frozenset(str(r["values"]["arn"]) for r in _resources(plan) if r["type"] == "aws_lb_listener")


def _drifted(area: str, drifted: Mapping[str, Any], live: Colour | None) -> Iterator[Difference]:
    change, address, kind = drifted["change"], str(drifted["address"]), str(drifted["type"])
    before, after = change.get("before") or {}, change.get("after")
    names, service = _names(kind, before), _service(kind)
    if not after:
        yield Difference(area, address, "", "exists", MISSING, names, service)
        return
    secret = either(change.get("before_sensitive"), change.get("after_sensitive"))
    for part in parts("", before, after, secret):
        if not _expected(area, address, kind, part.at, live):
            at = part.at.replace("tags_all", "tags", 1) if part.at.startswith("tags_all") else part.at
            yield Difference(area, address, at, part.before, part.after, names, service)


def _expected(area: str, address: str, kind: str, at: str, live: Colour | None) -> bool:
    """Whether a change is none: moved by a release, filled in by AWS, or looked at otherwise."""
    top = at.partition(".")[0].partition("[")[0]
    if top == "tags":  # `tags_all` has the provider's own as well
        return True
    if kind == "aws_lb_listener" and address.partition("[")[0] in _WEIGHTED_LISTENERS and top == "default_action":
        return True
    if kind == "aws_ecs_service" and top == "task_definition" and live is not None and area == SLOTS[live]:
        return True
    if at in _MOVED.get(kind, ()):
        return True
    return top in _FILLED_IN.get(kind, ()) or top in _MEMBERS.get(kind, ())


def _names(kind: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    keys = _NAMED_BY.get(kind, ("arn", "id", "name"))
    return tuple(dict.fromkeys(str(values[key]) for key in keys if values.get(key)))


def _service(kind: str) -> str:
    return next((service for start, service in _SERVICES.items() if kind.startswith(start)), "ec2")


def _resources(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the managed resources as they are in AWS now: a plan's prior state is the refreshed one."""
    found: list[Mapping[str, Any]] = []
    modules = [plan.get("prior_state", {}).get("values", {}).get("root_module", {})]
    while modules:
        module = modules.pop()
        found += [r for r in module.get("resources", ()) if r.get("mode") == "managed"]
        modules += module.get("child_modules", ())
    return found


# ---- What grew


def _grown(area: str, resource: Mapping[str, Any], resources: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Yield each member of a resource's lists that belongs to no resource of its own."""
    kind, values = str(resource["type"]), resource["values"]
    for attribute in _MEMBERS.get(kind, ()):
        ours = _OWNED[attribute](values, resources)
        if attribute == "inline_policy":
            ours |= _OF_ANOTHER_ROOT.get(str(resource["address"]).partition("[")[0], set())
        for member, text in _LISTED[attribute](values).items():
            if member not in ours:
                names = _names(kind, values)
                yield Difference(area, resource["address"], attribute, NOTHING, text, names, _service(kind))


def _policies(values: Mapping[str, Any]) -> dict[str, str]:
    listed = values.get("inline_policy") or ()
    return {str(p["name"]): shown(f"{p['name']} {p.get('policy') or ''}".strip()) for p in listed if p.get("name")}


def _policies_of(values: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> set[str]:
    ours = (r["values"] for r in resources if r["type"] == "aws_iam_role_policy")
    return {str(one["name"]) for one in ours if one.get("role") == values.get("name")}


def _attached(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(arn): str(arn) for arn in values.get("managed_policy_arns") or ()}


def _attached_of(values: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> set[str]:
    ours = (r["values"] for r in resources if r["type"] == "aws_iam_role_policy_attachment")
    return {str(one["policy_arn"]) for one in ours if one.get("role") == values.get("name")}


_DESTINATIONS = ("cidr_block", "ipv6_cidr_block", "destination_prefix_list_id")


def _routes(values: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for route in values.get("route") or ():
        destination = next((str(route[key]) for key in _DESTINATIONS if route.get(key)), "")
        targets = (f"{value}" for key, value in sorted(route.items()) if value and key not in _DESTINATIONS)
        found[destination] = f"{destination} to {', '.join(targets) or NOTHING}"
    return found


def _routes_of(values: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> set[str]:
    ours = (r["values"] for r in resources if r["type"] == "aws_route")
    keys = ("destination_cidr_block", "destination_ipv6_cidr_block", "destination_prefix_list_id")
    return {
        str(one[key]) for one in ours if one.get("route_table_id") == values.get("id") for key in keys if one.get(key)
    }


def _rules(attribute: str) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    def listed(values: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for rule in values.get(attribute) or ():
            sources = [*rule.get("cidr_blocks", ()), *rule.get("ipv6_cidr_blocks", ())]
            sources += [*rule.get("security_groups", ()), *rule.get("prefix_list_ids", ())]
            sources += [values["id"]] if rule.get("self") else []
            for source in sources:
                text = _rule(rule.get("protocol"), rule.get("from_port"), rule.get("to_port"), source, attribute)
                found[text] = text
        return found

    return listed


def _rules_of(attribute: str) -> Callable[[Mapping[str, Any], Iterable[Mapping[str, Any]]], set[str]]:
    kind = f"aws_vpc_security_group_{attribute}_rule"
    keys = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id")

    def ours(values: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> set[str]:
        rules = (r["values"] for r in resources if r["type"] == kind)
        return {
            _rule(one.get("ip_protocol"), one.get("from_port"), one.get("to_port"), one[key], attribute)
            for one in rules
            if one.get("security_group_id") == values.get("id")
            for key in keys
            if one.get(key)
        }

    return ours


def _rule(protocol: Any, first: Any, last: Any, source: Any, attribute: str) -> str:
    towards = "from" if attribute == "ingress" else "to"
    if str(protocol) in ("-1", "all"):
        return f"everything {towards} {source}"
    ports = f"{first}" if first == last else f"{first}-{last}"
    return f"{protocol} {ports} {towards} {source}"


_LISTED: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "inline_policy": _policies,
    "managed_policy_arns": _attached,
    "route": _routes,
    "ingress": _rules("ingress"),
    "egress": _rules("egress"),
}
_OWNED: dict[str, Callable[[Mapping[str, Any], Iterable[Mapping[str, Any]]], set[str]]] = {
    "inline_policy": _policies_of,
    "managed_policy_arns": _attached_of,
    "route": _routes_of,
    "ingress": _rules_of("ingress"),
    "egress": _rules_of("egress"),
}
