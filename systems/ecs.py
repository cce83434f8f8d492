"""ECS services, task definitions and tasks: what they are, and a slot's service scaled, emptied and started.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.capacity import short_of_capacity
from core.errors import Permanent, UnknownOutcome
from core.foreign import Definition, runs
from core.lease import HeldLease
from core.record import Live, NamedRelease
from core.serving import RunningTask
from core.settings import Timing
from core.slot import Service
from systems.aws import AwsClients, aws_errors
from systems.cloudwatch_logs import read_last_lines
from systems.load_balancer import TargetHealth
from systems.log import run_logger
from systems.polling import patient, polls, read_twice, write_until_seen

__all__ = [
    "Deployment",
    "Ecs",
    "Scale",
    "SlotService",
    "Start",
    "describe_tasks",
    "read_names",
    "read_service",
    "running_tasks",
    "service_of",
    "stop_reason",
]

_LOG_LINES = 20
_STOPPED_SHOWN = 3


@dataclass(frozen=True)
class Deployment:
    """One deployment of a service."""

    id: str
    primary: bool
    running: int
    rollout: str
    rollout_reason: str


@dataclass(frozen=True)
class SlotService:
    """What ECS says of one slot's service."""

    task_definition: str
    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...] = ()
    events: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing runs, is to run, or is about to."""
        return self.desired == self.running == self.pending == 0

    @property
    def primary(self) -> str:
        """The id of the deployment that is primary in this very answer; empty if none is."""
        return next((d.id for d in self.deployments if d.primary), "")

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment by its id; None where this answer does not know it."""
        return next((d for d in self.deployments if d.id == deployment_id), None)


def service_of(answer: dict[str, Any]) -> SlotService:
    """Return the service that ECS describes in an answer."""
    return SlotService(
        task_definition=answer["taskDefinition"],
        desired=answer["desiredCount"],
        running=answer["runningCount"],
        pending=answer["pendingCount"],
        deployments=tuple(
            Deployment(
                id=d["id"],
                primary=d["status"] == "PRIMARY",
                running=d.get("runningCount", 0),
                rollout=d.get("rolloutState", ""),
                rollout_reason=d.get("rolloutStateReason", ""),
            )
            for d in answer.get("deployments", ())
        ),
        events=tuple((e["id"], e["message"]) for e in answer.get("events", ())),
    )


def read_service(aws: AwsClients, service: Service) -> SlotService | None:
    """Return a slot's service, or None where no release made it yet."""
    with aws_errors(f"reading the service {service.name}"):
        found = aws("ecs").describe_services(cluster=service.cluster, services=[service.name])
    return next((service_of(s) for s in found["services"] if s["status"] == "ACTIVE"), None)


def read_names(aws: AwsClients, task_definition: str) -> NamedRelease:
    """Return which release a task definition names."""
    with aws_errors(f"reading the task definition {task_definition}"):
        found = aws("ecs").describe_task_definition(taskDefinition=task_definition)
    containers = found["taskDefinition"]["containerDefinitions"]
    variables = [{v["name"]: v["value"] for v in one.get("environment", [])} for one in containers]
    # The application's container bears the release's name; those beside it do not, and may come in any order.
    place = next((at for at, given in enumerate(variables) if "POINTSMAN_VERSION" in given), 0)
    container, named = containers[place], variables[place]
    return NamedRelease(
        image=container["image"],
        version=named.get("POINTSMAN_VERSION", ""),
        revision=named.get("POINTSMAN_REVISION", ""),
    )


