"""A container definition in Docker's words, and what Docker's health check is in ECS's."""

from __future__ import annotations

import hashlib
from typing import Any

from docker.types import Ulimit

__all__ = ["container_options", "health_of"]

_NANOSECONDS = 10**9
_HEALTH = {"healthy": "HEALTHY", "unhealthy": "UNHEALTHY"}


def container_options(cdef: dict[str, Any], td: dict[str, Any]) -> dict[str, Any]:
    """Return Docker's options for members of a container definition that MiniStack leaves out."""
    options: dict[str, Any] = {}
    if cdef.get("entryPoint"):
        options["entrypoint"] = cdef["entryPoint"]
    if cdef.get("user"):
        options["user"] = cdef["user"]
    if cdef.get("workingDirectory"):
        options["working_dir"] = cdef["workingDirectory"]
    if cdef.get("readonlyRootFilesystem"):
        options["read_only"] = True
    if (cdef.get("linuxParameters") or {}).get("initProcessEnabled"):
        options["init"] = True
    if cdef.get("ulimits"):
        options["ulimits"] = [
            Ulimit(name=limit["name"], soft=limit["softLimit"], hard=limit["hardLimit"]) for limit in cdef["ulimits"]
        ]
    if cdef.get("healthCheck"):
        options["healthcheck"] = _health_check(cdef["healthCheck"])
    volumes = _efs_volumes(cdef, td)
    if volumes:
        options["volumes"] = volumes
    memory = cdef.get("memory") or td.get("memory")
    if memory:
        options["mem_limit"] = f"{int(memory)}m"
    return options


def _health_check(check: dict[str, Any]) -> dict[str, Any]:
    return {
        "test": check["command"],
        "interval": int(check.get("interval") or 30) * _NANOSECONDS,
        "timeout": int(check.get("timeout") or 5) * _NANOSECONDS,
        "retries": int(check.get("retries") or 3),
        "start_period": int(check.get("startPeriod") or 0) * _NANOSECONDS,
    }


def _efs_volumes(cdef: dict[str, Any], td: dict[str, Any]) -> list[str]:
    """Return a bind for each mount of a file system: a volume of Docker's for each file system and its place in it."""
    found = []
    systems = {v["name"]: v["efsVolumeConfiguration"] for v in td.get("volumes", ()) if v.get("efsVolumeConfiguration")}
    for mount in cdef.get("mountPoints", ()):
        configuration = systems.get(mount.get("sourceVolume"))
        if configuration:
            place = (configuration.get("authorizationConfig") or {}).get("accessPointId") or configuration.get(
                "rootDirectory", "/"
            )
            inside = hashlib.sha256(place.encode()).hexdigest()[:12]
            mode = "ro" if mount.get("readOnly") else "rw"
            found.append(f"pointsman-{configuration['fileSystemId']}-{inside}:{mount['containerPath']}:{mode}")
    return found


def health_of(state: dict[str, Any]) -> str:
    """Return a container's health in ECS's words, by what Docker says of its state."""
    return _HEALTH.get(str((state.get("Health") or {}).get("Status")), "UNKNOWN")
