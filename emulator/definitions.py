"""What RegisterTaskDefinition refuses of a definition for Fargate, in AWS's own words where they are known.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["fault_of_definition", "in_order_of_start"]

Definition = dict[str, Any]

_MEMORY: dict[int, Any] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
_CONDITIONS = ("START", "COMPLETE", "SUCCESS", "HEALTHY")
_BOUNDS = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}


def fault_of_definition(definition: Definition) -> str | None:
    """Return why AWS would not register a definition, or None; only those for Fargate are judged."""
    if "FARGATE" not in definition.get("requiresCompatibilities", ()):
        return None
    return next(_faults(definition), None)


def _faults(definition: Definition) -> Iterator[str]:
    cpu, memory = str(definition.get("cpu", "")), str(definition.get("memory", ""))
    if not (cpu.isdigit() and memory.isdigit() and int(memory) in _MEMORY.get(int(cpu), ())):
        yield (
            f"No Fargate configuration exists for given values: {cpu or 'no'} CPU, {memory or 'no'} memory. "
            "See the Amazon ECS documentation for the valid values."
        )
    storage = (definition.get("ephemeralStorage") or {}).get("sizeInGiB")
    if storage is not None and not 21 <= int(storage) <= 200:
        yield "Ephemeral storage size should be between 21 and 200 GiB."
    containers = definition.get("containerDefinitions", [])
    if not any(container.get("essential", True) for container in containers):
        yield "At least one container in a task definition must be essential."
    for name, times in Counter(container.get("name") for container in containers).items():
        if times > 1:
            yield f"Container names must be unique: {name}"
    ports = Counter(m["containerPort"] for c in containers for m in c.get("portMappings", ()))
    for port, times in ports.items():
        if times > 1:
            yield f"The same host port mapping {port} cannot be used for multiple containers in awsvpc network mode."
    volumes = {volume.get("name") for volume in definition.get("volumes", ())}
    for container in containers:
        yield from _container_faults(container, volumes)
    yield from _dependency_faults({container.get("name"): container for container in containers})


def _container_faults(container: dict[str, Any], volumes: set[Any]) -> Iterator[str]:
    patience = container.get("stopTimeout")
    if patience is not None and not 0 <= int(patience) <= 120:
        yield "Invalid stopTimeout value: it must be at most 120 seconds on Fargate."
    for limit in container.get("ulimits", ()):
        if limit["softLimit"] > limit["hardLimit"]:
            yield f"The soft limit of {limit['name']} exceeds its hard limit."
    check = container.get("healthCheck")
    if check is not None:
        kind, *rest = check.get("command") or [""]
        if kind not in ("CMD", "CMD-SHELL") or not rest:
            yield "Health check command must begin with CMD or CMD-SHELL."
        for key, (low, high) in _BOUNDS.items():
            if check.get(key) is not None and not low <= int(check[key]) <= high:
                yield f"Health check {key} must be between {low} and {high}."
    for mount in container.get("mountPoints", ()):
        if mount.get("sourceVolume") not in volumes:
            yield f"Unknown volume '{mount.get('sourceVolume')}'."


def _dependency_faults(containers: dict[Any, dict[str, Any]]) -> Iterator[str]:
    for name, container in containers.items():
        for wish in container.get("dependsOn", ()):
            other, condition = containers.get(wish.get("containerName")), wish.get("condition")
            if other is None:
                yield f"Container '{name}' depends on a container that does not exist: {wish.get('containerName')}"
            elif condition not in _CONDITIONS:
                yield f"Invalid condition '{condition}' for a container dependency."
            elif condition == "HEALTHY" and not other.get("healthCheck"):
                yield f"Container '{name}' waits for '{other['name']}' to be HEALTHY, which has no health check."
            elif condition in ("COMPLETE", "SUCCESS") and other.get("essential", True):
                yield f"Container '{name}' waits for the essential container '{other['name']}' to end."
    if len(in_order_of_start(list(containers.values()))) < len(containers):
        yield "There is a circular dependency between containers."


def in_order_of_start(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return containers with each behind those that it depends on; those in a circle are left out."""
    left, ordered = list(containers), list[dict[str, Any]]()
    while ready := [c for c in left if _needs(c) <= {o["name"] for o in ordered}]:
        ordered += ready
        left = [c for c in left if c not in ready]
    return ordered


def _needs(container: dict[str, Any]) -> set[str]:
    return {wish["containerName"] for wish in container.get("dependsOn", ())}
