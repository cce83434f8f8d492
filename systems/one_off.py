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
from core.errors import Permanent, Transient, UnknownOutcome
from core.lease import HeldLease
from core.record import Infrastructure
from core.settings import Timing
from core.slot import MigrationTask
from systems.aws import AwsClients, aws_errors
from systems.cloudwatch_logs import LogStream
from systems.ecs import describe_tasks, stop_reason
from systems.log import run_logger
from systems.polling import polls

__all__ = ["OneOff", "OneOffTask", "OneOffs"]


@dataclass(frozen=True)
class OneOffTask:
    """What to run: a task definition of a slot, and what is different from it."""

    of: MigrationTask
    task_definition: str
    timeout: float
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    says_its_end: bool = False
    """Whether its last line is known when it comes, so that it is waited for though the task has stopped."""

    def request(self, infrastructure: Infrastructure, started_by: str) -> dict[str, Any]:
        """Return what RunTask takes."""
        container: dict[str, Any] = {"name": self.of.container}
        if self.command:
            container["command"] = list(self.command)
        if self.environment:
            container["environment"] = [{"name": name, "value": value} for name, value in self.environment.items()]
        return {
            "cluster": self.of.cluster,
            "taskDefinition": self.task_definition,
            "launchType": "FARGATE",
            "count": 1,
            "startedBy": started_by,
            "overrides": {"containerOverrides": [container]},
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": list(infrastructure.private_subnet_ids),
                    "securityGroups": [infrastructure.task_security_group_id],
                    "assignPublicIp": "DISABLED",
                }
            },
        }


@dataclass(frozen=True)
class OneOff:
    """How a one-off task ended; the exit code is None where its last line was enough to know."""

    exit_code: int | None
    reason: str
    lines: tuple[str, ...]


Heard = Callable[[str], bool]


class OneOffs:
    """The one-off tasks of an environment, each marked with the attempt that started it."""

    def __init__(self, aws: AwsClients, lease: HeldLease, timing: Timing, infrastructure: Infrastructure) -> None:
        self._aws, self._lease, self._timing, self._infrastructure = aws, lease, timing, infrastructure

    def run(self, task: OneOffTask, started_by: str, heard: Heard) -> OneOff:
        """Run a task to its end; `heard` gets each line of its log as it comes, and says whether it was the last.

        Every line arrives, those that come after the task stopped too. Raises `Permanent` for a task that is not
        placed, or that takes longer than its timeout and was stopped.
        """
        timing = self._timing
        end = time.monotonic() + task.timeout
        arn = self._start(task, started_by, end)
        stream = LogStream(self._aws("logs"), task.of.log_group, task.of.log_stream(arn))
        log = _Log(stream, heard)
        for _ in polls(every=timing.poll, within=max(0.0, end - time.monotonic()), check=self._lease.check):
            stopped = self._stopped(task.of.cluster, arn)
            if log.listen():
                return OneOff(None, "", tuple(log.lines))
            if stopped is not None:
                log.listen_until_quiet(timing.log_arrival if task.says_its_end else timing.log_quiet, timing.poll)
                # Others may stand beside it: AWS puts agents of its own into tasks.
                ours: dict[str, Any] = next(
                    (c for c in stopped.get("containers", ()) if c.get("name") == task.of.container), {}
                )
                return OneOff(ours.get("exitCode"), stop_reason(stopped), tuple(log.lines))
        self.stop(started_by, [task.of])
        raise Permanent(f"The task {arn.rsplit('/', 1)[-1]} took longer than {task.timeout:g} s", why="it was stopped")

    def _stopped(self, cluster: str, arn: str) -> dict[str, Any] | None:
        """Return what ECS says of a task that has stopped; None while it has not, or where ECS does not answer."""
        with suppress(Transient):
            for described in describe_tasks(self._aws, cluster, [arn]):
                if described["lastStatus"] == "STOPPED":
                    return described
        return None

    def _start(self, task: OneOffTask, started_by: str, end: float) -> str:
        """Start a task and return its ARN.

        A lost answer is asked for again with the same token, which is then the same task; where ECS has no room just
        now, it is asked again later.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ECS_Idempotency.html
        """
        lost = 0
        token = uuid.uuid4().hex
        request = task.request(self._infrastructure, started_by)
        while True:
            self._lease.assert_held()
            try:
                with aws_errors(f"starting a task of {task.task_definition}", writes=True):
                    answer = self._aws("ecs").run_task(**request, clientToken=token)
            except (Transient, UnknownOutcome):
                lost += 1
                if lost == 3:
                    raise
                time.sleep(self._timing.poll)
                continue
            if answer["tasks"]:
                return str(answer["tasks"][0]["taskArn"])
            failures = "; ".join(f"{f.get('reason')} {f.get('detail') or ''}".strip() for f in answer["failures"])
            if not short_of_capacity([failures]) or time.monotonic() > end:
                raise Permanent("ECS did not start a task", why=failures or "it gave no reason")
            run_logger().info("ECS has no capacity for a task right now (%s); trying again", failures)
            token = uuid.uuid4().hex
            time.sleep(max(1.0, self._timing.poll))

    def stop(self, started_by: str, tasks: Sequence[MigrationTask]) -> int:
        """Stop every task so marked and wait until each is seen STOPPED; return how many there were.

        A lost answer leads to the next look. ECS may not list a task yet that was started a moment ago, so it is looked
        twice. Raises `UnknownOutcome` if one does not stop in time. It needs no lease: the mark is the dead run's own.
        """
        alive: list[str] = []
        looked_again = False
        for _ in polls(every=self._timing.poll, within=self._timing.vacate, check=lambda: None):
            marked = self._marked(started_by, tasks)
            alive = [t["taskArn"] for t in marked if t["lastStatus"] != "STOPPED"]
            if not alive:
                if looked_again:
                    return len(marked)
                looked_again = True
                time.sleep(self._timing.consistency)
                continue
            for task in marked:
                if task["taskArn"] in alive and task.get("desiredStatus") != "STOPPED":
                    self._stop(tasks[0].cluster, task["taskArn"])
        raise UnknownOutcome(f"{len(alive)} one-off tasks did not stop", why=", ".join(alive), do="Stop them in ECS.")

    def _stop(self, cluster: str, arn: str) -> None:
        with suppress(Transient, UnknownOutcome), aws_errors(f"stopping task {arn}", writes=True):
            self._aws("ecs").stop_task(cluster=cluster, task=arn, reason="Pointsman: its release ended")

    def _marked(self, started_by: str, tasks: Sequence[MigrationTask]) -> list[dict[str, Any]]:
        """Return the tasks so marked: those that shall run, and those that are stopping or have stopped.

        ECS takes `startedBy` as the only filter, and lists then just tasks that shall run.
        """
        ecs, cluster = self._aws("ecs"), tasks[0].cluster
        with aws_errors("listing one-off tasks"):
            arns = set(ecs.list_tasks(cluster=cluster, startedBy=started_by)["taskArns"])
            for task in tasks:
                found = ecs.list_tasks(cluster=cluster, family=task.family, desiredStatus="STOPPED")
                arns |= set(found["taskArns"])
        described = describe_tasks(self._aws, cluster, sorted(arns))
        return [t for t in described if t.get("startedBy") == started_by]


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
