"""What runs in a slot's tasks: `[service]` of an environment's file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from core.container import Container, Port, Sidecar, Volume
from core.fargate import fault_of_size
from core.health_check import fault_of_matcher
from core.image_settings import CREDENTIALS
from core.secret import SecretReference

__all__ = ["Service", "refuse_names"]

_KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"


def refuse_names(variables: Mapping[str, str], secrets: Mapping[str, SecretReference]) -> None:
    """Raise ValueError where a name of a variable stands twice, is reserved, or is none that a shell takes."""
    both = sorted(variables.keys() & secrets.keys())
    if both:
        raise ValueError(f"{', '.join(both)} is set in both variables and secrets")
    ours = sorted(n for n in (*variables, *secrets) if n.startswith("POINTSMAN_"))
    if ours:
        raise ValueError(f"{', '.join(ours)}: names starting with POINTSMAN_ are reserved")
    # What both a shell and ECS take; the slot's root says the same.
    odd = sorted(n for n in (*variables, *secrets) if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", n))
    if odd:
        raise ValueError(f"{', '.join(odd)}: a name is letters, digits and underscores, and begins with no digit")


class Service(Container):
    """The shape of one slot's tasks, and how the application's container is run in them."""

    container_port: Port = 8080
    cpu: int = Field(default=256, ge=256, le=16_384, description="CPU units a task.")
    memory: int = Field(default=512, ge=512, le=122_880, description="MiB a task.")
    ephemeral_storage: int | None = Field(
        default=None, ge=21, le=200, description="GiB of disk a task, gone with it; Fargate's 20 if unset."
    )
    desired_count: int = Field(default=2, ge=1, le=1_000, description="The number of tasks that run.")
    health_check_path: str = Field(
        default="/healthz",
        pattern=r"^/\S*$",
        max_length=1_024,
        description="What the load balancer asks. Keep it shallow.",
    )
    health_check_matcher: str = Field(
        default="200", max_length=100, description='The statuses that are healthy: "200", "200,204" or "200-399".'
    )
    grace_period: int = Field(
        default=60, ge=0, le=3_600, description="Seconds after its start in which a task may fail health checks."
    )
    variables: dict[str, str] = Field(default={})
    secrets: dict[str, SecretReference] = Field(default={})
    containers: tuple[Sidecar, ...] = Field(default=(), description="Containers beside the application's.")
    volumes: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$")], Volume] = Field(
        default={}, description="File systems of EFS by a name, which the containers' mounts say."
    )
    task_policies: tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/\S+$")], ...] = Field(
        default=(), description="ARNs of managed policies that the task's role has.", max_length=10
    )
    secret_keys: tuple[Annotated[str, Field(pattern=_KEY_ARN)], ...] = Field(
        default=(), description="ARNs of KMS keys of your own that these secrets are encrypted with."
    )

    @model_validator(mode="after")
    def _fargate_offers_the_size(self) -> Self:
        fault = fault_of_size(self.cpu, self.memory)
        if fault:
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.container_port in self.extra_ports:
            raise ValueError(f"{self.container_port} is in both container_port and extra_ports")
        ports = [self.container_port, *self.extra_ports, *(port for one in self.containers for port in one.extra_ports)]
        twice = sorted({port for port in ports if ports.count(port) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(str, twice))}: containers of a task share its network, so its ports too")
        return self

    @property
    def container(self) -> Container:
        """How the application's container is run, without the rest of the service."""
        return Container(**{name: getattr(self, name) for name in Container.model_fields})

    @field_validator("health_check_matcher")
    @classmethod
    def _matcher_is_one_of_a_load_balancer(cls, matcher: str) -> str:
        if fault := fault_of_matcher(matcher):
            raise ValueError(fault)
        return matcher

    @model_validator(mode="after")
    def _names_stand_once(self) -> Self:
        refuse_names(self.variables, self.secrets)
        for one in self.containers:
            refuse_names(one.variables, one.secrets)
        return self

    @model_validator(mode="after")
    def _mounts_have_a_volume(self) -> Self:
        mounted = {*self.mounts, *(name for one in self.containers for name in one.mounts)}
        unknown, unused = sorted(mounted - self.volumes.keys()), sorted(self.volumes.keys() - mounted)
        if unknown:
            raise ValueError(f"mounts: {', '.join(unknown)} is no volume of service.volumes")
        if unused:
            raise ValueError(f"volumes: {', '.join(unused)} is mounted by no container")
        return self

    @model_validator(mode="after")
    def _no_credentials_in_variables(self) -> Self:
        given = [*self.variables.items(), *(pair for one in self.containers for pair in one.variables.items())]
        told = sorted(name for name, value in given if CREDENTIALS.search(value))
        if told:
            raise ValueError(
                f"variables: {', '.join(told)}: a URL with credentials would stay readable in the state and the "
                "record; name it in service.secrets, or in the container's own secrets"
            )
        return self
