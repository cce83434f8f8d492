"""How a container of a slot's task is run: what the settings ask for, and what the release record keeps of it.

The names are ours, the rules are those of ECS on Fargate:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.secret import SecretReference
from core.shape import OneOf

__all__ = [
    "Condition",
    "Container",
    "HealthCheck",
    "Mount",
    "PinnedSidecar",
    "Port",
    "Sidecar",
    "Ulimit",
    "Volume",
    "container_shape",
    "refuse_dependencies",
    "repository_of",
]

Condition = Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"]
"""What a container waits for of another: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html"""

Port = Annotated[int, Field(ge=1, le=65_535)]
Word = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Ulimit.html: of all limits Fargate sets only this one.
_ULIMITS = ("nofile",)
_MOST_FILES = 1_048_576


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ulimit(_Part):
    """One resource limit of a container's processes."""

    soft: int = Field(ge=1, le=_MOST_FILES, description="What a process begins with.")
    hard: int = Field(ge=1, le=_MOST_FILES, description="What a process may raise it to.")

    @model_validator(mode="after")
    def _soft_is_within_hard(self) -> Self:
        if self.soft > self.hard:
            raise ValueError(f"soft = {self.soft} is above hard = {self.hard}, which no kernel grants")
        return self


class HealthCheck(_Part):
    """A command that ECS runs in the container; a task whose essential container fails it is replaced.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
    """

    command: tuple[Word, ...] = Field(
        min_length=2, description='`["CMD", "program", "argument"]`, or `["CMD-SHELL", "a line for the shell"]`.'
    )
    interval: int = Field(default=30, ge=5, le=300, description="Seconds between two checks.")
    timeout: int = Field(default=5, ge=2, le=60, description="Seconds after which a check has failed.")
    retries: int = Field(default=3, ge=1, le=10, description="Failures in a row that make it unhealthy.")
    start_period: int = Field(default=0, ge=0, le=300, description="Seconds at its start in which no failure counts.")

    @field_validator("command")
    @classmethod
    def _says_how_it_is_run(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command[0] not in ("CMD", "CMD-SHELL"):
            raise ValueError(
                f"begins with {command[0]!r}: ECS needs CMD (program and arguments) or CMD-SHELL (one line)"
            )
        if command[0] == "CMD-SHELL" and len(command) != 2:
            raise ValueError("CMD-SHELL takes one line for the shell: join the words, or begin with CMD")
        return command


class Mount(_Part):
    """Where a container sees a file system."""

    path: str = Field(pattern=r"^/[^\s:]+$", max_length=255)
    read_only: bool = False


class Volume(_Part):
    """A file system of EFS that a task mounts; always in transit by TLS.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EFSVolumeConfiguration.html
    """

    file_system: str = Field(pattern=r"^fs-[0-9a-f]{8,40}$", description="The file system's id.")
    root_directory: str = Field(default="/", pattern=r"^/\S*$", description="What of it is mounted.")
    access_point: str | None = Field(default=None, pattern=r"^fsap-[0-9a-f]{8,40}$")
    iam: bool = Field(default=False, description="Whether the task's role is asked for, as the file system's policy.")

    @model_validator(mode="after")
    def _an_access_point_has_its_own_root(self) -> Self:
        if self.access_point is not None and self.root_directory != "/":
            raise ValueError("root_directory goes without access_point, which has a root of its own")
        return self


class Container(_Part):
    """How a container is run; what is left out is as the image says."""

    command: tuple[Word, ...] = Field(default=(), description="Instead of the image's CMD.")
    entry_point: tuple[Word, ...] = Field(
        default=(), description="Instead of the image's ENTRYPOINT; the image's CMD is then left out as well."
    )
    user: str | None = Field(
        default=None,
        pattern=r"^[^\s:]+(:[^\s:]+)?$",
        max_length=255,
        description="Who runs it instead of the image's USER: a name or number, with `:group` where needed.",
    )
    stop_timeout: int | None = Field(
        default=None, ge=2, le=120, description="Seconds from SIGTERM to SIGKILL; ECS's 30 if unset."
    )
    init_process: bool = Field(default=False, description="Run an init as PID 1 that passes signals on and reaps.")
    ulimits: dict[str, Ulimit] = Field(default={}, description="Fargate has `nofile`, the open files, and no other.")
    health_check: HealthCheck | None = None
    extra_ports: tuple[Port, ...] = Field(default=(), description="TCP ports that it listens on as well.")
    depends_on: dict[str, Condition] = Field(
        default={}, description="Containers of the same task, each with what it must be before this one starts."
    )

    mounts: dict[str, Mount] = Field(default={}, description="Volumes of the task by their names.")

    @field_validator("ulimits")
    @classmethod
    def _fargate_has_them(cls, ulimits: dict[str, Ulimit]) -> dict[str, Ulimit]:
        foreign = sorted(set(ulimits) - set(_ULIMITS))
        if foreign:
            raise ValueError(f"{', '.join(foreign)}: Fargate keeps the system's own limits for all but nofile")
        return ulimits

    @field_validator("extra_ports")
    @classmethod
    def _each_port_once(cls, ports: tuple[int, ...]) -> tuple[int, ...]:
        twice = sorted(port for port, times in Counter(ports).items() if times > 1)
        if twice:
            raise ValueError(f"{', '.join(map(str, twice))} appears twice")
        return ports


class _Beside(Container):
    """What a container beside the application's is, in the settings as in the record."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$")
    image: str = Field(min_length=1, description="Its image, by a tag or by `@sha256:…`.")
    essential: bool = Field(default=True, description="Whether its end is the end of the task.")
    variables: dict[str, str] = Field(default={})

    @field_validator("image")
    @classmethod
    def _names_one_image(cls, image: str) -> str:
        if not _REFERENCE.fullmatch(image):
            raise ValueError(f"{image!r} is not an image by tag or digest, such as public.ecr.aws/x/proxy:1.2")
        return image


# https://pkg.go.dev/github.com/distribution/reference: host and path in lower case, then a tag, a digest, or both
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9._/-]+(?=[:@])(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


class Sidecar(_Beside):
    """A container beside the application's, as the settings ask for it."""

    secrets: dict[str, SecretReference] = Field(default={})


class PinnedSidecar(_Beside):
    """A container beside the application's, as a release has it: by the digest that its tag had then."""

    secrets: dict[str, str] = Field(default={}, description="Name to reference in Secrets Manager or SSM.")
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="None before it is pinned.")

    @property
    def pinned_image(self) -> str:
        """The image by the digest that it was pinned at."""
        return f"{repository_of(self.image)}@{self.digest}" if self.digest else self.image


