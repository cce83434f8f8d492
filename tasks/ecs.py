"""ECS services: a slot's service vacated, started and scaled, and why its tasks stopped.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from core.capacity import short_of_capacity
from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused, Transient, UnknownOutcome
from core.foreign import Definition, runs
from core.record import Live, NamedRelease, State
from core.words import counted
from systems import ecs
from systems.aws import aws_errors
from systems.ecs import SlotService, describe_tasks, list_service_tasks, read_names, service_of, stop_reason
from systems.load_balancer import TargetHealth, read_target_health, read_weights
from tasks.foreign import refuse_foreign_hands
from tasks.operation import Operation, run_logger, step_task
from tasks.winner import see_winner_if_recent

__all__ = [
    "Scale",
    "SlotService",
    "Start",
    "describe_tasks",
    "empty_slot",
    "patient",
    "read_log",
    "read_service",
    "refuse_another_definition",
    "refuse_weighted",
    "runs_target",
    "scale_service",
    "start_candidate",
    "start_slot",
    "stop_reason",
    "vacate_slot",
]

T = TypeVar("T")

_LOG_LINES = 20
_STOPPED_SHOWN = 3


def read_service(operation: Operation, colour: Colour) -> SlotService | None:
    """Return a slot's service, or None where no release made it yet."""
    return ecs.read_service(
        operation.aws, operation.infrastructure.cluster_arn, operation.settings.service_name(colour)
    )


def runs_target(operation: Operation, service: SlotService, target: Live) -> bool:
    """Whether a service has the task definition that a release is known by."""
    named = None if target.definition else read_names(operation.aws, service.task_definition)
    return runs(target, Definition(service.task_definition, named))


def refuse_another_definition(operation: Operation) -> None:
    """Raise `Refused` unless the candidate's service has the very definition, and image, that was proven and approved.

    A read may lag, so what differs is read again after a moment.
    """
    service = read_service(operation, operation.candidate)
    if service is None or not _runs_candidate(operation, service):
        time.sleep(operation.settings.timing.consistency)
        service = read_service(operation, operation.candidate)
    if service is None or not _runs_candidate(operation, service):
        found = service.task_definition.rpartition("/")[2] if service else "no service"
        raise Refused(
            f"{operation.release} is not what the {operation.candidate} slot runs any more",
            why=f"its service has {found}, which is not what was tested",
            do="Find out who deployed it, then press Retry.",
        )


def _runs_candidate(operation: Operation, service: SlotService) -> bool:
    slot, release = operation.attempt.slot, operation.release
    if slot is not None and service.task_definition != slot.task_definition_arn:
        return False
    wanted = NamedRelease(image=release.image, version=release.version, revision=release.revision)
    return read_names(operation.aws, service.task_definition) == wanted


def patient(read: Callable[[], T]) -> T | None:
    """Return what was read, or None where AWS did not answer just now: who polls looks again until its deadline."""
    try:
        return read()
    except Transient as error:
        run_logger().info("%s It is asked again.", error)
        return None


@step_task("vacate")
def vacate_slot(operation: Operation) -> None:
    """Make the candidate's slot empty: weight 0 seen, nothing desired, nothing running."""
    colour = operation.candidate
    with operation.step("vacate", f"empty the {colour} slot") as step:
        # What would carry the traffic meanwhile is looked at before the fallback is given up.
        refuse_foreign_hands(operation)
        refuse_weighted(operation, colour)
        see_winner_if_recent(operation, colour.other)
        was = empty_slot(operation, colour)
        if was is None:
            step.skip(f"the {colour} slot was empty")
        else:
            step.done(f"stopped {counted(was, 'task')} of {colour}")


def refuse_weighted(operation: Operation, colour: Colour) -> None:
    """Raise `Refused` if a slot carries weight; where the record says otherwise than the listener, it is read again."""
    weights = read_weights(operation.aws, operation.infrastructure)
    if weights != operation.last_seen.weights:
        time.sleep(operation.settings.timing.consistency)
        weights = read_weights(operation.aws, operation.infrastructure)
    if weights.of(colour) > 0:
        raise Refused(
            f"The {colour} slot carries traffic",
            why=f"the listener has {weights}, and only a slot at weight 0 may be changed",
            do="Nothing was stopped. Let `reconcile` settle the environment, then try again.",
        )