def describe_tasks(aws: AwsClients, cluster: str, arns: list[str]) -> list[dict[str, Any]]:
    """Return what ECS says of tasks, none for none."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(arns), 100):  # as many as DescribeTasks takes
        with aws_errors("reading tasks"):
            answer = aws("ecs").describe_tasks(cluster=cluster, tasks=arns[start : start + 100])
        found += answer["tasks"]
    return found


def running_tasks(aws: AwsClients, service: Service) -> tuple[RunningTask, ...]:
    """Return every task of a service that ECS runs or is starting, with the addresses of its network interfaces."""
    arns: list[str] = []
    with aws_errors(f"listing the tasks of {service.name}"):
        pages = (
            aws("ecs")
            .get_paginator("list_tasks")
            .paginate(cluster=service.cluster, serviceName=service.name, desiredStatus="RUNNING")
        )
        for page in pages:
            arns += page["taskArns"]
    described = describe_tasks(aws, service.cluster, arns)
    return tuple(RunningTask(t["taskArn"], t["taskDefinitionArn"], tuple(_addresses(t))) for t in described)


def _addresses(described: dict[str, Any]) -> Iterator[str]:
    """Yield a task's addresses, as a load balancer is given them.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attachment.html and API_NetworkInterface.html
    """
    for attachment in described.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if detail.get("name") == "privateIPv4Address":
                yield str(detail["value"])
    for container in described.get("containers", ()):
        for interface in container.get("networkInterfaces", ()):
            if "ipv6Address" in interface:
                yield str(interface["ipv6Address"])


def stop_reason(described: dict[str, Any]) -> str:
    """Return why a task stopped, in words."""
    containers = described.get("containers") or []
    parts = [described.get("stoppedReason") or "no reason given"]
    for container in containers:
        of = f"{container.get('name')}: " if len(containers) > 1 else ""
        if container.get("exitCode") is not None:
            parts.append(f"{of}exit code {container['exitCode']}")
        if container.get("reason"):
            parts.append(f"{of}{container['reason']}")
    return ", ".join(parts)


@dataclass(frozen=True)
class Scale:
    """What a service shall be: its count, and a deployment of its own if forced or of another task definition."""

    count: int
    force: bool = False
    tolerate_unwritten_record: bool = False
    task_definition: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what UpdateService takes."""
        # A mere change of desiredCount makes no deployment, so nothing to watch and no breaker that counts.
        return {
            "desiredCount": self.count,
            **({"forceNewDeployment": True} if self.force else {}),
            **({"taskDefinition": self.task_definition} if self.task_definition else {}),
        }

    def seen_in(self, found: SlotService, before: SlotService | None) -> bool:
        """Whether a service that is read after a lost answer shows that the write had its effect."""
        deployed = not self.force or (before is not None and found.primary != before.primary)
        return found.desired == self.count and deployed and self.task_definition in (None, found.task_definition)


@dataclass(frozen=True)
class Start:
    """How a slot is started, and what the message says if it does not become healthy."""

    subject: str
    """The version that is started."""
    wanted: int
    """How many tasks."""
    within: float
    """Seconds, after which it is given up."""
    do: str = "Fix the application or its configuration and release again."
    task_definition: str | None = None
    tolerate_unwritten_record: bool = False


class Ecs:
    """The services of an environment's slots, to read, and to change while the environment is ours."""

    def __init__(self, aws: AwsClients, lease: HeldLease, timing: Timing) -> None:
        self._aws, self._lease, self._timing = aws, lease, timing

    def read(self, service: Service) -> SlotService | None:
        """Return a slot's service, or None where no release made it yet."""
        return read_service(self._aws, service)

    def runs(self, found: SlotService, target: Live) -> bool:
        """Whether a service has the task definition that a release is known by."""
        named = None if target.definition else self.names(found.task_definition)
        return runs(target, Definition(found.task_definition, named))

    def names(self, task_definition: str) -> NamedRelease:
        """Return which release a task definition names."""
        return read_names(self._aws, task_definition)

    def image_of(self, task_definition: str) -> str:
        """Return the image that a task definition runs."""
        return self.names(task_definition).image

    def running_tasks(self, service: Service) -> tuple[RunningTask, ...]:
        """Return every task of a service that ECS runs or is starting."""
        return running_tasks(self._aws, service)

    def tasks(self, service: Service, status: str) -> list[str]:
        """Return the ARNs of a service's tasks that shall have a status: RUNNING or STOPPED."""
        with aws_errors("listing tasks"):
            found = self._aws("ecs").list_tasks(cluster=service.cluster, serviceName=service.name, desiredStatus=status)
        return list(found["taskArns"])

    def scale(self, service: Service, scale: Scale) -> SlotService:
        """Set a service's count; return the service as ECS answered. A lost answer leads to a look, then again."""
        before = patient(lambda: self.read(service)) if scale.force else None

        def write() -> SlotService:
            self._lease.assert_held(tolerate_unwritten_record=scale.tolerate_unwritten_record)
            with aws_errors(f"scaling {service.name} to {scale.count}", writes=True):
                answer = self._aws("ecs").update_service(
                    cluster=service.cluster, service=service.name, **scale.arguments()
                )
            return service_of(answer["service"])

        def look() -> SlotService | None:
            time.sleep(self._timing.poll)
            found = self.read(service)
            return found if found is not None and scale.seen_in(found, before) else None

        return write_until_seen(
            write,
            look,
            unseen=lambda failure: failure or UnknownOutcome(f"{service.name} does not show its new count"),
            before_again=lambda _: None,
        )

    def scale_to_zero(self, service: Service) -> int | None:
        """Scale a service to nothing and wait until nothing runs; return how many tasks ran, or None if it was empty.

        The caller has seen that the slot carries no weight. That it is empty is believed of the answer to a write and
        of two lists, never of one read, which may lag. Raises `Permanent` if it is not empty in time.
        """
        before = read_twice(
            lambda: self.read(service), believed=lambda seen: seen is not None, after=self._timing.consistency
        )
        if before is None:
            return None
        answered = self.scale(service, Scale(0))
        running: int | None = None
        for _ in polls(every=self._timing.poll, within=self._timing.vacate, check=self._lease.check):
            running = patient(lambda: self._not_gone(service))
            if running == 0:
                return None if before.empty and answered.empty else max(before.running, answered.running)
        raise Permanent(
            f"The {service.colour} slot did not empty within {self._timing.vacate:g} s",
            why="ECS did not answer" if running is None else f"{running} tasks are still running",
            do="Check the service's events in ECS.",
        )

    def _not_gone(self, service: Service) -> int:
        """Return how many tasks are not gone yet, by the service and by the list of its tasks."""
        found = self.read(service)
        by_service = 0 if found is None else max(found.desired, found.running, found.pending)
        return max(by_service, len(self.tasks(service, "RUNNING")))

    def start(self, service: Service, start: Start, health: Callable[[], TargetHealth]) -> int:
        """Scale a service up with a new deployment; return how many targets are healthy once enough are.

        That very deployment is followed, by the id that ECS answered. `health` reads the slot's targets. Raises
        `Permanent` with the stopped tasks' reasons and last log lines if ECS gives it up, or time is up; while ECS has
        no capacity, it is waited for.
        """
        followed = _Followed(self, self._aws, service, start, health)
        for _ in polls(every=self._timing.poll, within=start.within, check=self._lease.check):
            healthy = followed.look()
            if healthy is not None:
                return healthy
            if followed.gave_up and followed.short_of_capacity:
                run_logger().warning("ECS has no capacity for %s right now; trying again", start.subject)
                followed.deploy()
            elif followed.gave_up:
                break
        raise Permanent(
            f"{start.subject} did not become healthy in the {service.colour} slot", why=followed.why(), do=start.do
        )


