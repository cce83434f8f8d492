"""A listener is ours only if it is exactly one forward to a subset of our two groups, stickiness off."""

from __future__ import annotations

from typing import Any

import pytest

from core.colour import Colour, Weights
from core.listener import ListenerView, judge_listener
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP

GROUPS = {Colour.BLUE: BLUE_GROUP, Colour.GREEN: GREEN_GROUP}
EVIL = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/evil/9"
HOME = Weights.all_on(Colour.BLUE)


def forward(*targets: tuple[str, int], sticky: bool = False) -> dict[str, Any]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in targets]
    config = {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": sticky}}
    return {"Type": "forward", "ForwardConfig": config}


OURS = forward((BLUE_GROUP, 100), (GREEN_GROUP, 0))


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param([OURS], id="both groups"),
        pytest.param([forward((BLUE_GROUP, 100))], id="one of them"),
        pytest.param([{"Type": "forward", "TargetGroupArn": BLUE_GROUP}], id="the short form"),
    ],
)
def test_one_forward_to_our_groups_is_ours(actions: list[dict[str, Any]]) -> None:
    assert judge_listener(actions, [], GROUPS) == ListenerView(HOME)


@pytest.mark.parametrize(
    ("actions", "rules", "strange"),
    [
        pytest.param([forward((BLUE_GROUP, 100), (EVIL, 1))], [], "forwards to evil as well", id="a third group"),
        pytest.param(
            [{"Type": "authenticate-oidc"}, OURS], [], "has the default actions authenticate-oidc, forward", id="login"
        ),
        pytest.param([{"Type": "redirect"}], [], "has the default actions redirect", id="redirect"),
        pytest.param([{"Type": "fixed-response"}], [], "has the default actions fixed-response", id="fixed"),
        pytest.param([], [], "has the default actions none", id="nothing"),
        pytest.param([forward((BLUE_GROUP, 100), sticky=True)], [], "has group stickiness enabled", id="stickiness"),
        pytest.param(
            [OURS],
            [{"Priority": "7", "Actions": [forward((GREEN_GROUP, 1))]}],
            "has the rule 7 that names our target groups",
            id="a rule",
        ),
        pytest.param(
            [OURS],
            [{"Priority": "7", "Actions": [{"Type": "authenticate-oidc"}, forward((EVIL, 1), (BLUE_GROUP, 0))]}],
            "has the rule 7 that names our target groups",
            id="a rule that names one of them beside another",
        ),
    ],
)
def test_anything_else_is_said_in_words(
    actions: list[dict[str, Any]], rules: list[dict[str, Any]], strange: str
) -> None:
    assert judge_listener(actions, rules, GROUPS).strange == strange


def test_a_rule_that_leads_elsewhere_and_the_default_rule_are_nobody_s_business() -> None:
    rules = [
        {"Priority": "1", "Actions": [forward((EVIL, 1))]},
        {"Priority": "2", "Actions": [{"Type": "redirect"}]},
        {"Priority": "default", "IsDefault": True, "Actions": [OURS]},
    ]
    assert judge_listener([OURS], rules, GROUPS) == ListenerView(HOME)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (ListenerView(HOME), "blue 100, green 0"),
        (ListenerView(HOME, "has group stickiness enabled"), "blue 100, green 0, and it has group stickiness enabled"),
    ],
)
def test_a_listener_is_said_in_words(view: ListenerView, said: str) -> None:
    assert str(view) == said


def test_several_strange_things_are_all_said() -> None:
    odd = forward((BLUE_GROUP, 100), (EVIL, 1), ("no-arn", 0), sticky=True)
    assert judge_listener([odd], [], GROUPS).strange == (
        "forwards to evil, no-arn as well and has group stickiness enabled"
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"Actions": [OURS]}, "has the rule ? that names our target groups"),
        ({"Priority": "3"}, ""),
        ({"Priority": "3", "IsDefault": False, "Actions": [OURS]}, "has the rule 3 that names our target groups"),
    ],
)
def test_a_rule_that_lacks_something_is_read_all_the_same(rule: dict[str, Any], said: str) -> None:
    assert judge_listener([OURS], [rule], GROUPS).strange == said


def test_a_group_without_a_weight_has_one() -> None:
    action = {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": BLUE_GROUP}]}}
    assert judge_listener([action], [], GROUPS) == ListenerView(Weights(blue=1, green=0))
