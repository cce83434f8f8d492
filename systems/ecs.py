"""What ECS says of services, task definitions and tasks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.record import Infrastructure, NamedRelease
from systems.aws import AwsClients, aws_errors

__all__ = [
    "Deployment",
    "SlotService",
    "describe_tasks",
    "list_service_tasks",
    "read_names",
    "read_service",
    "service_of",
    "stop_reason",
]


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


def read_service(aws: AwsClients, cluster: str, name: str) -> SlotService | None:
    """Return a service, or None where ECS knows no active one of that name."""
    with aws_errors(f"reading the service {name}"):
        found = aws("ecs").describe_services(cluster=cluster, services=[name])
    return next((service_of(s) for s in found["services"] if s["status"] == "ACTIVE"), None)


def read_names(aws: AwsClients, task_definition: str) -> NamedRelease:
    """Return which release a task definition names."""
    with aws_errors(f"reading the task definition {task_definition}"):
        found = aws("ecs").describe_task_definition(taskDefinition=task_definition)
    container = found["taskDefinition"]["containerDefinitions"][0]
    named = {v["name"]: v["value"] for v in container.get("environment", [])}
    return NamedRelease(
        image=container["image"],
        version=named.get("POINTSMAN_VERSION", ""),
        revision=named.get("POINTSMAN_REVISION", ""),
    )


def list_service_tasks(aws: AwsClients, cluster: str, name: str, status: str) -> list[str]:
    """Return the ARNs of a service's tasks that shall have a status: RUNNING or STOPPED."""
    with aws_errors("listing tasks"):
        found = aws("ecs").list_tasks(cluster=cluster, serviceName=name, desiredStatus=status)
    return list(found["taskArns"])


def describe_tasks(aws: AwsClients, infrastructure: Infrastructure, arns: list[str]) -> list[dict[str, Any]]:
    """Return what ECS says of tasks, none for none."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(arns), 100):  # as many as DescribeTasks takes
        with aws_errors("reading tasks"):
            answer = aws("ecs").describe_tasks(cluster=infrastructure.cluster_arn, tasks=arns[start : start + 100])
        found += answer["tasks"]
    return found


def stop_reason(described: dict[str, Any]) -> str:
    """Return why a task stopped, in words."""
    container = (described.get("containers") or [{}])[0]
    parts = [described.get("stoppedReason") or "no reason given"]
    if container.get("exitCode") is not None:
        parts.append(f"exit code {container['exitCode']}")
    if container.get("reason"):
        parts.append(container["reason"])
    return ", ".join(parts)