class _Followed:
    """One start of a slot, and what was seen of it last."""

    def __init__(
        self, ecs: Ecs, aws: AwsClients, of: Service, start: Start, health: Callable[[], TargetHealth]
    ) -> None:
        self._ecs, self._aws, self._of, self._start, self._read_health = ecs, aws, of, start, health
        self._stopped: dict[str, str] = {}
        self._service: SlotService | None = None
        self._health: TargetHealth | None = None
        self.deploy()

    def deploy(self) -> None:
        """Make a deployment, which is the one that is looked at from now on."""
        start = self._start
        answered = self._ecs.scale(
            self._of,
            Scale(
                start.wanted,
                force=True,
                tolerate_unwritten_record=start.tolerate_unwritten_record,
                task_definition=start.task_definition,
            ),
        )
        self._deployment = answered.primary
        self._known_events = {event for event, _ in answered.events}

    def look(self) -> int | None:
        """Return how many targets are healthy once enough tasks of this deployment run, else None."""
        self._health = patient(self._read_health)
        self._service = patient(lambda: self._ecs.read(self._of))
        patient(self._log_stopped)
        deployment = self._service.deployment(self._deployment) if self._service else None
        healthy = self._health.healthy if self._health else 0
        started = deployment is not None and deployment.running >= self._start.wanted
        return healthy if started and healthy >= self._start.wanted else None

    @property
    def gave_up(self) -> bool:
        """Whether ECS gave this very deployment up."""
        deployment = self._service.deployment(self._deployment) if self._service else None
        return deployment is not None and deployment.rollout == "FAILED"

    @property
    def short_of_capacity(self) -> bool:
        """Whether ECS said since that it had no room for a task."""
        events = self._service.events if self._service else ()
        return short_of_capacity(message for event, message in events if event not in self._known_events)

    def _log_stopped(self) -> None:
        described = describe_tasks(self._aws, self._of.cluster, self._ecs.tasks(self._of, "STOPPED")[:100])
        for task in described:
            arn, reason = task["taskArn"], stop_reason(task)
            if task.get("stopCode") != "ServiceSchedulerInitiated" and arn not in self._stopped:
                self._stopped[arn] = reason
                run_logger().warning("Task %s stopped: %s", arn.rsplit("/", 1)[-1], reason)

    def why(self) -> str:
        """Return what was seen last, and what the tasks said."""
        if self._service is None and self._health is None:
            return "ECS and the load balancer did not answer"
        deployment = self._service.deployment(self._deployment) if self._service else None
        failed = deployment.rollout_reason if deployment and deployment.rollout == "FAILED" else ""
        parts = [failed or f"targets: {self._health}"]
        for arn, reason in list(self._stopped.items())[-_STOPPED_SHOWN:]:
            parts.append(f"task {arn.rsplit('/', 1)[-1]} stopped: {reason}")
        last = list(self._stopped)[-1:] or (patient(lambda: self._ecs.tasks(self._of, "RUNNING")) or [])[-1:]
        for arn in last:
            lines = read_last_lines(self._aws("logs"), self._of.log_group, self._of.log_stream(arn))
            if lines:
                parts.append("its last log lines:\n" + "\n".join(lines[-_LOG_LINES:]))
        return "; ".join(part.rstrip(".") for part in parts if part)
