"""The release's summary: one artifact a version and environment, and one sentence."""

from __future__ import annotations

import re

from prefect.artifacts import create_markdown_artifact

from core.record import StepRecord
from tasks.operation import Operation

__all__ = ["summarise"]


def summarise(operation: Operation) -> str:
    """Publish the summary artifact of a release that went live; return the run's closing sentence."""
    release, colour = operation.release, operation.candidate
    seconds = sum(s.seconds or 0.0 for s in operation.steps)
    rows = "\n".join(f"| {_cells(step)} |" for step in operation.steps)
    create_markdown_artifact(
        key=re.sub(r"[^a-z0-9-]+", "-", f"release-{operation.environment}".lower()),
        description=f"{release} → {operation.environment}",
        markdown=f"""# {release.version} → {operation.environment}

| | |
|---|---|
| version | {release.version} |
| revision | {release.revision} |
| commit | `{release.commit}` |
| image | `{release.image_digest}` |
| colour | {colour} |
| answers seen | {operation.settings.traffic.answers} in a row on each address, of this release only |
| steps together | {seconds:.1f} s |

| step | outcome | seconds | what happened |
|---|---|---:|---|
{rows}
""",
    )
    return f"{release.version} is live in {operation.environment} ({colour}, {release.image_digest[:19]})."


def _cells(step: StepRecord) -> str:
    detail = step.detail.replace("|", "\\|").replace("\n", " ")
    return f"{step.name} | {step.outcome} | {step.seconds or 0.0:.1f} | {detail}"
