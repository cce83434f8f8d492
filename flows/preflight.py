"""`preflight`: every assumption of an environment as a check, with its fix."""

from __future__ import annotations

import uuid

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from blocks.environment import environment_of_shell
from core.preflight.judgement import Report
from lifecycle.run import Outcome, open_run, run_operation
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.processes import owner_of
from tasks.preflight.steps import check_all, check_fast

__all__ = ["look_from_shell", "preflight"]


@flow(name="preflight", flow_run_name="preflight {environment}")
def preflight(environment: str, fast: bool = False) -> Outcome:
    """Check everything that a release assumes, and name the fix of whatever does not hold; changes nothing.

    The run fails if a check fails. One that could not be looked at says why, and fails nothing.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        fast: Look only at what each release looks at before it begins, within three seconds and without a task.
    """
    return run_operation("preflight", environment, lambda op: publish_report(op, fast))


def publish_report(operation: Operation, fast: bool) -> str | Outcome:
    """Publish the report as an artifact; return its message, as a failure if a check failed."""
    report = (check_fast if fast else check_all)(operation)
    create_markdown_artifact(
        key=f"preflight-{operation.environment}",
        markdown=report.markdown(operation.environment),
        description=f"Preflight of {operation.environment}",
    )
    return Failed(message=report.message) if report.failed else report.message


def look_from_shell(environment: str, fast: bool) -> Report:
    """Return the report of an operator's shell: as the releases, or as its own user where it has no Prefect server."""
    by_a_person = not PREFECT_API_URL.value()
    operation = _open_as_person(environment) if by_a_person else open_run("preflight", environment)
    try:
        return (check_fast if fast else check_all)(operation, by_a_person=by_a_person)
    finally:
        operation.close()


def _open_as_person(environment: str) -> Operation:
    block = environment_of_shell(environment)
    run_id = f"local-{uuid.uuid4().hex[:12]}"
    return open_operation(block, AwsClients(block), owner_of("preflight", run_id, f"{run_id}-1"))
