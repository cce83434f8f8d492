"""One-off tasks on ECS: run to their end with their log, and stopped where a run ended without them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from core.capacity import short_of_capacity
from core.colour import Colour
from core.errors import Permanent, Transient, UnknownOutcome
from systems.aws import aws_errors
from systems.cloudwatch_logs import LogStream
from tasks.ecs import describe_tasks, stop_reason
from tasks.operation import Operation, run_logger

__all__ = ["OneOff", "OneOffTask", "run_one_off", "stop_one_offs"]


@dataclass(frozen=True)
class OneOffTask:
    """What to run: a task definition, and what is different from it."""

    task_definition: str
    log_prefix: str
    timeout: float
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    says_its_end: bool = False
    """Whether its last line is known when it comes, so that it is waited for though the task has stopped."""


@dataclass(frozen=True)
class OneOff:
    """How a one-off task ended; the exit code is None where its last line was enough to know."""

    exit_code: int | None
    reason: str
    lines: tuple[str, ...]


Heard = Callable[[str], bool]


def run_one_off(operation: Operation, task: OneOffTask, heard: Heard) -> OneOff:
    """Run a task to its end; `heard` gets each line of its log as it comes, and says whether it was the last.

    Every line arrives, those that come after the task stopped too. Raises `Permanent` for a task that is not placed,
    or that takes longer than its timeout and was stopped.
    """
    end = time.monotonic() + task.timeout
    arn = _run_task(operation, task, end)
    stream = LogStream(
        operation.aws("logs"),
        operation.infrastructure.log_group_name,
        f"{task.log_prefix}/{operation.settings.name}/{arn.rsplit('/', 1)[-1]}",
    )
    log = _Log(stream, heard)
    while True:
        operation.check()
        stopped = _stopped(operation, arn)
        if log.listen():
            return OneOff(None, "", tuple(log.lines))
        if stopped is not None:
            timing = operation.settings.timing
            log.listen_until_quiet(timing.log_arrival if task.says_its_end else timing.log_quiet, timing.poll)
            container = (stopped.get("containers") or [{}])[0]
            return OneOff(container.get("exitCode"), stop_reason(stopped), tuple(log.lines))
        if time.monotonic() > end:
            stop_one_offs(operation, operation.owner.attempt)
            raise Permanent(
                f"The task {arn.rsplit('/', 1)[-1]} took longer than {task.timeout:g} s", why="it was stopped"
            )
        time.sleep(operation.settings.timing.poll)


class _Log:
    """A task's lines, handed on as they come."""

    def __init__(self, stream: LogStream, heard: Heard) -> None:
        self._stream, self._heard = stream, heard
        self.lines: list[str] = []

    def listen(self) -> bool:
        """Hand on the new lines; return whether one of them was the last that there will be."""
        new = self._stream.read_new()
        self.lines += new
        last = [self._heard(line) for line in new]
        return any(last)

    def listen_until_quiet(self, seconds: float, poll: float) -> None:
        """Lines may arrive some seconds after the task has stopped."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < seconds:
            before = len(self.lines)
            if self.listen():
                return
            if len(self.lines) > before:
                quiet_since = time.monotonic()
            time.sleep(min(poll, seconds))


def _stopped(operation: Operation, arn: str) -> dict[str, Any] | None:
    """Return what ECS says of a task that has stopped; None while it has not, or where ECS does not answer."""
    with suppress(Transient):
        for described in describe_tasks(operation.aws, operation.infrastructure, [arn]):
            if described["lastStatus"] == "STOPPED":
                return described
    return None


def _run_task(operation: Operation, task: OneOffTask, end: float) -> str:
    """Start a task and return its ARN.

    A lost answer is asked for again with the same token, which is then the same task; where ECS has no room just now,
    it is asked again later. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ECS_Idempotency.html
    """
    lost = 0
    token = uuid.uuid4().hex
    while True:
        operation.ensure_ours()
        try:
            with aws_errors(f"starting a task of {task.task_definition}", writes=True):
                answer = operation.aws("ecs").run_task(**_request(operation, task), clientToken=token)
        except (Transient, UnknownOutcome):
            lost += 1
            if lost == 3:
                raise
            time.sleep(operation.settings.timing.poll)
            continue
        if answer["tasks"]:
            return str(answer["tasks"][0]["taskArn"])
        failures = "; ".join(f"{f.get('reason')} {f.get('detail') or ''}".strip() for f in answer["failures"])
        if not short_of_capacity([failures]) or time.monotonic() > end:
            raise Permanent("ECS started no task", why=failures or "it gave no reason")
        run_logger().info("ECS has no room for a task now (%s); it is asked again", failures)
        token = uuid.uuid4().hex
        time.sleep(max(1.0, operation.settings.timing.poll))


def _request(operation: Operation, task: OneOffTask) -> dict[str, Any]:
    infrastructure = operation.infrastructure
    container: dict[str, Any] = {"name": operation.settings.name}
    if task.command:
        container["command"] = list(task.command)
    if task.environment:
        container["environment"] = [{"name": name, "value": value} for name, value in task.environment.items()]
    return {
        "cluster": infrastructure.cluster_arn,
        "taskDefinition": task.task_definition,
        "launchType": "FARGATE",
        "count": 1,
        "startedBy": operation.owner.attempt,
        "overrides": {"containerOverrides": [container]},
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(infrastructure.private_subnet_ids),
                "securityGroups": [infrastructure.task_security_group_id],
                "assignPublicIp": "DISABLED",
            }
        },
    }


def stop_one_offs(operation: Operation, started_by: str) -> int:
    """Stop every task so marked and wait until each is seen STOPPED; return how many there were.

    A lost answer leads to the next look. ECS may not list a task yet that was started a moment ago, so it is looked
    twice. Raises `UnknownOutcome` if one does not stop in time.
    """
    timing = operation.settings.timing
    end = time.monotonic() + timing.vacate
    looked_again = False
    while True:
        marked = _one_offs(operation, started_by)
        alive = [t["taskArn"] for t in marked if t["lastStatus"] != "STOPPED"]
        to_stop = [t["taskArn"] for t in marked if t["taskArn"] in alive and t.get("desiredStatus") != "STOPPED"]
        if not alive:
            if looked_again:
                return len(marked)
            looked_again = True
            time.sleep(timing.consistency)
            continue
        for arn in to_stop:
            with suppress(Transient, UnknownOutcome), aws_errors(f"stopping task {arn}", writes=True):
                operation.aws("ecs").stop_task(
                    cluster=operation.infrastructure.cluster_arn, task=arn, reason="Pointsman: its release ended"
                )
        if time.monotonic() > end:
            raise UnknownOutcome(
                f"{len(alive)} one-off tasks did not stop", why=", ".join(alive), do="Stop them in ECS."
            )
        time.sleep(timing.poll)


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
    described = describe_tasks(operation.aws, operation.infrastructure, sorted(arns))
    return [t for t in described if t.get("startedBy") == started_by]
