"""What a service's scheduler starts and stops, as ECS documents it.

Old tasks stay while a deployment is in progress. An unhealthy task is replaced by starting the new one first, as far
as `maximumPercent` allows, and is stopped when the new one is healthy: meanwhile more tasks run than are desired.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emulator.upstream import ecs

__all__ = ["Candidate", "Moves", "Wanted", "decide", "reconcile"]

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that has not begun to stop, as far as the scheduler tells tasks apart."""

    arn: str
    created: str
    current: bool
    """Whether it belongs to the deployment that is to stand."""
    running: bool
    settled: bool
    """Whether it has been seen healthy."""
    sick: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the service wants."""

    desired: int
    rollout: str
    maximum_percent: int = 200
    minimum_percent: int = 100

    @property
    def most(self) -> int:
        """How many tasks may be there at once."""
        return max(1, self.desired * self.maximum_percent // 100)

    @property
    def least(self) -> int:
        """How many must go on running."""
        return -(-self.desired * self.minimum_percent // 100)


@dataclass(slots=True)
class Moves:
    """Tasks to stop, each with the reason, and how many to start."""

    stop: dict[str, str] = field(default_factory=dict)
    start: int = 0


def decide(wanted: Wanted, tasks: list[Candidate]) -> Moves:
    """Return the next moves of a service that wants at least one task."""
    moves = Moves()
    current = sorted((task for task in tasks if task.current), key=lambda task: task.created)
    good = [task for task in current if not task.sick]
    sick = [task for task in current if task.sick]
    stale = [task for task in tasks if not task.current]
    if wanted.rollout != "IN_PROGRESS":
        moves.stop |= {task.arn: "Task definition updated" for task in stale}
        stale = []
    missing = wanted.desired - len(good)
    if missing < 0:
        moves.stop |= {task.arn: "Service scaling down" for task in good[missing:]}
    replaced = sum(1 for task in good if task.settled) >= wanted.desired
    if replaced or wanted.rollout == "FAILED":
        moves.stop |= {task.arn: "" for task in sick}
    elif missing > 0:
        room = max(0, wanted.most - len(current) - len(stale))
        victims = _make_room(wanted, missing - room, sick, [*good, *stale])
        moves.stop |= victims
        moves.start = min(missing, room + len(victims))
    return moves


def _make_room(wanted: Wanted, places: int, sick: list[Candidate], others: list[Candidate]) -> dict[str, str]:
    """Sick tasks go first; then those of older deployments, while enough go on running."""
    victims = {task.arn: "" for task in sick[: max(0, places)]}
    spare = max(0, sum(1 for task in others if task.running) - wanted.least)
    stale = [task for task in others if not task.current]
    more = stale[: max(0, min(places - len(victims), spare))]
    return victims | {task.arn: "Deployment capacity limit" for task in more}


def reconcile(cluster: str, key: str) -> None:
    """Start and stop what the service's wishes need, once."""
    service = ecs._services.get(key)
    if not service or service["status"] != "ACTIVE":
        return
    desired = service.get("desiredCount", 0)
    primary = ecs._primary_deployment(service)
    tasks = _tasks_of(service)
    if desired:
        moves = decide(_wanted(service, primary), _candidates(service, primary, tasks))
        # Nothing is started of a definition that is gone.
        known = ecs._resolve_td_key(service["taskDefinition"]) in ecs._task_defs
        starts = _held_back(service, primary, tasks, moves.start) if known else 0
    else:
        moves, starts = Moves(stop={task["taskArn"]: "Service scaling down" for task in tasks}), 0
    for arn, reason in moves.stop.items():
        ecs._stop_task({"task": arn, "cluster": cluster, "reason": reason})
    if starts:
        ecs._run_task(_request(cluster, service, primary, starts))
    ecs._refresh_service_state(cluster, f"service:{service['serviceName']}")
    ecs._recount_cluster(cluster)
    if not desired:
        ecs._complete_service_deployment(cluster, key)


def _tasks_of(service: Record) -> list[Record]:
    return [
        task
        for task in ecs._tasks.values()
        if task.get("group") == f"service:{service['serviceName']}"
        and task.get("clusterArn") == service["clusterArn"]
        and task.get("lastStatus") in ecs._PRE_STOP_STATUSES
    ]


def _wanted(service: Record, primary: Record | None) -> Wanted:
    configuration = service.get("deploymentConfiguration") or {}
    return Wanted(
        desired=service["desiredCount"],
        rollout=(primary or {}).get("rolloutState", ""),
        maximum_percent=int(configuration.get("maximumPercent", 200)),
        minimum_percent=int(configuration.get("minimumHealthyPercent", 100)),
    )


def _candidates(service: Record, primary: Record | None, tasks: list[Record]) -> list[Candidate]:
    definition = ecs._task_defs.get(ecs._resolve_td_key(service["taskDefinition"])) or {}
    target = definition.get("taskDefinitionArn", service["taskDefinition"])
    return [
        Candidate(
            arn=task["taskArn"],
            created=str(task.get("createdAt", "")),
            current=task.get("taskDefinitionArn") == target
            and (primary is None or ecs._deployment_for_task(service, task) is primary),
            running=task.get("lastStatus") == "RUNNING",
            settled=task.get("lastStatus") == "RUNNING" and bool(task.get("_startup_stable")),
            sick=bool(task.get("_sick")),
        )
        for task in tasks
    ]


def _held_back(service: Record, primary: Record | None, tasks: list[Record], starts: int) -> int:
    """A deployment's first task resolves its image's tag; the others wait for that one."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(service["taskDefinition"]))
    if not (
        starts and primary and ecs._get_docker() and ecs._deployment_needs_first_task(primary, definition, service)
    ):
        return starts
    begun = any(ecs._deployment_for_task(service, task) is primary for task in tasks)
    return 0 if begun else 1


def _request(cluster: str, service: Record, primary: Record | None, count: int) -> Record:
    return {
        "cluster": cluster,
        "taskDefinition": service["taskDefinition"],
        "count": count,
        "group": f"service:{service['serviceName']}",
        "startedBy": service["serviceName"],
        "launchType": service.get("launchType"),
        "capacityProviderStrategy": service.get("capacityProviderStrategy"),
        "platformVersion": service.get("platformVersion", ""),
        "networkConfiguration": service.get("networkConfiguration", {}),
        "enableExecuteCommand": service.get("enableExecuteCommand", False),
        "_deploymentId": primary["id"] if primary else None,
    }
