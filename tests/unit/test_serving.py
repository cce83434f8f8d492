"""Whose requests a listener answers, by its weights, its targets, and the tasks that they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.colour import Colour, Weights
from core.listener import ListenerView
from core.serving import Deployed, RunningTask, Serving, Target, judge_serving
from tests.unit.facts import release

OURS, OTHER = (f"arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-green:{n}" for n in (7, 6))
DEPLOYED = Deployed(release("v1.1.0"), Colour.GREEN, OURS)
ON_GREEN = ListenerView(Weights.all_on(Colour.GREEN))
A, B = (RunningTask(f"arn:aws:ecs:eu-west-1:123456789012:task/c/{n}", OURS, (f"10.0.0.{n}",)) for n in (1, 2))
SOUND = Serving(ON_GREEN, (Target("10.0.0.1", "healthy"), Target("10.0.0.2", "healthy")), (A, B))
STRANGER = Target("10.0.0.9", "healthy")


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("two healthy targets are the two tasks", SOUND),
        (
            "a plain target group counts with any weight",
            replace(SOUND, listener=ListenerView(Weights(blue=0, green=1))),
        ),
        ("a task that is starting has no target yet", replace(SOUND, targets=SOUND.targets[:1])),
        (
            "a task that is sick gets nothing beside a healthy one",
            replace(SOUND, targets=(SOUND.targets[0], Target("10.0.0.2", "unhealthy"))),
        ),
        ("what drains gets no new request", replace(SOUND, targets=(*SOUND.targets, Target("10.0.0.9", "draining")))),
        ("a task may have several addresses", replace(SOUND, tasks=(replace(A, addresses=("fd00::1", "10.0.0.1")), B))),
    ],
)
def test_only_the_release_can_have_answered(rule: str, seen: Serving) -> None:
    assert judge_serving(seen, DEPLOYED) is None, rule


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (replace(SOUND, listener=ListenerView(Weights.all_on(Colour.BLUE))), "the listener has blue 100, green 0"),
        (replace(SOUND, listener=ListenerView(Weights(blue=1, green=99))), "the listener has blue 1, green 99"),
        (
            replace(SOUND, listener=replace(ON_GREEN, strange="has the rule 5 that names our target groups")),
            "the listener has the rule 5 that names our target groups",
        ),
        (
            replace(SOUND, targets=(*SOUND.targets, STRANGER)),
            "not a task of the green service, but among its targets: 10.0.0.9 (healthy)",
        ),
        (
            replace(SOUND, targets=(*SOUND.targets, replace(STRANGER, state="initial"))),
            "not a task of the green service, but among its targets: 10.0.0.9 (initial)",
        ),
        (replace(SOUND, tasks=(A, replace(B, definition=OTHER))), "task 2 runs shop-green:6"),
        (replace(SOUND, tasks=(A, B, RunningTask("task/c/3", OTHER, ()))), "task 3 runs shop-green:6"),
        (replace(SOUND, targets=()), "no target is healthy"),
        (replace(SOUND, targets=(Target("10.0.0.1", "unhealthy"),)), "no target is healthy"),
        (
            replace(SOUND, tasks=()),
            "not a task of the green service, but among its targets: 10.0.0.1 (healthy), 10.0.0.2 (healthy)",
        ),
    ],
)
def test_what_else_could_have_answered_is_said(seen: Serving, reason: str) -> None:
    assert judge_serving(seen, DEPLOYED) == reason
