"""The release's summary: one artifact a version and environment, and one sentence."""

from __future__ import annotations

import re

from prefect.artifacts import create_markdown_artifact

from core.markdown import code, table
from tasks.operation import Operation

__all__ = ["summarise"]


def summarise(operation: Operation) -> str:
    """Publish the summary artifact of a release that went live; return the run's closing sentence."""
    release, colour = operation.release, operation.candidate
    seconds = sum(s.seconds or 0.0 for s in operation.steps)
    facts = [
        ("version", release.version),
        ("revision", release.revision),
        ("commit", code(release.commit)),
        ("image", code(release.image_digest)),
        ("colour", colour.value),
        ("answers seen", f"{operation.settings.traffic.answers} in a row on each address, of this release only"),
        ("steps together", f"{seconds:.1f} s"),
    ]
    steps = [(s.name, s.outcome or "", f"{s.seconds or 0.0:.1f}", s.detail) for s in operation.steps]
    head = ("step", "outcome", "seconds", "what happened")
    create_markdown_artifact(
        key=re.sub(r"[^a-z0-9-]+", "-", f"release-{operation.environment}".lower()),
        description=f"{release} → {operation.environment}",
        markdown=f"# {release.version} → {operation.environment}\n\n{table(facts)}\n{table(steps, head, numbers=(2,))}",
    )
    return f"{release.version} is live in {operation.environment} ({colour}, {release.image_digest[:19]})."
