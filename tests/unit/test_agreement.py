"""A human's agreement: to this very plan, by name where traffic would be lost, at a terminal or in the UI."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from prefect.exceptions import FlowPauseTimeout

from core.errors import Refused
from core.plan_review import Action, PlannedChange, PlanReview
from lifecycle import agreement
from lifecycle.agreement import (
    Answer,
    Decision,
    Question,
    TypedDecision,
    agree_on,
    agree_to_destroy,
    ask_in_shell,
    ask_in_ui,
    questions_about,
)
from operation.operation import Operation

ROLE = PlannedChange("aws_iam_role.task", "aws_iam_role", Action.CREATE)
BALANCER = PlannedChange("aws_lb.main", "aws_lb", Action.REPLACE)
GATEWAY = PlannedChange("aws_nat_gateway.main", "aws_nat_gateway", Action.DELETE)
PLAN = PlanReview("test", "ab" * 32, (ROLE,))
SWEEPING = PlanReview("test", "cd" * 32, (ROLE, BALANCER, GATEWAY))
YES = Answer(agreed=True, name="Ada", reason="It is planned.")


class Person:
    """Somebody who answers, and remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[Question] = []
        self._answers = list(answers)

    def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        return self._answers.pop(0)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(agreement, "create_markdown_artifact", lambda **facts: published.append(facts))
    return published


def test_a_plan_is_shown_and_asked_about_once(operation: Operation, shown: list[dict[str, Any]]) -> None:
    person = Person(YES)
    agree_on(operation, PLAN, person)
    assert [artifact["key"] for artifact in shown] == ["plan-test"]
    assert "aws_iam_role.task" in shown[0]["markdown"]
    (question,) = person.asked
    assert question.confirm is None
    assert question.page == shown[0]["markdown"]
    (decided,) = (s for s in operation.journal.steps if s.name == "agreement")
    assert decided.detail == "agreed by Ada: It is planned."


def test_a_plan_that_changes_nothing_is_not_asked_about(operation: Operation, shown: list[dict[str, Any]]) -> None:
    agree_on(operation, PlanReview("test", "ab" * 32, ()), Person())
    agree_to_destroy(operation, PlanReview("test", "ab" * 32, ()), (), Person())
    assert shown == []


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [
        ("aws_lb.main aws_nat_gateway.main", True),
        ("  aws_lb.main   aws_nat_gateway.main ", True),
        ("aws_lb.main", False),
        ("aws_nat_gateway.main aws_lb.main", False),
        ("yes", False),
        ("", False),
        (None, False),
    ],
)
def test_what_carries_traffic_is_agreed_to_a_second_time_by_name(
    operation: Operation, shown: list[dict[str, Any]], typed: str | None, agreed: bool
) -> None:
    person = Person(YES, Answer(agreed=True, name="Ada", typed=typed))
    if agreed:
        agree_on(operation, SWEEPING, person)
    else:
        with pytest.raises(Refused, match="The plan was not confirmed"):
            agree_on(operation, SWEEPING, person)
    first, second = person.asked
    assert first.confirm is None
    assert second.confirm == "aws_lb.main aws_nat_gateway.main"
    assert "no request is answered until DNS names the new load balancer" in second.page


def test_a_no_ends_it_before_anything_else_is_asked(operation: Operation, shown: list[dict[str, Any]]) -> None:
    person = Person(Answer(agreed=False, name="Ada", reason="Not on a Friday."))
    with pytest.raises(Refused, match=r"The plan was rejected: Ada: Not on a Friday\."):
        agree_on(operation, SWEEPING, person)
    assert len(person.asked) == 1


def test_an_answer_belongs_to_one_plan_and_one_attempt() -> None:
    keys = {
        question.key
        for plan in (SWEEPING, PlanReview("test", "ef" * 32, SWEEPING.changes))
        for attempt in ("run-1-1", "run-1-2")
        for question in questions_about(plan, attempt, 60)
    }
    assert len(keys) == 8


def test_the_name_of_what_is_destroyed_is_typed_under_its_plan(
    operation: Operation, shown: list[dict[str, Any]]
) -> None:
    person = Person(Answer(agreed=True, name="Ada", typed="test"))
    agree_to_destroy(operation, PLAN, ["the images"], person)
    (question,) = person.asked
    assert question.confirm == "test"
    assert "- the images" in question.page
    assert "aws_iam_role.task" in question.page
    with pytest.raises(Refused, match="typed 'production', not 'test'"):
        agree_to_destroy(operation, PLAN, [], Person(Answer(agreed=True, name="Ada", typed="production")))


# --- where it is asked


@pytest.mark.parametrize(
    ("confirm", "typed", "agreed"),
    [(None, "abababab", True), (None, "y", False), ("production", "production", True), ("production", "prod", False)],
)
def test_a_terminal_asks_for_the_plan_s_digits_or_the_name(
    monkeypatch: pytest.MonkeyPatch, confirm: str | None, typed: str, agreed: bool
) -> None:
    prompts: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: prompts.append(prompt) or f"{typed} ")
    answer = ask_in_shell(Question("key", "# page", "the plan", 60, confirm=confirm, digits="abababab"))
    assert (answer.agreed, answer.typed) == (agreed, typed)
    assert answer.name
    assert prompts[0].startswith("the plan\n\n")
    assert (confirm or "abababab") in prompts[0]


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(Refused, match="no terminal"):
        ask_in_shell(Question("key", "page", "text", 60))


@pytest.mark.parametrize(
    ("confirm", "form", "given", "answer"),
    [
        (None, Decision, {"decision": "apply", "name": "Ada"}, Answer(True, "Ada", "", None)),
        (None, Decision, {"decision": "reject", "name": "Ada", "reason": "no"}, Answer(False, "Ada", "no", None)),
        (
            "production",
            TypedDecision,
            {"decision": "apply", "name": "Ada", "confirm": "production"},
            Answer(True, "Ada", "", "production"),
        ),
    ],
)
def test_the_ui_gets_a_form_of_its_own_for_what_must_be_typed(
    monkeypatch: pytest.MonkeyPatch,
    confirm: str | None,
    form: type[Decision],
    given: dict[str, str],
    answer: Answer,
) -> None:
    asked: dict[str, Any] = {}

    def pause(**facts: Any) -> Decision:
        asked.update(facts)
        return form(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(agreement, "pause_flow_run", pause)
    assert ask_in_ui(Question("key", "# page", "text", 60, confirm=confirm)) == answer
    assert issubclass(asked["wait_for_input"], form)
    assert (asked["key"], asked["timeout"]) == ("key", 60)
    assert asked["poll_interval"] <= 1


def test_a_question_that_nobody_answers_ends_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(**_: Any) -> Decision:
        raise FlowPauseTimeout("late")

    monkeypatch.setattr(agreement, "pause_flow_run", pause)
    with pytest.raises(Refused, match=r"Nobody decided in time: the question was open for 60 s"):
        ask_in_ui(Question("key", "page", "text", 60))
