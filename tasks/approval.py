"""A human's approval before traffic shifts: a form in the UI, bound to this release, plan and attempt."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from core.errors import Refused
from core.history import State
from core.markdown import Markdown, cell, code, table
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step

__all__ = ["ReleaseDecision", "approve", "describe_candidate"]


class ReleaseDecision(RunInput):
    """What an operator answers."""

    decision: Literal["approve", "reject"] = Field(description="Whether to shift traffic to this release.")
    name: str = Field(min_length=1, max_length=100, description="Your name; recorded as typed.")
    reason: str = Field(default="", max_length=1_000, description="The reason (optional).")


def approve(operation: Operation) -> None:
    """Wait for a human's decision where the environment asks for one; raise `Refused` if it is a rejection.

    While it waits there is no process: the lease is parked until the deadline, and the flow is replayed from its top
    once the answer is there. The answer belongs to this release, this recorded plan and this attempt, and is never
    taken for another.
    """
    asked = operation.settings.approval
    if not asked.required:
        need_no_approval(operation)
        return
    attempt = operation.journal.attempt
    if attempt.state is not State.AWAITING_APPROVAL:
        until = now() + timedelta(seconds=asked.timeout_seconds)
        await_approval(operation, until)
        operation.lease.park(until)
    # Prefect suspends a flow, never a task: nothing between here and the answer is a step.
    decision = suspend_flow_run(
        wait_for_input=ReleaseDecision.with_initial_data(description=describe_candidate(operation)),
        timeout=asked.timeout_seconds,
        key=f"approve-{operation.release.revision}-{(attempt.plan_sha256 or '')[:12]}-{attempt.id}",
    )
    take_decision(operation, decision)


@step("approve", "check whether a human must approve", writes=False)
def need_no_approval(_operation: Operation) -> Done[None]:
    """Record that no approval is required."""
    return skipped("this environment does not require approval")


@step("await approval", "wait for a human's decision until {until:%Y-%m-%d %H:%M %Z}")
def await_approval(operation: Operation, until: datetime) -> Done[None]:
    """Write that a decision is awaited."""
    operation.journal.advance(State.AWAITING_APPROVAL)
    return done("the run is suspended; Resume in the UI opens the form")


@step("approve", "record the decision of {decision.name}")
def take_decision(operation: Operation, decision: ReleaseDecision) -> Done[None]:
    """Write who decided; raise `Refused` if it was rejected."""
    given = f"{decision.name}: {decision.reason}" if decision.reason else decision.name
    operation.journal.change(lambda a: a.approved_by(decision.name))
    if decision.decision != "approve":
        raise Refused(f"{operation.release.version} was rejected", why=given, do="Traffic was not moved.")
    return done(f"approved by {given}")


def describe_candidate(operation: Operation) -> str:
    """Return what the operator reads before deciding: the release, its plan, its smoke test, its address."""
    release, settings = operation.release, operation.settings
    live, colour = operation.record.live, operation.candidate.colour
    host = operation.infrastructure.alb_dns_name
    details = {step.name: step.detail for step in operation.journal.steps}
    plan = details.get("plan", "")
    facts = [
        ("live now", live.release.version if live else "nothing"),
        ("revision", release.revision),
        ("commit", code(release.commit)),
        ("image", code(release.image_digest)),
        ("plan", Markdown(f"{cell(plan)} ({code((operation.journal.attempt.plan_sha256 or '')[:12])})")),
        ("migration", details.get("migrate", "")),
        ("findings in the image", details.get("findings", "")),
        ("candidate", Markdown(f"http://{host}:{settings.ports.test(colour)} ({colour})")),
    ]
    checks = table([(verdict,) for verdict in operation.journal.attempt.verdicts], head=("smoke test",))
    return f"# {release.version} → {operation.environment}\n\n{table(facts)}\n{checks}"
