"""What a release's Terraform plan may change: its slot, which looks as `core/slot_shape.py` says, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import Refused
from core.infrastructure import is_from_own_repository
from core.shape import Kept, differences
from core.slot_shape import SERVICE, TASKS, SlotPlan

__all__ = ["SlotPlan", "guard_slot_plan"]

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_ACTIONS = {
    SERVICE: (["create"], ["update"], ["no-op"]),
    "": (["create"], ["delete", "create"], ["create", "delete"], ["no-op"]),
}

# https://developer.hashicorp.com/terraform/internals/json-format: what such an object may hold for a slot. A key that
# is not here, as later versions of Terraform may add, is refused unless it is empty: nobody knows what it would do.
_OF_A_PLAN = {
    "format_version",
    "terraform_version",
    "variables",
    "planned_values",
    "resource_drift",
    "resource_changes",
    "output_changes",
    "prior_state",
    "configuration",
    "relevant_attributes",
    "checks",
    "timestamp",
    "applyable",
    "complete",
    "errored",
}
_OF_A_RESOURCE = {
    "address",
    "mode",
    "type",
    "name",
    "provider_name",
    "change",
    "action_reason",
}
_OF_A_CHANGE = {
    "actions",
    "before",
    "after",
    "after_unknown",
    "before_sensitive",
    "after_sensitive",
    "replace_paths",
    "importing",
    "before_identity",
    "after_identity",
}


def guard_slot_plan(content: Mapping[str, Any], expected: SlotPlan) -> None:
    """Raise `Refused` naming everything in `content` (`terraform show -json`) that is not this release in its slot."""
    faults = [*_plan_faults(content), *_resource_faults(content, expected), *_output_faults(content, expected)]
    if faults:
        raise Refused(
            f"The plan for {expected.release.version} changes more than its slot",
            why="; ".join(faults),
            do="Change the infrastructure through `provision`, then release again.",
        )


def _plan_faults(content: Mapping[str, Any]) -> Iterator[str]:
    version = str(content.get("format_version"))
    if version.partition(".")[0] != "1":
        yield f"format_version is {version}, and only 1.x is supported"
    if content.get("errored") is not False:
        yield "errored is not false: Terraform did not finish the plan"
    if content.get("complete") is not True:
        yield "complete is not true: the plan defers some changes"
    for key in sorted(content.keys() - _OF_A_PLAN):
        if content[key]:
            yield f"{key} is neither known nor empty"


def _resource_faults(content: Mapping[str, Any], expected: SlotPlan) -> Iterator[str]:
    if not is_from_own_repository(expected.release.image, expected.infrastructure, expected.settings):
        yield f"{expected.release.image} is not from {expected.infrastructure.ecr_repository_url}"
    changes = content.get("resource_changes")
    shapes = expected.resources
    if not isinstance(changes, list):
        yield "resource_changes is missing"
        return
    times = Counter(change.get("address") for change in changes)
    for address in shapes:
        if times[address] != 1:
            yield f"{address} appears {times[address]} times"
    for change in changes:
        address = change.get("address")
        if address not in shapes:
            actions = " and ".join(change.get("change", {}).get("actions", ["?"]))
            yield f"{address} would be changed ({actions}), which is not part of a slot"
            continue
        yield from _identity_faults(address, change)
        yield from _change_faults(address, change.get("change", {}), shapes[address], expected)
    yield from _definition_faults(content, changes)


def _identity_faults(address: str, change: Mapping[str, Any]) -> Iterator[str]:
    type_, _, name = address.partition(".")
    for key, wanted in (("mode", "managed"), ("type", type_), ("name", name), ("provider_name", _PROVIDER)):
        if change.get(key) != wanted:
            yield f"{address}: {key} is {change.get(key)!r}, not {wanted!r}"
    for key in sorted(change.keys() - _OF_A_RESOURCE):
        yield f"{address}: {key} is {change[key]!r}, which a slot's resource does not have"


def _change_faults(address: str, change: Mapping[str, Any], shape: Any, expected: SlotPlan) -> Iterator[str]:
    actions = change.get("actions")
    if actions not in _ACTIONS.get(address, _ACTIONS[""]):
        yield f"{address} would be {' and '.join(map(_participle, actions or ['?']))}"
        return
    for key in sorted(change.keys() - _OF_A_CHANGE):
        yield f"{address}: {key} is not known"
    importing = change.get("importing")
    if importing and (address != SERVICE or importing.get("id") != expected.import_id):
        yield f"{address} would be imported from {importing.get('id')!r}"
    before, after = change.get("before") or {}, change.get("after") or {}
    if "delete" in actions and before.get("skip_destroy") is not True:
        yield f"{address}.skip_destroy is not true: the previous revision would be deregistered"
    kept = {key: before.get(key, part.begins) if isinstance(part, Kept) else part for key, part in shape.items()}
    yield from differences(address, after, kept, change.get("after_unknown"))


def _definition_faults(content: Mapping[str, Any], changes: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a fault unless the service runs the very definition of this plan, whose revision the apply may make."""
    found = {change.get("address"): change.get("change", {}) for change in changes}
    service, tasks = found.get(SERVICE, {}), found.get(TASKS, {})
    planned = (service.get("after") or {}).get("task_definition")
    if planned is not None:
        if planned != (tasks.get("after") or {}).get("arn"):
            yield f"{SERVICE}.task_definition would become {planned!r}, which is not {TASKS}.arn"
        return
    module = content.get("configuration", {}).get("root_module", {})
    configured: Mapping[str, Any] = next((r for r in module.get("resources", []) if r.get("address") == SERVICE), {})
    references = configured.get("expressions", {}).get("task_definition", {}).get("references")
    if references != [f"{TASKS}.arn", TASKS]:
        yield f"{SERVICE}.task_definition would become what {references} gives, not {TASKS}.arn"


def _output_faults(content: Mapping[str, Any], expected: SlotPlan) -> Iterator[str]:
    shapes = expected.outputs
    for name, change in (content.get("output_changes") or {}).items():
        if name not in shapes:
            yield f"output.{name} is not known"
        else:
            yield from differences(f"output.{name}", change.get("after"), shapes[name], change.get("after_unknown"))


def _participle(action: str) -> str:
    return f"{action}d" if action.endswith("e") else action
