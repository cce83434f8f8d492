"""ECS services: a slot's service vacated and started, and why its tasks stopped.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect.logging import get_run_logger

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused, Transient, UnknownOutcome
from core.record import Infrastructure, State
from core.release import Release
from core.words import counted
from systems.aws import AwsClients, aws_errors
from tasks.load_balancer import read_target_health, read_weights
from tasks.operation import Operation, step_task

__all__ = [
    "SlotService",
    "describe_tasks",
    "empty_slot",
    "read_log",
    "read_service",
    "release_of",
    "runs_release",
    "start_candidate",
    "start_slot",
    "stop_reason",
    "vacate_slot",
    "wanted_count",
]

_LOG_LINES = 20
_STOPPED_SHOWN = 3


@dataclass(frozen=True)
class SlotService:
    """What ECS says of one slot's service."""

    task_definition: str
    desired: int
    running: int
    pending: int
    deployment: str
    rollout: str
    rollout_reason: str

    @property
    def empty(self) -> bool:
        """Whether nothing runs, is to run, or is about to."""
        return self.desired == self.running == self.pending == 0


def read_service(operation: Operation, colour: Colour) -> SlotService | None:
    """Return a slot's service, or None where no release made it yet."""
    name = operation.settings.service_name(colour)
    with aws_errors(f"reading the service {name}"):
        found = operation.aws("ecs").describe_services(cluster=operation.infrastructure.cluster_arn, services=[name])
    service = next((s for s in found["services"] if s["status"] == "ACTIVE"), None)
    if service is None:
        return None
    primary: dict[str, Any] = next((d for d in service["deployments"] if d["status"] == "PRIMARY"), {})
    return SlotService(
        task_definition=service["taskDefinition"],
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        deployment=primary.get("id", ""),
        rollout=primary.get("rolloutState", ""),
        rollout_reason=primary.get("rolloutStateReason", ""),
    )


@dataclass(frozen=True)
class NamedRelease:
    """The release that a task definition names."""

    image: str
    version: str
    revision: str


def runs_release(operation: Operation, service: SlotService, release: Release) -> bool:
    """Whether a service's task definition is that very release: its image, version and revision."""
    return release_of(operation, service) == NamedRelease(release.image, release.version, release.revision)


def release_of(operation: Operation, service: SlotService) -> NamedRelease:
    """Return which release a service's task definition names."""
    with aws_errors(f"reading the task definition {service.task_definition}"):
        found = operation.aws("ecs").describe_task_definition(taskDefinition=service.task_definition)
    container = found["taskDefinition"]["containerDefinitions"][0]
    named = {v["name"]: v["value"] for v in container.get("environment", [])}
    return NamedRelease(container["image"], named.get("POINTSMAN_VERSION", ""), named.get("POINTSMAN_REVISION", ""))


@step_task("vacate")
def vacate_slot(operation: Operation) -> None:
    """Make the candidate's slot empty: weight 0 seen, nothing desired, nothing running."""
    colour = operation.candidate
    with operation.step("vacate", f"empty the {colour} slot") as step:
        if read_weights(operation.aws, operation.infrastructure).of(colour) > 0:
            raise Refused(
                f"The {colour} slot carries traffic",
                why="only a slot at weight 0 may be changed",
                do="Let `reconcile` settle the environment, then release again.",
            )
        was = empty_slot(operation, colour)
        if was is None:
            step.skip(f"the {colour} slot was empty")
        else:
            step.done(f"stopped {counted(was, 'task')} of {colour}")


def empty_slot(operation: Operation, colour: Colour) -> int | None:
    """Scale a slot to nothing and wait until nothing runs; return how many tasks ran, or None if it was empty.

    The caller has seen that the slot carries no weight.
    """
    service = read_service(operation, colour)
    if service is None or service.empty:
        return None
    _scale(operation, colour, 0, force=False)
    deadline = time.monotonic() + operation.settings.timing.vacate
    while True:
        now = read_service(operation, colour)
        if now is None or now.empty:
            return service.running
        if time.monotonic() > deadline:
            raise Permanent(
                f"The {colour} slot did not empty within {operation.settings.timing.vacate:g} s",
                why=f"{now.running} tasks still run",
                do="Look at the service's events in ECS.",
            )
        time.sleep(operation.settings.timing.poll)


@step_task("start")
def start_candidate(operation: Operation) -> None:
    """Start the candidate and wait for healthy targets; tell each stopped task's reason."""
    colour = operation.candidate
    with operation.step("start", f"start {operation.release} in the {colour} slot") as step:
        wanted = wanted_count(operation)
        service = read_service(operation, colour)
        healthy = read_target_health(operation.aws, operation.infrastructure, colour).healthy
        if service and service.desired >= wanted <= healthy and runs_release(operation, service, operation.release):
            step.skip(f"{counted(healthy, 'healthy task')} of {operation.release} run already")
        else:
            healthy = start_slot(operation, colour, wanted)
            step.done(f"{counted(healthy, 'healthy target')} in {colour}")
    operation.advance(State.RUNNING)


def wanted_count(operation: Operation) -> int:
    """Return how many tasks must run before traffic comes: those configured, or as many as the live colour has."""
    live = operation.last_seen.live
    serving = read_service(operation, live.colour) if live else None
    return max(operation.settings.service.desired_count, serving.running if serving else 0)


