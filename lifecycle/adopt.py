"""`adopt`: what runs already is examined, and what becomes of it is told; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.adoption import Adoption, plan_adoption
from core.errors import Permanent, Refused
from core.workflows import deploying_workflows, is_workflow
from operation.operation import Operation
from systems.aws import has_code
from systems.existing_stack import find_stack

__all__ = ["describe_adoption", "examine_stack"]

_LARGEST = 1_000_000


def examine_stack(operation: Operation, checkout: Path | None) -> Adoption:
    """Return what becomes of the stack that serves the application now.

    `checkout` is a working copy of the application, in whose workflows those that deploy are looked for.
    """
    workflows = None if checkout is None else deploying_workflows(_workflow_files(checkout))
    found = find_stack(operation.aws, operation.settings)
    return plan_adoption(operation.settings, found, workflows, ours=_our_balancer(operation))


def describe_adoption(adoption: Adoption) -> str:
    """Return the table, the settings to write and the next steps as text for a terminal."""
    cells = [("what", "name", "becomes", "because"), *(row.cells() for row in adoption.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in cells
    ]
    if len(cells) == 1:
        lines = ["No stack that serves the application was found in this account and region."]
    if adoption.settings:
        lines += ["", "What the environment's file should say:", "", *adoption.settings.rstrip().splitlines()]
    steps = [f"{number}. {text}" for number, text in enumerate(adoption.steps, 1)]
    return "\n".join([*lines, "", "Next:", "", *steps])


def _our_balancer(operation: Operation) -> str | None:
    """Return the DNS name of this environment's load balancer, once it is provisioned."""
    try:
        infrastructure = operation.records.environment().infrastructure
    except Permanent as error:
        if has_code(error, "NoSuchBucket"):
            return None
        raise
    return infrastructure.alb_dns_name if infrastructure else None


def _workflow_files(checkout: Path) -> Mapping[str, str]:
    """Return the workflows and local actions of a working copy by their path in it."""
    if not checkout.is_dir():
        raise Refused(f"{checkout} is not a directory", do="Name a working copy of the application with --checkout.")
    files = [*checkout.glob(".github/workflows/*.y*ml"), *checkout.glob(".github/actions/**/action.y*ml")]
    named = {str(file.relative_to(checkout)): file for file in files if file.is_file()}
    texts = {path: file.read_text(errors="replace")[:_LARGEST] for path, file in named.items()}
    return {path: text for path, text in texts.items() if is_workflow(path) or path.startswith(".github/actions/")}
