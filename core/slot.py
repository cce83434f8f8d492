"""A slot of an environment as a value: how AWS names what is in it.

The names are those of the root `slot`; the plan guard refuses a plan that would name anything otherwise, so the two
never part (docs/decisions/slot-names.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.colour import Colour
from core.record import Infrastructure
from core.settings import EnvironmentSettings

__all__ = ["MigrationTask", "Service", "Slot", "slot_of"]


@dataclass(frozen=True)
class _Logged:
    """A container whose lines go to CloudWatch Logs."""

    cluster: str
    """ARN of the cluster."""
    container: str
    family: str
    log_group: str
    log_prefix: str

    def log_stream(self, task_arn: str) -> str:
        """Return the log stream of a task's container.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html (awslogs-stream-prefix)
        """
        return f"{self.log_prefix}/{self.container}/{task_arn.rsplit('/', 1)[-1]}"


@dataclass(frozen=True)
class MigrationTask(_Logged):
    """The one-off task of a slot that reaches the database."""


@dataclass(frozen=True)
class Service(_Logged):
    """One ECS service of a slot, and the targets behind it."""

    name: str
    colour: Colour
    target_group: str
    """ARN of the target group."""


@dataclass(frozen=True)
class Slot:
    """One colour of an environment: the components of a release that run there, and the task that migrates."""

    colour: Colour
    services: tuple[Service, ...]
    migration: MigrationTask

    def __str__(self) -> str:
        return f"{self.colour} slot"

    @property
    def service(self) -> Service:
        """The service that the load balancer sends requests to."""
        return self.services[0]


def slot_of(settings: EnvironmentSettings, infrastructure: Infrastructure, colour: Colour) -> Slot:
    """Return an environment's slot of one colour."""
    cluster, family, log_group = (
        infrastructure.cluster_arn,
        f"{settings.cluster}-{colour}",
        infrastructure.log_group_name,
    )
    service = Service(
        cluster=cluster,
        container=settings.name,
        family=family,
        log_group=log_group,
        log_prefix=colour.value,
        name=settings.service_name(colour),
        colour=colour,
        target_group=infrastructure.target_group_arns[colour],
    )
    migration = MigrationTask(
        cluster=cluster,
        container=settings.name,
        family=f"{family}-migration",
        log_group=log_group,
        log_prefix=f"{colour}-migration",
    )
    return Slot(colour, (service,), migration)