def start_slot(
    operation: Operation, colour: Colour, wanted: int, *, deadline: float | None = None, homeward: bool = False
) -> int:
    """Scale a slot's service up with a new deployment; return how many targets are healthy once `wanted` are.

    Raises `Permanent` with the stopped tasks' reasons and last log lines if ECS gives the deployment up, or time is up.
    """
    timing = operation.settings.timing
    _scale(operation, colour, wanted, force=True, homeward=homeward)
    logger = get_run_logger()
    told: dict[str, str] = {}
    end = time.monotonic() + (deadline or timing.start)
    while True:
        operation.check()
        health = read_target_health(operation.aws, operation.infrastructure, colour)
        service = read_service(operation, colour)
        if health.healthy >= wanted and service is not None and service.running >= wanted:
            return health.healthy
        for arn, reason in _stopped_tasks(operation, colour):
            if arn not in told:
                told[arn] = reason
                logger.warning("Task %s stopped: %s", arn.rsplit("/", 1)[-1], reason)
        failed = service is not None and service.rollout == "FAILED"
        if failed or time.monotonic() > end:
            raise Permanent(
                f"{operation.version} did not become healthy in the {colour} slot",
                why=_why_not_healthy(operation, colour, service, str(health), told),
                do="Correct the application or its configuration and release again.",
            )
        time.sleep(timing.poll)


def _why_not_healthy(
    operation: Operation, colour: Colour, service: SlotService | None, health: str, told: dict[str, str]
) -> str:
    said = [service.rollout_reason if service and service.rollout == "FAILED" else f"targets: {health}"]
    for arn, reason in list(told.items())[-_STOPPED_SHOWN:]:
        said.append(f"task {arn.rsplit('/', 1)[-1]} stopped: {reason}")
    last = list(told)[-1:] or _tasks(operation, colour, "RUNNING")[-1:]
    for arn in last:
        lines = read_log(operation, colour.value, arn)[-_LOG_LINES:]
        if lines:
            said.append("its last log lines:\n" + "\n".join(lines))
    return "; ".join(part.rstrip(".") for part in said if part)


def _scale(operation: Operation, colour: Colour, count: int, *, force: bool, homeward: bool = False) -> None:
    """Set a service's desired count, with a new deployment if `force`; a lost answer leads to a look, then again."""
    before = read_service(operation, colour) if force else None
    name = operation.settings.service_name(colour)
    arguments: dict[str, Any] = {
        "cluster": operation.infrastructure.cluster_arn,
        "service": name,
        "desiredCount": count,
    }
    for last in (False, False, True):
        operation.last_look(homeward=homeward)
        try:
            with aws_errors(f"scaling {name} to {count}", writes=True):
                # A mere change of desiredCount makes no deployment, so nothing to watch and no breaker that counts.
                operation.aws("ecs").update_service(**arguments, **({"forceNewDeployment": True} if force else {}))
            return
        except (Transient, UnknownOutcome):
            if last:
                raise
            time.sleep(operation.settings.timing.poll)
            found = read_service(operation, colour)
            deployed = not force or before is None or (found is not None and found.deployment != before.deployment)
            if found and found.desired == count and deployed:
                return


def _tasks(operation: Operation, colour: Colour, status: str) -> list[str]:
    with aws_errors("listing tasks"):
        found = operation.aws("ecs").list_tasks(
            cluster=operation.infrastructure.cluster_arn,
            serviceName=operation.settings.service_name(colour),
            desiredStatus=status,
        )
    return list(found["taskArns"])


def describe_tasks(aws: AwsClients, infrastructure: Infrastructure, arns: list[str]) -> list[dict[str, Any]]:
    """Return what ECS says of tasks, none for none."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(arns), 100):  # as many as DescribeTasks takes
        with aws_errors("reading tasks"):
            answer = aws("ecs").describe_tasks(cluster=infrastructure.cluster_arn, tasks=arns[start : start + 100])
        found += answer["tasks"]
    return found


def _stopped_tasks(operation: Operation, colour: Colour) -> Iterator[tuple[str, str]]:
    arns = _tasks(operation, colour, "STOPPED")
    for described in describe_tasks(operation.aws, operation.infrastructure, arns):
        if described.get("stopCode") != "ServiceSchedulerInitiated":
            yield described["taskArn"], stop_reason(described)


def stop_reason(described: dict[str, Any]) -> str:
    """Return why a task stopped, in words."""
    container = (described.get("containers") or [{}])[0]
    parts = [described.get("stoppedReason") or "no reason given"]
    if container.get("exitCode") is not None:
        parts.append(f"exit code {container['exitCode']}")
    if container.get("reason"):
        parts.append(container["reason"])
    return ", ".join(parts)


def read_log(operation: Operation, prefix: str, task_arn: str) -> list[str]:
    """Return the last lines that a task logged; none where it logged none."""
    logs = operation.aws("logs")
    try:
        with aws_errors("reading a task's log"):
            found = logs.get_log_events(
                logGroupName=operation.infrastructure.log_group_name,
                logStreamName=f"{prefix}/{operation.settings.name}/{task_arn.rsplit('/', 1)[-1]}",
                startFromHead=False,
                limit=100,
            )
    except PointsmanError:
        return []
    return [event["message"] for event in found["events"]]
