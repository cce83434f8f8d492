"""What a plan of infrastructure would do, for the person who decides: each change, and what it costs in downtime.

The plan is what `terraform show -json` says of it: https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from core.markdown import code, table
from core.words import counted

__all__ = ["Action", "PlanReview", "PlannedChange", "review_plan", "review_together"]

_LONGEST = 200
_HIDDEN, _LATER = "(sensitive)", "(known after apply)"


class Action(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    IMPORT = "import"
    FORGET = "forget"


_ACTIONS = {
    ("create",): Action.CREATE,
    ("update",): Action.UPDATE,
    ("delete",): Action.DELETE,
    ("delete", "create"): Action.REPLACE,
    ("create", "delete"): Action.REPLACE,
    ("forget",): Action.FORGET,
}

# What is lost while a resource is away; a type that is not named here carries no traffic and starts no task.
_DOWNTIME = {
    "aws_lb": "no request is answered until DNS names the new load balancer",
    "aws_lb_listener": "no request to its port is answered until it is back",
    "aws_lb_target_group": "its colour serves nothing until it is released again",
    "aws_nat_gateway": "tasks reach nothing outside for minutes; the address that a database admits may change",
    "aws_eip": "the address from which tasks go out changes: a database that admits it refuses them",
    "aws_internet_gateway": "nothing gets in or out until it is back",
    "aws_vpc": "everything in it goes with it",
    "aws_subnet": "what runs in it goes with it",
    "aws_route": "its subnets lose that way until it is back",
    "aws_route_table": "its subnets lose their ways until it is back",
    "aws_route_table_association": "its subnet loses its ways until it is back",
    "aws_security_group": "what it admits is refused until it is back",
    "aws_vpc_security_group_ingress_rule": "what it admits is refused until it is back",
    "aws_vpc_security_group_egress_rule": "what it admits is refused until it is back",
    "aws_security_group_rule": "what it admits is refused until it is back",
    "aws_ecs_cluster": "every task of it stops",
    "aws_ecs_service": "its tasks stop",
    "aws_iam_role": "tasks cannot start, or flows cannot act, until it is back",
    "aws_iam_role_policy": "what it allows is refused until it is back",
    "aws_ecr_repository": "every image in it is lost, and with it every rollback",
    "aws_cloudwatch_log_group": "the log lines in it are lost",
}

# A test listener carries no traffic; nor does a target group of the colour that is not live, but the plan can't tell.
_NAMED_AGAIN = frozenset({"aws_lb", "aws_lb_listener", "aws_lb_target_group", "aws_nat_gateway"})
_CARRY_NO_TRAFFIC = ("aws_lb_listener.test",)


@dataclass(frozen=True)
class PlannedChange:
    """What a plan does to one resource."""

    address: str
    type: str
    action: Action
    changes: tuple[str, ...] = ()
    """Which attributes change, and from what to what."""

    @property
    def takes_away(self) -> bool:
        """Whether the resource as it is now ends."""
        return self.action in (Action.REPLACE, Action.DELETE)

    @property
    def downtime(self) -> str:
        """What is lost meanwhile, in words."""
        return _DOWNTIME.get(self.type, "none") if self.takes_away else "none"

    @property
    def named_again(self) -> bool:
        """Whether a human must agree a second time, by its name: requests are lost while it is away."""
        return self.takes_away and self.type in _NAMED_AGAIN and not self.address.startswith(_CARRY_NO_TRAFFIC)


@dataclass(frozen=True)
class PlanReview:
    """A plan as a person reads it, known by the checksum of its file."""

    subject: str
    sha256: str
    changes: tuple[PlannedChange, ...]

    @property
    def short(self) -> str:
        """The first digits of the checksum, for a sentence."""
        return self.sha256[:12]

    @property
    def named_again(self) -> tuple[str, ...]:
        """The addresses that must be agreed to by name."""
        return tuple(change.address for change in self.changes if change.named_again)

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        counts = {action: sum(c.action is action for c in self.changes) for action in Action}
        return ", ".join(f"{n} to {action}" for action, n in counts.items() if n) or "nothing to change"

    def markdown(self) -> str:
        """Return the plan as a page: what is lost first, then each change."""
        rows = [(code(c.address), c.action.value, "; ".join(c.changes), c.downtime) for c in self.changes]
        lost = [change for change in self.changes if change.downtime != "none"]
        said = f"{counted(len(lost), 'change')} with downtime." if lost else "No downtime is known of."
        head = ("address", "action", "what changes", "downtime")
        return f"# Plan {self.short} of {self.subject}\n\n{self.summary}. {said}\n\n{table(rows, head)}"

    def text(self) -> str:
        """Return the plan for a terminal, a line for each change and one for each attribute."""
        lines = [f"Plan {self.short} of {self.subject}: {self.summary}."]
        for change in self.changes:
            lost = "" if change.downtime == "none" else f"   [downtime: {change.downtime}]"
            lines.append(f"  {change.action.value:8} {change.address}{lost}")
            lines += [f"             {attribute}" for attribute in change.changes]
        return "\n".join(lines)


def review_plan(subject: str, sha256: str, content: Mapping[str, Any]) -> PlanReview:
    """Return the review of a plan: `content` is its JSON, `sha256` the checksum of its file."""
    return PlanReview(subject, sha256, tuple(_changes(content)))


def review_together(subject: str, reviews: Mapping[str, PlanReview]) -> PlanReview:
    """Return the review of several plans that are agreed to as one; each is named before its addresses."""
    checksum = hashlib.sha256("".join(review.sha256 for review in reviews.values()).encode()).hexdigest()
    changes = (
        replace(change, address=f"{name}: {change.address}")
        for name, review in reviews.items()
        for change in review.changes
    )
    return PlanReview(subject, checksum, tuple(changes))


def _changes(content: Mapping[str, Any]) -> Iterator[PlannedChange]:
    for resource in content.get("resource_changes", []):
        change = resource["change"]
        action = _ACTIONS.get(tuple(change["actions"]))
        if change.get("importing") and action in (None, Action.UPDATE):
            action = Action.IMPORT
        if action is not None:
            told = tuple(_attributes(change)) if action in (Action.UPDATE, Action.REPLACE, Action.IMPORT) else ()
            yield PlannedChange(resource["address"], resource["type"], action, told)


def _attributes(change: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each attribute that changes; of a sensitive one no value."""
    before, after = change.get("before") or {}, change.get("after") or {}
    hidden = [change.get("before_sensitive") or {}, change.get("after_sensitive") or {}]
    later = change.get("after_unknown") or {}
    forcing = {path[0] for path in change.get("replace_paths") or [] if path}
    for name in sorted({*before, *after, *later}):
        unknown = bool(later.get(name))
        if not unknown and before.get(name) == after.get(name):
            continue
        if unknown and name not in forcing and before.get(name) is None:
            continue  # what AWS assigns
        if any(_any_true(marks.get(name)) for marks in hidden if isinstance(marks, dict)):
            old = new = _HIDDEN
        else:
            old, new = _value(before.get(name)), _LATER if unknown else _value(after.get(name))
        yield f"{name}: {old} → {new}" + (" (forces replacement)" if name in forcing else "")


def _any_true(marks: Any) -> bool:
    if isinstance(marks, dict):
        return any(_any_true(mark) for mark in marks.values())
    if isinstance(marks, list):
        return any(_any_true(mark) for mark in marks)
    return bool(marks)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
