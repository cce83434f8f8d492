"""Which target group a request goes to: weights, and which groups a listener uses."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from emulator.upstream import alb

__all__ = ["Action", "choose_group", "groups_of", "load_balancers_of", "resolve_weights", "scope_of"]

Action = dict[str, Any]
_ALL_WEIGHTS_ZERO: Action = {
    "Type": "fixed-response",
    "Order": 1,
    "FixedResponseConfig": {
        "StatusCode": "503",
        "ContentType": "text/html",
        "MessageBody": "<html><head><title>503 Service Temporarily Unavailable</title></head></html>",
    },
}


def scope_of(arn: str) -> tuple[str, str]:
    """Return account and region that an ARN names."""
    parts = arn.split(":")
    return parts[4], parts[3]


def groups_of(action: Action) -> list[tuple[str, int]]:
    """Return the target groups of a forward action with their weights."""
    if action.get("Type", "").lower() != "forward":
        return []
    config = action.get("ForwardConfig")
    if config:
        return [(group["TargetGroupArn"], group["Weight"]) for group in config["TargetGroups"]]
    return [(action["TargetGroupArn"], 1)] if action.get("TargetGroupArn") else []


def choose_group(action: Action) -> str | None:
    """Choose one target group by weight. A group of weight 0 never comes up; None when all weights are 0."""
    groups = [(arn, weight) for arn, weight in groups_of(action) if weight > 0]
    if not groups:
        return None
    if len(groups) == 1:
        return groups[0][0]
    return random.choices([arn for arn, _ in groups], [weight for _, weight in groups])[0]


def resolve_weights(action: Action) -> Action:
    """Return the action with its weights played out: a forward to one group, or 503 when all weights are 0."""
    if not groups_of(action):
        return action
    arn = choose_group(action)
    if arn is None:
        return _ALL_WEIGHTS_ZERO
    return {"Type": "forward", "Order": action.get("Order", 1), "TargetGroupArn": arn}


def load_balancers_of(group: str) -> list[str]:
    """Return the ARNs of the load balancers with a listener or rule that names this target group."""
    account, region = scope_of(group)
    found: dict[str, None] = {}
    for listener_arn, actions in _all_actions(account, region):
        if any(group == arn for action in actions for arn, _ in groups_of(action)):
            listener = alb._listeners.get_scoped(account, region, listener_arn)
            if listener:
                found[listener["LoadBalancerArn"]] = None
    return list(found)


def _all_actions(account: str, region: str) -> Iterator[tuple[str, Iterable[Action]]]:
    for arn, listener in alb._listeners.items_scoped(account, region):
        yield arn, listener.get("DefaultActions", [])
    for rule in alb._rules.values_scoped(account, region):
        if not rule.get("IsDefault"):
            yield rule["ListenerArn"], rule.get("Actions", [])
