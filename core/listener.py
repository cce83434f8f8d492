"""Whether a listener is as Pointsman writes it: exactly one forward to its two target groups, stickiness off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.colour import Colour, Weights

__all__ = ["ListenerView", "SeenListener", "describe_rules", "judge_listener"]


@dataclass(frozen=True)
class ListenerView:
    """What a listener does: the weights of our two groups, and in words what of it Pointsman does not write."""

    weights: Weights
    strange: str = ""

    def __str__(self) -> str:
        return f"{self.weights}, and it {self.strange}" if self.strange else str(self.weights)


@dataclass(frozen=True)
class SeenListener:
    """One listener of the load balancer, and the rules that somebody gave it beside its default action."""

    arn: str
    port: int
    rules: tuple[str, ...] = ()


def judge_listener(
    actions: Sequence[Mapping[str, Any]], rules: Iterable[Mapping[str, Any]], groups: Mapping[Colour, str]
) -> ListenerView:
    """Return what a listener with these default actions and rules does.

    A rule is strange only if its actions name our groups: others lead elsewhere, and move nothing of ours.
    """
    forward = next((action for action in actions if action["Type"] == "forward"), {})
    weight = dict(_targets(forward))
    weights = Weights(**{colour.value: weight.get(groups[colour], 0) for colour in Colour})
    foreign = sorted(_short(group) for group in weight.keys() - set(groups.values()))
    strange = []
    if len(actions) != 1 or not forward:
        strange.append(f"has the default actions {', '.join(a['Type'] for a in actions) or 'none'}")
    if foreign:
        strange.append(f"forwards to {', '.join(foreign)} as well")
    if forward.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {}).get("Enabled"):
        strange.append("has group stickiness enabled")
    strange += [
        f"has the rule {rule.get('Priority', '?')} that names our target groups"
        for rule in rules
        if _names(rule, groups)
    ]
    return ListenerView(weights, " and ".join(strange))


def describe_rules(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return each rule beside the default one in words: its priority, what it is about and what it does."""
    return [
        f"priority {rule.get('Priority', '?')}: {_conditions(rule)} {_actions(rule)}"
        for rule in rules
        if not rule.get("IsDefault")
    ]


def _conditions(rule: Mapping[str, Any]) -> str:
    listed = []
    for condition in rule.get("Conditions", ()):
        configured: Mapping[str, Any] = next((v for key, v in condition.items() if key.endswith("Config")), {})
        values = condition.get("Values") or configured.get("Values") or []
        listed.append(f"{condition.get('Field', '?')} {' or '.join(map(str, values))}".strip())
    return " and ".join(listed) or "any request"


def _actions(rule: Mapping[str, Any]) -> str:
    done = []
    for action in rule.get("Actions", ()):
        groups = ", ".join(f"{_short(arn)} {weight}" for arn, weight in _targets(action))
        status = action.get("FixedResponseConfig", {}).get("StatusCode", "")
        done.append(f"{action.get('Type', '?')} {groups or status}".strip())
    return f"→ {' and '.join(done)}"


def _targets(action: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    groups = action.get("ForwardConfig", {}).get("TargetGroups", ())
    for group in groups:
        yield group["TargetGroupArn"], int(group.get("Weight", 1))
    if not groups and "TargetGroupArn" in action:
        yield action["TargetGroupArn"], 100


def _names(rule: Mapping[str, Any], groups: Mapping[Colour, str]) -> bool:
    ours = set(groups.values())
    return not rule.get("IsDefault") and any(arn in ours for a in rule.get("Actions", ()) for arn, _ in _targets(a))


def _short(group_arn: str) -> str:
    return group_arn.partition("targetgroup/")[2].partition("/")[0] or group_arn