def empty_slot(operation: Operation, colour: Colour) -> int | None:
    """Scale a slot to nothing and wait until nothing runs; return how many tasks ran, or None if it was empty.

    The caller has seen that the slot carries no weight. That it is empty is believed of the answer to a write and of
    two lists, never of one read, which may lag.
    """
    before = read_service(operation, colour)
    if before is None:
        time.sleep(operation.settings.timing.consistency)
        before = read_service(operation, colour)
    if before is None:
        return None
    answered = scale_service(operation, colour, Scale(0))
    deadline = time.monotonic() + operation.settings.timing.vacate
    while True:
        operation.check()
        running = patient(lambda: _running(operation, colour))
        if running == 0:
            return None if before.empty and answered.empty else max(before.running, answered.running)
        if time.monotonic() > deadline:
            raise Permanent(
                f"The {colour} slot did not empty within {operation.settings.timing.vacate:g} s",
                why="ECS did not answer" if running is None else f"{running} tasks still run",
                do="Look at the service's events in ECS.",
            )
        time.sleep(operation.settings.timing.poll)


def _running(operation: Operation, colour: Colour) -> int:
    """Return how many tasks are not gone yet, by the service and by the list of its tasks."""
    service = read_service(operation, colour)
    counted_ = 0 if service is None else max(service.desired, service.running, service.pending)
    return max(counted_, len(_tasks(operation, colour, "RUNNING")))


@step_task("start")
def start_candidate(operation: Operation) -> None:
    """Start the candidate and wait for healthy targets; tell each stopped task's reason."""
    colour = operation.candidate
    with operation.step("start", f"start {operation.release} in the {colour} slot") as step:
        wanted = operation.settings.service.desired_count
        service = read_service(operation, colour)
        healthy = read_target_health(operation.aws, operation.infrastructure, colour).healthy
        if service and service.desired == wanted <= healthy and _runs_candidate(operation, service):
            step.skip(f"{counted(healthy, 'healthy task')} of {operation.release} run already")
        else:
            healthy = start_slot(operation, colour, wanted)
            step.done(f"{counted(healthy, 'healthy target')} in {colour}")
    operation.advance(State.RUNNING)


@dataclass(frozen=True)
class Start:
    """How a slot is started, and what the reader is told if it does not become healthy."""

    subject: str = ""
    do: str = "Fix the application or its configuration and release again."
    deadline: float | None = None
    homeward: bool = False
    task_definition: str | None = None


def start_slot(operation: Operation, colour: Colour, wanted: int, how: Start | None = None) -> int:
    """Scale a slot's service up with a new deployment; return how many targets are healthy once `wanted` are.

    That very deployment is followed, by the id that ECS answered. Raises `Permanent` with the stopped tasks' reasons
    and last log lines if ECS gives it up, or time is up; while ECS has no capacity, it is waited for.
    """
    how = how or Start()
    start = _SlotStart(operation, colour, wanted, how)
    end = time.monotonic() + (how.deadline or operation.settings.timing.start)
    while True:
        operation.check()
        healthy = start.look()
        if healthy is not None:
            return healthy
        late = time.monotonic() > end
        if start.gave_up and start.short_of_capacity and not late:
            run_logger().warning("ECS has no capacity for %s now; it is asked again", start.subject)
            start.deploy()
        elif start.gave_up or late:
            raise Permanent(f"{start.subject} did not become healthy in the {colour} slot", why=start.why(), do=how.do)
        time.sleep(operation.settings.timing.poll)


