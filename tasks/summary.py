"""The summary of an attempt: one artifact a version and environment, published by whoever ends the attempt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact

from core.markdown import code, table
from operation.journal import EndedAttempt
from operation.operation import Operation
from operation.step import Done, done, step

__all__ = ["ArtifactObserver", "describe_attempt", "summarise"]


_PROOFS = (("the candidate was seen by", "smoke"), ("live was seen by", "confirm"))
"""What a step's outcome proves: docs/decisions/identity.md."""


@dataclass(frozen=True)
class ArtifactObserver:
    """Publishes each attempt that ended as a Prefect artifact; the artifact's page is the environment's history."""

    def attempt_ended(self, ended: EndedAttempt) -> None:
        """Publish what became of an attempt."""
        create_markdown_artifact(
            key=re.sub(r"[^a-z0-9-]+", "-", f"release-{ended.environment}".lower()),
            description=f"{ended.version} → {ended.environment}: {ended.attempt.state}",
            markdown=describe_attempt(ended),
        )


def describe_attempt(ended: EndedAttempt) -> str:
    """Return an attempt in Markdown: what it was, its steps with their seconds, and why it failed if it did."""
    attempt, release = ended.attempt, ended.attempt.release
    facts = [("version", ended.version), ("state", attempt.state.value)]
    if release is not None:
        facts += [("revision", release.revision), ("image", code(release.image_digest))]
    facts.append(("commit", code(ended.commit)))
    ended_as = {step.name: step.detail for step in ended.steps if step.outcome}
    if found := ended_as.get("findings"):
        facts.append(("findings in the image", found))
    proven = {step.name: step.detail for step in ended.steps if step.outcome == "done"}
    facts += [(fact, proven[name]) for fact, name in _PROOFS if name in proven]
    if found := ended_as.get("size"):
        facts.append(("size of the image, packed", found))
    if attempt.colour is not None:
        facts.append(("colour", attempt.colour.value))
    if attempt.approver:
        facts.append(("approved by", attempt.approver))
    if attempt.failure is not None:
        facts += [("failed at", attempt.failure.step), ("reason", attempt.failure.reason)]
        if attempt.failure.remains:
            facts.append(("not cleaned up", attempt.failure.remains))
    seconds = sum(step.seconds or 0.0 for step in ended.steps)
    facts.append(("steps together", f"{seconds:.1f} s"))
    steps = [(s.name, s.outcome or "", f"{s.seconds or 0.0:.1f}", s.detail) for s in ended.steps]
    head = ("step", "outcome", "seconds", "what happened")
    return f"# {ended.version} → {ended.environment}\n\n{table(facts)}\n{table(steps, head, numbers=(2,))}"


@step("summary", "publish the summary of {operation.release}", writes=False)
def summarise(operation: Operation) -> Done[str]:
    """Tell the observers of a release that went live; return the run's closing sentence."""
    release, colour = operation.release, operation.candidate.colour
    operation.journal.tell_ended()
    closing = f"{release.version} is live in {operation.environment} ({colour}, {release.image_digest[:19]})."
    return done(closing, closing)
