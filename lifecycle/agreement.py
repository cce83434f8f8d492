"""A human's agreement to a plan of infrastructure: in Prefect's UI, or at the terminal that the command runs in.

Nothing is held while a person decides: the lease is given back before, taken again after, and what was agreed to is
held against what it finds then. The process lives on, since the plan's file is the very one that is applied.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from core.errors import Refused
from core.plan_review import PlanReview
from operation.operation import Operation
from operation.step import Done, done, skipped, step

__all__ = [
    "Answer",
    "Ask",
    "Decision",
    "Question",
    "TypedDecision",
    "agree_on",
    "agree_to_destroy",
    "ask_in_shell",
    "ask_in_ui",
    "questions_about",
]

POLL = 1
"""Seconds between looks whether a person has answered."""


@dataclass(frozen=True)
class Question:
    """What a person is asked."""

    key: str
    """Tells it from every other question of the run, and from the same one about another plan."""
    page: str
    """What to read first, in Markdown."""
    text: str
    """The same for a terminal."""
    timeout: int
    """How many seconds there are for an answer."""
    confirm: str | None = None
    """What must be typed, letter by letter; a terminal asks for the plan's first digits where this is None."""
    digits: str = ""


@dataclass(frozen=True)
class Answer:
    """What a person said."""

    agreed: bool
    name: str
    reason: str = ""
    typed: str | None = None


Ask = Callable[[Question], Answer]


class Decision(RunInput):
    """What an operator answers about a plan."""

    decision: Literal["apply", "reject"] = Field(description="Whether to apply this plan.")
    name: str = Field(min_length=1, max_length=100, description="Your name; recorded as typed.")
    reason: str = Field(default="", max_length=1_000, description="The reason (optional).")


class TypedDecision(Decision):
    """What an operator answers where it must be meant."""

    confirm: str = Field(default="", max_length=2_000, description="Type here what the text above asks for.")


def ask_in_ui(question: Question) -> Answer:
    """Pause the flow run until somebody resumes it in Prefect's UI, which opens the form."""
    form = TypedDecision if question.confirm is not None else Decision
    try:
        given = pause_flow_run(
            wait_for_input=form.with_initial_data(description=question.page),
            timeout=question.timeout,
            poll_interval=POLL,
            key=question.key,
        )
    except FlowPauseTimeout as error:
        raise Refused(
            "Nobody decided in time",
            why=f"the question was open for {question.timeout} s ([approval] timeout_seconds)",
            do="Start the run again; nothing was changed.",
        ) from error
    typed = given.confirm if isinstance(given, TypedDecision) else None
    return Answer(given.decision == "apply", given.name, given.reason, typed)


def ask_in_shell(question: Question) -> Answer:
    """Ask at the terminal; raise `Refused` where there is none."""
    if not sys.stdin.isatty():
        raise Refused(
            "There is no terminal to ask at",
            why="a person agrees to what is planned, and its input is no terminal",
            do="Run the command in a terminal, or run its deployment and answer in Prefect's UI.",
        )
    wanted = question.confirm or question.digits
    typed = input(f"{question.text}\n\nType {wanted} to go on, anything else to stop: ").strip()
    return Answer(typed == wanted, getpass.getuser(), typed=typed)


def agree_on(operation: Operation, review: PlanReview, ask: Ask) -> None:
    """Ask about a plan, and once more by name about what carries traffic and would be away; raise `Refused` for a no.

    The lease must not be held: a release or a rollback goes on meanwhile.
    """
    if not review.changes:
        nothing_to_agree_on(operation, review)
        return
    show(operation, review)
    for question in questions_about(review, operation.owner.attempt, operation.settings.approval.timeout_seconds):
        record_agreement(operation, question, ask(question))


def agree_to_destroy(operation: Operation, review: PlanReview, stays: Sequence[str], ask: Ask) -> None:
    """Ask for the name of what is removed, typed under the plan; raise `Refused` for a no."""
    if not review.changes:
        nothing_to_agree_on(operation, review)
        return
    show(operation, review)
    kept = "".join(f"\n- {thing}" for thing in stays)
    ending = f"\n\nWhat stays, and what it goes on costing:\n{kept}\n" if kept else "\n"
    key = f"destroy-{review.subject}-{review.short}-{operation.owner.attempt}"
    question = Question(
        key,
        f"# Everything below is removed\n\nTo go on, type: `{review.subject}`{ending}\n{review.markdown()}",
        f"{review.text()}{ending}",
        operation.settings.approval.timeout_seconds,
        confirm=review.subject,
    )
    record_agreement(operation, question, ask(question))


def questions_about(review: PlanReview, attempt: str, timeout: int) -> list[Question]:
    """Return what is asked about a plan that changes something; each question belongs to this plan and attempt."""
    key = f"{review.subject}-{review.short}-{attempt}"
    first = Question(f"plan-{key}", review.markdown(), review.text(), timeout, digits=review.sha256[:8])
    if not review.named_again:
        return [first]
    wanted = " ".join(review.named_again)
    lost = "\n".join(f"- `{c.address}` ({c.action}): {c.downtime}" for c in review.changes if c.named_again)
    page = f"# This takes away what carries traffic\n\n{lost}\n\nTo go on, type: `{wanted}`"
    text = f"This takes away what carries traffic:\n{lost.replace('`', '')}"
    return [first, Question(f"by-name-{key}", page, text, timeout, confirm=wanted)]


@step("agreement", "look whether the plan of {review.subject} changes anything", writes=False)
def nothing_to_agree_on(_operation: Operation, review: PlanReview) -> Done[None]:
    """Record that there is nothing to decide about."""
    return skipped(f"the plan of {review.subject} changes no resource")


@step("show plan", "publish plan {review.short} of {review.subject}", writes=False)
def show(operation: Operation, review: PlanReview) -> Done[None]:
    """Publish a plan as an artifact: one key a root and environment, so that the UI shows their history."""
    create_markdown_artifact(
        key=f"plan-{review.subject}",
        description=f"Plan {review.short} of {review.subject}: {review.summary}",
        markdown=review.markdown(),
    )
    return done(f"{review.summary}; artifact plan-{review.subject}, awaiting a decision")


@step("agreement", "record the decision of {answer.name}", writes=False)
def record_agreement(_operation: Operation, question: Question, answer: Answer) -> Done[None]:
    """Write who decided; raise `Refused` for a no, or where what had to be typed was not."""
    said = f"{answer.name}: {answer.reason}" if answer.reason else answer.name
    if not answer.agreed:
        raise Refused("The plan was rejected", why=said, do="Nothing was changed.")
    if question.confirm is not None and (answer.typed or "").split() != question.confirm.split():
        raise Refused(
            "The plan was not confirmed",
            why=f"{answer.name} typed {answer.typed!r}, not {question.confirm!r}",
            do="Start the run again and type it letter by letter. Nothing was changed.",
        )
    return done(f"agreed by {said}")