class _SlotStart:
    """One start of a slot, and what was seen of it last."""

    def __init__(self, operation: Operation, colour: Colour, wanted: int, how: Start) -> None:
        self._operation, self._colour, self._wanted, self._how = operation, colour, wanted, how
        self.subject = how.subject or operation.version or f"The {colour} slot"
        self._told: dict[str, str] = {}
        self._service: SlotService | None = None
        self._health: TargetHealth | None = None
        self.deploy()

    def deploy(self) -> None:
        """Make a deployment, which is the one that is looked at from now on."""
        how = self._how
        scale = Scale(self._wanted, force=True, homeward=how.homeward, task_definition=how.task_definition)
        answered = scale_service(self._operation, self._colour, scale)
        self._deployment = answered.primary
        self._known_events = {event for event, _ in answered.events}

    def look(self) -> int | None:
        """Return how many targets are healthy once enough tasks of this deployment run, else None."""
        operation, colour = self._operation, self._colour
        self._health = patient(lambda: read_target_health(operation.aws, operation.infrastructure, colour))
        self._service = patient(lambda: read_service(operation, colour))
        patient(self._tell_stopped)
        deployment = self._service.deployment(self._deployment) if self._service else None
        healthy = self._health.healthy if self._health else 0
        started = deployment is not None and deployment.running >= self._wanted
        return healthy if started and healthy >= self._wanted else None

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

    def _tell_stopped(self) -> None:
        for described in _stopped_tasks(self._operation, self._colour):
            arn, reason = described["taskArn"], stop_reason(described)
            if arn not in self._told:
                self._told[arn] = reason
                run_logger().warning("Task %s stopped: %s", arn.rsplit("/", 1)[-1], reason)

    def why(self) -> str:
        """Return what was seen last, and what the tasks said."""
        if self._service is None and self._health is None:
            return "ECS and the load balancer did not answer"
        deployment = self._service.deployment(self._deployment) if self._service else None
        failed = deployment.rollout_reason if deployment and deployment.rollout == "FAILED" else ""
        return _why_not_healthy(self._operation, self._colour, failed or f"targets: {self._health}", self._told)


def _why_not_healthy(operation: Operation, colour: Colour, seen: str, told: dict[str, str]) -> str:
    said = [seen]
    for arn, reason in list(told.items())[-_STOPPED_SHOWN:]:
        said.append(f"task {arn.rsplit('/', 1)[-1]} stopped: {reason}")
    last = list(told)[-1:] or (patient(lambda: _tasks(operation, colour, "RUNNING")) or [])[-1:]
    for arn in last:
        lines = read_log(operation, colour.value, arn)[-_LOG_LINES:]
        if lines:
            said.append("its last log lines:\n" + "\n".join(lines))
    return "; ".join(part.rstrip(".") for part in said if part)


@dataclass(frozen=True)
class Scale:
    """What a service shall be: its count, and a deployment of its own if forced or of another task definition."""

    count: int
    force: bool = False
    homeward: bool = False
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


def scale_service(operation: Operation, colour: Colour, scale: Scale) -> SlotService:
    """Set a service's count; return the service as ECS answered. A lost answer leads to a look, then again."""
    before = patient(lambda: read_service(operation, colour)) if scale.force else None
    name = operation.settings.service_name(colour)
    for last in (False, False, True):
        operation.last_look(homeward=scale.homeward)
        try:
            with aws_errors(f"scaling {name} to {scale.count}", writes=True):
                answer = operation.aws("ecs").update_service(
                    cluster=operation.infrastructure.cluster_arn, service=name, **scale.arguments()
                )
            return service_of(answer["service"])
        except (Transient, UnknownOutcome):
            if last:
                raise
            time.sleep(operation.settings.timing.poll)
            found = patient(lambda: read_service(operation, colour))
            if found is not None and scale.seen_in(found, before):
                return found
    raise AssertionError("unreachable")


def _tasks(operation: Operation, colour: Colour, status: str) -> list[str]:
    return list_service_tasks(
        operation.aws, operation.infrastructure.cluster_arn, operation.settings.service_name(colour), status
    )


def _stopped_tasks(operation: Operation, colour: Colour) -> list[dict[str, Any]]:
    arns = _tasks(operation, colour, "STOPPED")[:100]
    described = describe_tasks(operation.aws, operation.infrastructure, arns)
    return [task for task in described if task.get("stopCode") != "ServiceSchedulerInitiated"]


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
