"""One-off tasks on ECS: run to their end with their log, and stopped where a run ended without them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prefect.logging import get_run_logger

from core.colour import Colour
from core.errors import Permanent, Transient, UnknownOutcome
from systems.aws import aws_errors
from tasks.ecs import describe_tasks, read_log, stop_reason
from tasks.operation import Operation

__all__ = ["OneOff", "run_one_off", "stop_one_offs"]


@dataclass(frozen=True)
class OneOff:
    """How a one-off task ended."""

    exit_code: int | None
    reason: str
    lines: tuple[str, ...]


def run_one_off(
    operation: Operation,
    *,
    task_definition: str,
    prefix: str,
    started_by: str,
    command: list[str] | None,
    timeout: float,
) -> OneOff:
    """Run a task to its end with its log lines in the run's log.

    `started_by` marks the task and makes a repeated call the same task: a lost answer is asked again with the same
    token. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ECS_Idempotency.html
    """
    infrastructure = operation.infrastructure
    arn = _run_task(operation, task_definition, started_by, command)
    logger = get_run_logger()
    end = time.monotonic() + timeout
    told = 0
    while True:
        operation.check()
        described = describe_tasks(operation.aws, infrastructure, [arn])
        lines = read_log(operation, prefix, arn)
        for line in lines[told:]:
            logger.info(line)
        told = max(told, len(lines))
        if described and described[0]["lastStatus"] == "STOPPED":
            container = (described[0].get("containers") or [{}])[0]
            return OneOff(container.get("exitCode"), stop_reason(described[0]), tuple(read_log(operation, prefix, arn)))
        if time.monotonic() > end:
            stop_one_offs(operation, started_by)
            raise Permanent(f"The task {arn.rsplit('/', 1)[-1]} took longer than {timeout:g} s", why="it was stopped")
        time.sleep(operation.settings.timing.poll)


def _run_task(operation: Operation, task_definition: str, started_by: str, command: list[str] | None) -> str:
    infrastructure = operation.infrastructure
    overrides = {"containerOverrides": [{"name": operation.settings.name, "command": command}]} if command else {}
    for last in (False, False, True):
        operation.ensure_ours()
        try:
            with aws_errors(f"starting a task of {task_definition}", writes=True):
                answer = operation.aws("ecs").run_task(
                    cluster=infrastructure.cluster_arn,
                    taskDefinition=task_definition,
                    launchType="FARGATE",
                    count=1,
                    startedBy=started_by,
                    clientToken=started_by,
                    overrides=overrides,
                    networkConfiguration={
                        "awsvpcConfiguration": {
                            "subnets": list(infrastructure.private_subnet_ids),
                            "securityGroups": [infrastructure.task_security_group_id],
                            "assignPublicIp": "DISABLED",
                        }
                    },
                )
        except (Transient, UnknownOutcome):
            if last:
                raise
            continue
        if answer["tasks"]:
            return str(answer["tasks"][0]["taskArn"])
        failures = "; ".join(f"{f.get('reason')} {f.get('detail', '')}".strip() for f in answer["failures"])
        raise Permanent("ECS started no task", why=failures or "it gave no reason")
    raise AssertionError("unreachable")


def stop_one_offs(operation: Operation, started_by: str) -> int:
    """Stop every task so marked and wait until each is seen STOPPED; return how many there were.

    A lost answer leads to the next look. Raises `UnknownOutcome` if one does not stop in time.
    """
    end = time.monotonic() + operation.settings.timing.vacate
    while True:
        marked = _one_offs(operation, started_by)
        alive = [t["taskArn"] for t in marked if t["lastStatus"] != "STOPPED"]
        to_stop = [t["taskArn"] for t in marked if t["taskArn"] in alive and t.get("desiredStatus") != "STOPPED"]
        if not alive:
            return len(marked)
        for arn in to_stop:
            with suppress(Transient, UnknownOutcome), aws_errors(f"stopping task {arn}", writes=True):
                operation.aws("ecs").stop_task(
                    cluster=operation.infrastructure.cluster_arn, task=arn, reason="Pointsman: its release ended"
                )
        if time.monotonic() > end:
            raise UnknownOutcome(
                f"{len(alive)} one-off tasks did not stop", why=", ".join(alive), do="Stop them in ECS."
            )
        time.sleep(operation.settings.timing.poll)


def _one_offs(operation: Operation, started_by: str) -> list[dict[str, Any]]:
    """Return the tasks so marked: those that shall run, and those that are stopping or have stopped.

    ECS takes `startedBy` as the only filter, and lists then just tasks that shall run.
    """
    ecs, cluster = operation.aws("ecs"), operation.infrastructure.cluster_arn
    with aws_errors("listing one-off tasks"):
        arns = set(ecs.list_tasks(cluster=cluster, startedBy=started_by)["taskArns"])
        for colour in Colour:
            family = f"{operation.settings.cluster}-{colour}-migration"
            arns |= set(ecs.list_tasks(cluster=cluster, family=family, desiredStatus="STOPPED")["taskArns"])
    described = describe_tasks(operation.aws, operation.infrastructure, sorted(arns)[:100])
    return [t for t in described if t.get("startedBy") == started_by]