def repository_of(image: str) -> str:
    """Return an image's registry and path, without its tag and digest."""
    named = image.partition("@")[0]
    path, colon, tag = named.rpartition(":")
    return path if colon and "/" not in tag else named


def refuse_dependencies(application: str, container: Container, sidecars: Sequence[_Beside]) -> None:
    """Raise `ValueError` for names and ports that meet, and for dependencies that ECS can't fulfil."""
    named: dict[str, Container] = {application: container}
    for sidecar in sidecars:
        if sidecar.name in named:
            raise ValueError(f"containers: {sidecar.name} is the name of two containers of a task")
        named[sidecar.name] = sidecar
    ends = {sidecar.name for sidecar in sidecars if not sidecar.essential}
    for name, one in named.items():
        for other, condition in one.depends_on.items():
            if other not in named:
                raise ValueError(f"depends_on: {name} waits for {other}, which is no container of its task")
            if condition == "HEALTHY" and named[other].health_check is None:
                raise ValueError(f"depends_on: {name} waits for {other} to be HEALTHY, which has no health_check")
            if condition in ("COMPLETE", "SUCCESS") and other not in ends:
                raise ValueError(f"depends_on: {name} waits for {other} to end, whose end is the task's: essential")
    circle = _circle({name: one.depends_on for name, one in named.items()})
    if circle:
        raise ValueError(f"depends_on: {', '.join(circle)} wait for each other")


def _circle(waits: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the names that can never start, as each waits for another of them."""
    left = dict(waits)
    while ready := [name for name, others in left.items() if not left.keys() & others.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def container_shape(container: Container) -> dict[str, Any]:
    """Return what a container's definition must say of how it is run, in ECS's words; empty where it must say nothing.

    Without its ports, which the slot's service and its target group decide on as well.
    """
    check = container.health_check
    return {
        "command": list(container.command),
        "entryPoint": list(container.entry_point),
        "user": container.user,
        "mountPoints": [
            {
                "sourceVolume": name,
                "containerPath": mount.path,
                "readOnly": mount.read_only,
            }
            for name, mount in sorted(container.mounts.items())
        ],
        "dependsOn": [
            {"containerName": name, "condition": condition} for name, condition in sorted(container.depends_on.items())
        ],
        "stopTimeout": container.stop_timeout,
        "linuxParameters": {"initProcessEnabled": True} if container.init_process else None,
        "ulimits": [
            {"name": name, "softLimit": limit.soft, "hardLimit": limit.hard}
            for name, limit in sorted(container.ulimits.items())
        ],
        "healthCheck": check
        and {
            "command": list(check.command),
            "interval": check.interval,
            "timeout": check.timeout,
            "retries": check.retries,
            "startPeriod": check.start_period or OneOf(0, None),  # ECS may leave a 0 out
        },
    }
