"""The human's yes before traffic shifts: a form in the UI, bound to this release, plan and attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from core.errors import Refused
from core.markdown import Markdown, cell, code, table
from core.record import State
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["ReleaseDecision", "approve"]


class ReleaseDecision(RunInput):
    """What an operator answers."""

    decision: Literal["approve", "reject"] = Field(description="Whether traffic shifts to this release.")
    name: str = Field(min_length=1, max_length=100, description="Who decides; recorded as typed.")
    reason: str = Field(default="", max_length=1_000, description="Why, if there is something to say.")


def approve(operation: Operation) -> None:
    """Wait for a human's decision where the environment asks for one; raise `Refused` if it is no.

    While it waits there is no process: the hold is parked until the deadline, and the flow is replayed from its top
    once the answer is there. The answer belongs to this release, this recorded plan and this attempt, and is never
    taken for another.
    """
    asked = operation.settings.approval
    if not asked.required:
        with operation.step("approve", "see whether a human must approve", writes=False) as step:
            step.skip("this environment asks for no approval")
        return
    attempt = operation.attempt
    if attempt.state is not State.AWAITING_APPROVAL:
        operation.advance(State.AWAITING_APPROVAL)
        operation.park(now() + timedelta(seconds=asked.timeout_seconds))
    decision = suspend_flow_run(
        wait_for_input=ReleaseDecision.with_initial_data(description=describe_candidate(operation)),
        timeout=asked.timeout_seconds,
        key=f"approve-{operation.release.revision}-{(attempt.plan_sha256 or '')[:12]}-{attempt.id}",
    )
    said = f"{decision.name}: {decision.reason}" if decision.reason else decision.name
    with operation.step("approve", f"take the decision of {decision.name}") as step:
        operation.note(approver=decision.name)
        if decision.decision != "approve":
            raise Refused(f"{operation.version} was rejected", why=said, do="Traffic was not touched.")
        step.done(f"approved by {said}")


def describe_candidate(operation: Operation) -> str:
    """Return what the operator reads before deciding: the release, its plan, its smoke test, its address."""
    release, settings = operation.release, operation.settings
    live = operation.last_seen.live
    host = operation.infrastructure.alb_dns_name
    details = {step.name: step.detail for step in operation.steps}
    plan = details.get("plan", "")
    facts = [
        ("live now", live.release.version if live else "nothing"),
        ("revision", release.revision),
        ("commit", code(release.commit)),
        ("image", code(release.image_digest)),
        ("plan", Markdown(f"{cell(plan)} ({code((operation.attempt.plan_sha256 or '')[:12])})")),
        ("migration", details.get("migrate", "")),
        ("candidate", Markdown(f"http://{host}:{settings.ports.test(operation.candidate)} ({operation.candidate})")),
    ]
    checks = table([(verdict,) for verdict in operation.attempt.verdicts], head=("smoke test",))
    return f"# {release.version} → {operation.environment}\n\n{table(facts)}\n{checks}"
