"""What a release's Terraform plan may change: its slot, and there only what a release is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.errors import Refused
from core.release import Release

__all__ = ["SlotPlan", "guard_slot_plan"]

_SERVICE = "aws_ecs_service.slot"
_DEFINITIONS = ("aws_ecs_task_definition.service", "aws_ecs_task_definition.migration")


@dataclass(frozen=True)
class SlotPlan:
    """What the plan of a slot must be about."""

    service: str
    container: str
    target_group_arn: str
    release: Release


def guard_slot_plan(content: dict[str, Any], expected: SlotPlan) -> None:
    """Raise `Refused` naming everything in `content` (`terraform show -json`) that a release may not change.

    https://developer.hashicorp.com/terraform/internals/json-format#change-representation
    """
    faults: list[str] = []
    for change in content.get("resource_changes", []):
        address, actions = change["address"], change["change"]["actions"]
        if change.get("mode") == "data" or actions == ["no-op"]:
            continue
        if address == _SERVICE:
            faults += _service_faults(address, actions, change["change"], expected)
        elif address in _DEFINITIONS:
            faults += _definition_faults(address, actions, change["change"], expected)
        else:
            faults.append(f"{address} would be changed ({' and '.join(actions)}), which is no part of a slot")
    if faults:
        raise Refused(
            f"The plan of {expected.release.version} goes beyond its slot",
            why="; ".join(faults),
            do="Change the infrastructure through `provision`, then release again.",
        )


def _service_faults(address: str, actions: list[str], change: dict[str, Any], expected: SlotPlan) -> list[str]:
    if "delete" in actions:
        return [f"{address} would be {'replaced' if 'create' in actions else 'deleted'}"]
    after = change["after"] or {}
    faults = []
    if after.get("name") != expected.service:
        faults.append(f"{address} is {after.get('name')!r} and not {expected.service!r}")
    groups = [lb.get("target_group_arn") for lb in after.get("load_balancer") or []]
    if groups != [expected.target_group_arn]:
        faults.append(f"{address} would serve {', '.join(map(str, groups)) or 'no target group'}")
    return faults


def _definition_faults(address: str, actions: list[str], change: dict[str, Any], expected: SlotPlan) -> list[str]:
    if "create" not in actions:
        return [f"{address} would be {' and '.join(actions)}d without a new revision"]
    after = change["after"] or {}
    definitions = _containers(after)
    if [c.get("name") for c in definitions] != [expected.container]:
        return [f"{address} would run {', '.join(str(c.get('name')) for c in definitions) or 'no container'}"]
    container, release = definitions[0], expected.release
    faults = []
    if container.get("image") != release.image:
        faults.append(f"{address} would run {container.get('image')} and not {release.image}")
    if container.get("privileged"):
        faults.append(f"{address} would run privileged")
    ours = {"POINTSMAN_VERSION", "POINTSMAN_REVISION", "POINTSMAN_COLOUR"}
    variables = {v["name"]: v["value"] for v in container.get("environment") or [] if v["name"] not in ours}
    if variables != release.configuration.variables:
        faults.append(f"{address} has variables that {release.version} does not declare, or lacks some")
    secrets = {s["name"]: s["valueFrom"] for s in container.get("secrets") or []}
    if secrets != release.configuration.secrets:
        faults.append(f"{address} has secrets that {release.version} does not declare, or lacks some")
    return faults


def _containers(definition: dict[str, Any]) -> list[dict[str, Any]]:
    text = definition.get("container_definitions")
    found: list[dict[str, Any]] = json.loads(text) if text else []
    return found
