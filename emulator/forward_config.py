"""Weighted forward actions: read from a call, written into an answer, and refused where AWS refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.alb_answers import Answer, Parameters, error
from emulator.routing import Action, groups_of
from emulator.upstream import alb, replace

__all__ = ["install", "refuse_actions"]

_MAX_WEIGHT = 999


def install() -> None:
    """Let MiniStack read and write a ForwardConfig."""
    parse: Callable[..., list[Action]] = alb._parse_actions
    write: Callable[[Action], str] = alb._action_xml

    def parse_actions(params: Parameters, prefix: str = "DefaultActions") -> list[Action]:
        actions = parse(params, prefix)
        for number, action in enumerate(actions, 1):
            if action["Type"].lower() == "forward":
                _add_forward_config(action, params, f"{prefix}.member.{number}.ForwardConfig")
        return actions

    def action_xml(action: Action) -> str:
        xml = write(action)
        if "ForwardConfig" not in action:
            return xml
        return xml.removesuffix("</member>") + _forward_config_xml(action["ForwardConfig"]) + "</member>"

    replace(alb, "_parse_actions", parse_actions)
    replace(alb, "_action_xml", action_xml)


def refuse_actions(actions: list[Action]) -> Answer | None:
    """Return AWS's answer to a forward that cannot be: an unknown group, a weight out of range, a group named twice."""
    for action in actions:
        groups = groups_of(action)
        if action["Type"].lower() == "forward" and not groups:
            return error("ValidationError", "A forward action must name at least one target group")
        for arn, weight in groups:
            if arn not in alb._tgs:
                return error("TargetGroupNotFound", f"Target groups '{arn}' not found")
            if not 0 <= weight <= _MAX_WEIGHT:
                return error("ValidationError", f"Target group weight '{weight}' must be between 0 and 999 inclusive")
        if len({arn for arn, _ in groups}) < len(groups):
            return error("ValidationError", "Target groups in a forward action must be unique")
    return None


def _add_forward_config(action: Action, params: Parameters, base: str) -> None:
    """Read a ForwardConfig; a plain TargetGroupArn gets the one that AWS answers for it."""
    groups = []
    number = 1
    while arn := alb._p(params, f"{base}.TargetGroups.member.{number}.TargetGroupArn"):
        weight = alb._p(params, f"{base}.TargetGroups.member.{number}.Weight", "1")
        groups.append({"TargetGroupArn": arn, "Weight": int(weight)})
        number += 1
    if not groups and action.get("TargetGroupArn"):
        groups = [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]
    if not groups:
        return
    sticky = alb._p(params, f"{base}.TargetGroupStickinessConfig.Enabled", "false").lower() == "true"
    duration = alb._p(params, f"{base}.TargetGroupStickinessConfig.DurationSeconds")
    stickiness: dict[str, Any] = {"Enabled": sticky}
    if duration:
        stickiness["DurationSeconds"] = int(duration)
    action["ForwardConfig"] = {"TargetGroups": groups, "TargetGroupStickinessConfig": stickiness}
    if len(groups) == 1:
        action["TargetGroupArn"] = groups[0]["TargetGroupArn"]


def _forward_config_xml(config: dict[str, Any]) -> str:
    groups = "".join(
        f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
        for group in config["TargetGroups"]
    )
    stickiness = config["TargetGroupStickinessConfig"]
    duration = stickiness.get("DurationSeconds")
    return (
        f"<ForwardConfig><TargetGroups>{groups}</TargetGroups><TargetGroupStickinessConfig>"
        f"<Enabled>{str(stickiness['Enabled']).lower()}</Enabled>"
        + (f"<DurationSeconds>{duration}</DurationSeconds>" if duration is not None else "")
        + "</TargetGroupStickinessConfig></ForwardConfig>"
    )
