"""What the load balancer asks the candidate's tasks: the path of this very release, set while its slot is empty."""

from __future__ import annotations

from core.errors import PointsmanError, UnknownOutcome
from systems.aws import aws_errors
from tasks.operation import Operation, step_task

__all__ = ["set_health_check"]


@step_task("health check")
def set_health_check(operation: Operation) -> None:
    """Have the candidate's target group, which nobody uses yet, ask the path of this release.

    The live colour's group keeps the path that its own release was healthy with.
    """
    wanted = operation.release.configuration.health_check_path
    with operation.step("health check", f"have {operation.candidate} asked {wanted or 'what it is asked'}") as step:
        seen = _read_path(operation)
        if wanted in (None, seen):
            step.skip(f"{operation.candidate} is asked {seen}")
            return
        _write_path(operation, str(wanted))
        step.done(f"{operation.candidate} is asked {wanted} and no longer {seen}")


def _read_path(operation: Operation) -> str:
    with aws_errors("reading the candidate's health check"):
        found = operation.aws("elbv2").describe_target_groups(TargetGroupArns=[_group(operation)])
    return str(found["TargetGroups"][0]["HealthCheckPath"])


def _write_path(operation: Operation, wanted: str) -> None:
    """Write the path and see it written, whatever became of the answer."""
    lost: PointsmanError | None = None
    try:
        with aws_errors("setting the candidate's health check", writes=True):
            operation.aws("elbv2").modify_target_group(TargetGroupArn=_group(operation), HealthCheckPath=wanted)
    except UnknownOutcome as error:
        lost = error
    if (seen := _read_path(operation)) != wanted:
        raise UnknownOutcome(
            f"The target group of {operation.candidate} is asked {seen} and not {wanted}",
            why=str(lost or "AWS took the change and does not show it"),
            do="Press Retry.",
        ) from lost


def _group(operation: Operation) -> str:
    return operation.infrastructure.target_group_arns[operation.candidate]
