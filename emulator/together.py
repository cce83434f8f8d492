"""Tasks of several containers: one network for all of them, started and stopped in the order that they depend on.

As ECS does it, a container that only waits holds the task's network: the others may come and go.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from __future__ import annotations

import io
import platform
import struct
import tarfile
import threading
import time
from collections.abc import Callable
from typing import Any

from docker.errors import DockerException, ImageNotFound, NotFound

from emulator.containers import health_of
from emulator.definitions import in_order_of_start
from emulator.upstream import container_reaper, ecs, replace

__all__ = ["Together"]

Task = dict[str, Any]
_PAUSE_IMAGE = "pointsman/pause:emulator"
_POLL = 0.1
_PATIENCE = 180.0
"""How long ECS waits for a condition: ECS_CONTAINER_START_TIMEOUT's three minutes."""
_TASK_LABEL = "com.amazonaws.ecs.task-arn"


class DependencyError(Exception):
    """A container's condition for its start can't be met any more."""


class Together:
    """Replaces the start of tasks that have more than one container."""

    def __init__(self) -> None:
        self._definitions: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, Task] = {}
        self._networks: dict[str, str] = {}
        self._containers: dict[str, dict[str, str]] = {}

    def install(self) -> None:
        """Put the additions in MiniStack's place."""
        self._start: Callable[..., None] = replace(ecs, "_start_task_worker", self._start_task)
        self._run: Callable[..., Any] = replace(ecs, "_run_docker_container", self._run_in_turn)

    def _start_task(self, task: Task, td: dict[str, Any], overrides: Any, client: Any) -> None:
        if len(td["containerDefinitions"]) == 1:
            self._start(task, td, overrides, client)
            return
        arn = task["taskArn"]
        ordered = in_order_of_start(td["containerDefinitions"])
        described = {container["name"]: container for container in task["containers"]}
        # MiniStack knows containers by their place in the list, so all lists are in the order of starts.
        task["containers"] = [described[cdef["name"]] for cdef in ordered]
        task["_container_essentials"] = [bool(cdef.get("essential", True)) for cdef in ordered]
        self._tasks[arn], self._definitions[arn], self._containers[arn] = task, td, {}
        pause = self._hold_network(arn, client)
        ecs._record_task_ip(task, pause, None)
        self._start(task, {**td, "containerDefinitions": ordered}, overrides, client)

    def _hold_network(self, arn: str, client: Any) -> Any:
        try:
            client.images.get(_PAUSE_IMAGE)
        except ImageNotFound:
            client.api.import_image_from_data(_pause_archive(), repository="pointsman/pause", tag="emulator")
        labels = {**container_reaper.own_labels("ecs"), _TASK_LABEL: arn}
        pause = client.containers.run(
            _PAUSE_IMAGE, ["/pause"], detach=True, labels=labels, name=f"ministack-ecs-{arn.rsplit('/', 1)[-1][:8]}"
        )
        self._networks[arn] = pause.id
        return pause

    def options(self, arn: str) -> dict[str, Any]:
        """Return Docker's options by which a container joins its task's network; none for a task of one container."""
        holder = self._networks.get(arn)
        if holder is None:
            return {}
        return {"network": None, "extra_hosts": None, "network_mode": f"container:{holder}"}

    def _run_in_turn(self, client: Any, cdef: dict[str, Any], run_kwargs: dict[str, Any], **kwargs: Any) -> Any:
        arn = run_kwargs["labels"][_TASK_LABEL]
        if arn not in self._networks:
            return self._run(client, cdef, run_kwargs, **kwargs)
        for wish in cdef.get("dependsOn", ()):
            self._await(arn, client, cdef["name"], wish["containerName"], wish["condition"])
        container = self._run(client, cdef, run_kwargs, **kwargs)
        self._containers[arn][cdef["name"]] = container.id
        return container

    def _await(self, arn: str, client: Any, name: str, other: str, condition: str) -> None:
        """Wait for a container's condition; DependencyError where it can't come true, or not in time."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and ecs._task_is_active(arn, self._tasks[arn]):
            state = client.containers.get(self._containers[arn][other]).attrs["State"]
            met = is_met(condition, state)
            if met is None:
                time.sleep(_POLL)
                continue
            if met:
                return
            break
        raise DependencyError(
            f"dependency graph: failed to resolve the container ordering dependency [{other}] for target [{name}]: "
            f"it is not {condition}"
        )

    def stop(self, task: Task, stop_one: Callable[[str], None], ids: list[str]) -> None:
        """Stop a task's containers by their ids: each once those that depend on it have ended, others side by side."""
        named = {id_: name for name, id_ in self._containers.get(task["taskArn"], {}).items()}
        definitions = self._definitions.get(task["taskArn"], {}).get("containerDefinitions", [])
        ended = {id_: threading.Event() for id_ in ids}
        dependents: dict[str, list[str]] = {
            id_: [
                other
                for other in ids
                for cdef in definitions
                if cdef["name"] == named.get(other)
                and any(wish["containerName"] == named.get(id_) for wish in cdef.get("dependsOn", ()))
            ]
            for id_ in ids
        }

        def stop(id_: str) -> None:
            for other in dependents[id_]:
                ended[other].wait()
            try:
                stop_one(id_)
            finally:
                ended[id_].set()

        threads = [threading.Thread(target=stop, args=(id_,), daemon=True) for id_ in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def release_network(self, task: Task, client: Any) -> None:
        """Remove what held a task's network, once its containers have ended."""
        arn = task["taskArn"]
        holder = self._networks.pop(arn, None)
        for facts in (self._tasks, self._definitions, self._containers):
            facts.pop(arn, None)
        if holder is not None:
            try:
                client.containers.get(holder).remove(v=True, force=True)
            except (NotFound, DockerException):
                return


def is_met(condition: str, state: dict[str, Any]) -> bool | None:
    """Whether a container's condition is met by its state in Docker; None while it still may be."""
    if condition == "START":
        return True
    running = bool(state["Running"])
    if condition == "HEALTHY":
        health = health_of(state)
        if health == "HEALTHY":
            return True
        return None if running and health != "UNHEALTHY" else False
    if running:
        return None
    return condition == "COMPLETE" or state["ExitCode"] == 0


def _pause_archive() -> bytes:
    """Return the archive of an image whose only file waits for ever."""
    program = _waiting_program(platform.machine())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return archive.getvalue()


def _waiting_program(machine: str) -> bytes:
    """Return an ELF executable that sleeps until it is killed, for x86_64 or arm64."""
    if machine in ("aarch64", "arm64"):
        # mov x0..x3, #0; mov x8, #73 (ppoll); svc #0; b to the start
        words = (0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA)
        kind, code = 183, struct.pack("<7I", *words)
    else:
        # mov eax, 34 (pause); syscall; jmp to the start
        kind, code = 62, bytes.fromhex("b8220000000f05ebf7")
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    elf = b"\x7fELF" + bytes((2, 1, 1, 0)) + bytes(8)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, kind, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return elf + code
