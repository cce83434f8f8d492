"""A plan as a person reads it: what changes, what is lost meanwhile, what must be agreed to by name, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from core.plan_review import Action, PlannedChange, PlanReview, review_plan, review_together

SHA = "ab" * 32
LISTENER = "aws_lb_listener.https[0]"


def resource(address: str, *actions: str, **change: Any) -> dict[str, Any]:
    kind = address.partition(".")[0]
    return {"address": address, "type": kind, "change": {"actions": list(actions), "before": {}, "after": {}, **change}}


def review(*resources: dict[str, Any]) -> PlanReview:
    return review_plan("test", SHA, {"resource_changes": list(resources)})


def only(*resources: dict[str, Any]) -> PlannedChange:
    (change,) = review(*resources).changes
    return change


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (("create",), Action.CREATE),
        (("update",), Action.UPDATE),
        (("delete",), Action.DELETE),
        (("delete", "create"), Action.REPLACE),
        (("create", "delete"), Action.REPLACE),
        (("forget",), Action.FORGET),
    ],
)
def test_what_terraform_calls_it_has_one_word(actions: tuple[str, ...], action: Action) -> None:
    assert only(resource("aws_lb.main", *actions)).action is action


@pytest.mark.parametrize("actions", [("no-op",), ("read",)])
def test_what_changes_nothing_is_left_out(actions: tuple[str, ...]) -> None:
    found = review(resource("aws_lb.main", *actions))
    assert found.changes == ()
    assert found.summary == "nothing to change"


def test_an_import_is_named_as_one() -> None:
    assert only(resource("aws_lb.main", "no-op", importing={"id": "x"})).action is Action.IMPORT
    assert only(resource("aws_lb.main", "update", importing={"id": "x"})).action is Action.IMPORT
    assert only(resource("aws_lb.main", "create", importing=None)).action is Action.CREATE


@pytest.mark.parametrize(
    ("address", "actions", "again"),
    [
        ("aws_lb.main", ("delete", "create"), True),
        ("aws_lb.main", ("delete",), True),
        ("aws_lb.main", ("update",), False),
        ("aws_lb.main", ("create",), False),
        ('aws_lb_target_group.colour["blue"]', ("delete", "create"), True),
        ("aws_nat_gateway.main", ("delete", "create"), True),
        (LISTENER, ("delete", "create"), True),
        ("aws_lb_listener.http_forward[0]", ("delete",), True),
        ('aws_lb_listener.test["blue"]', ("delete", "create"), False),
        ("aws_subnet.private", ("delete", "create"), False),
        ("aws_ecs_cluster.main", ("delete", "create"), False),
    ],
)
def test_what_carries_traffic_must_be_agreed_to_by_name(address: str, actions: tuple[str, ...], again: bool) -> None:
    found = review(resource(address, *actions), resource("aws_iam_role.task", "create"))
    assert found.named_again == ((address,) if again else ())


@pytest.mark.parametrize(
    ("address", "actions", "lost"),
    [
        ("aws_lb.main", ("delete", "create"), "no request is answered until DNS names the new load balancer"),
        ("aws_lb.main", ("update",), "none"),
        ("aws_cloudwatch_log_group.tasks", ("delete",), "the log lines in it are lost"),
        ("aws_cloudwatch_metric_alarm.x", ("delete",), "none"),
    ],
)
def test_what_is_lost_meanwhile_is_said(address: str, actions: tuple[str, ...], lost: str) -> None:
    assert only(resource(address, *actions)).downtime == lost


def test_each_attribute_is_told_with_its_values() -> None:
    change = only(
        resource(
            "aws_lb.main",
            "delete",
            "create",
            before={"name": "a", "internal": False, "same": 1, "arn": "arn:1"},
            after={"name": "b", "internal": True, "same": 1},
            after_unknown={"arn": True, "id": True},
            replace_paths=[["internal"]],
        )
    )
    assert change.changes == (
        'arn: "arn:1" → (known after apply)',
        "internal: false → true (forces replacement)",
        'name: "a" → "b"',
    )


@pytest.mark.parametrize("marks", [True, {"inner": True}, [False, {"deep": [True]}]])
def test_a_sensitive_value_is_never_shown(marks: Any) -> None:
    change = only(
        resource(
            "aws_x.y",
            "update",
            before={"password": "old-secret"},
            after={"password": "new-secret"},
            after_sensitive={"password": marks},
        )
    )
    assert change.changes == ("password: (sensitive) → (sensitive)",)


def test_a_mark_that_marks_nothing_hides_nothing() -> None:
    facts = {"before": {"tags": {}}, "after": {"tags": {"a": "b"}}, "after_sensitive": {"tags": {"a": False}}}
    assert only(resource("aws_x.y", "update", **facts)).changes == ('tags: {} → {"a": "b"}',)


def test_a_long_value_is_cut() -> None:
    change = only(resource("aws_x.y", "update", before={"policy": ""}, after={"policy": "x" * 900}))
    assert len(change.changes[0]) < 230
    assert change.changes[0].endswith("…")


def test_the_page_and_the_terminal_say_the_same() -> None:
    found = review(resource("aws_lb.main", "delete", "create"), resource("aws_iam_role.task", "create"))
    page, text = found.markdown(), found.text()
    assert page.startswith("# Plan abababababab of test\n\n1 to create, 1 to replace. 1 change with downtime.")
    assert "| `aws_lb.main` | replace |" in page
    assert text.startswith("Plan abababababab of test: 1 to create, 1 to replace.")
    assert "  replace  aws_lb.main   [downtime: no request is answered" in text
    assert "No downtime is known of." in review(resource("aws_iam_role.task", "create")).markdown()


def test_plans_that_are_agreed_to_as_one_have_one_checksum_of_all() -> None:
    blue, green = review(resource("aws_ecs_service.slot", "delete")), review()
    both = review_together("test", {"blue": blue, "green": green})
    assert [c.address for c in both.changes] == ["blue: aws_ecs_service.slot"]
    other = review_together("test", {"blue": blue, "green": review_plan("test", "cd" * 32, {})})
    assert both.sha256 != other.sha256
    assert len(both.sha256) == 64
