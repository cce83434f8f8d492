"""What a slot looks like in Terraform's words: the one table that a plan is held against.

Expected values come from the settings and the release; of what `provision` recorded only what the settings can't tell,
and that is checked against them first (`core/infrastructure.py`). Whatever the table does not name must be unset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.colour import Colour
from core.container import Container, PinnedSidecar, Volume, container_shape
from core.infrastructure import arn, role_arn
from core.record import Infrastructure
from core.release import Release
from core.settings import EnvironmentSettings
from core.shape import Computed, JsonText, Kept, Named, OneOf, Set, Text, Whole

__all__ = ["MIGRATION", "SERVICE", "TASKS", "SlotPlan"]

SERVICE = "aws_ecs_service.slot"
TASKS = "aws_ecs_task_definition.service"
MIGRATION = "aws_ecs_task_definition.migration"

_LINKED_ROLE = Text(
    r"(arn:aws[a-z-]*:iam::\d{12}:role)?/?aws-service-role(/ecs\.amazonaws\.com/AWSServiceRoleForECS)?",
    "ECS's own service-linked role",
)


@dataclass(frozen=True)
class SlotPlan:
    """What the plan of a slot must be about."""

    settings: EnvironmentSettings
    infrastructure: Infrastructure
    colour: Colour
    release: Release

    @property
    def import_id(self) -> str:
        """How Terraform names the slot's service when it takes it into the state."""
        return f"{self.settings.cluster}/{self.settings.service_name(self.colour)}"

    @property
    def resources(self) -> dict[str, Any]:
        """Each resource of a slot by its address, as it must look after the apply."""
        tasks, migration = self._service_container(), self._migration_container()
        return {
            SERVICE: self._service(),
            TASKS: self._definition(
                self._family,
                # The provider puts containers in the order of their names, whatever order they are given in.
                sorted(
                    [tasks, *map(self._sidecar, self.release.configuration.containers)], key=lambda one: one["name"]
                ),
                volumes=[_volume(name, one) for name, one in sorted(self.release.configuration.volumes.items())],
            ),
            MIGRATION: self._definition(f"{self._family}-migration", [migration]),
        }

    @property
    def outputs(self) -> dict[str, Any]:
        """Each output of the slot's root by its name."""
        return {
            "service_name": self.settings.service_name(self.colour),
            "service_arn": Computed(self._service_arn),
            "cluster_arn": self._cluster_arn,
            "task_definition_arn": Computed(self._revision_of(self._family)),
            "migration_task_definition_arn": Computed(self._revision_of(f"{self._family}-migration")),
        }

    def _service(self) -> dict[str, Any]:
        return {
            "id": Computed(self._service_arn),
            "name": self.settings.service_name(self.colour),
            "cluster": self._cluster_arn,
            "task_definition": Computed(self._revision_of(self._family)),
            "desired_count": Kept(0),
            "launch_type": "FARGATE",
            "platform_version": Computed(OneOf("LATEST", "1.4.0", None)),
            "scheduling_strategy": "REPLICA",
            "availability_zone_rebalancing": OneOf("DISABLED", None),
            "propagate_tags": "TASK_DEFINITION",
            "enable_ecs_managed_tags": True,
            "iam_role": Computed(OneOf(_LINKED_ROLE, None)),
            "triggers": Computed(None),
            "deployment_controller": [{"type": "ECS"}],
            "deployment_circuit_breaker": [{"enable": True, "rollback": False}],
            "deployment_minimum_healthy_percent": 100,
            "deployment_maximum_percent": 200,
            "health_check_grace_period_seconds": self.settings.service.grace_period,
            "network_configuration": [
                {
                    "subnets": Set(self.infrastructure.private_subnet_ids),
                    "security_groups": [self.infrastructure.task_security_group_id],
                    "assign_public_ip": False,
                }
            ],
            "load_balancer": [
                {
                    "target_group_arn": self.infrastructure.target_group_arns[self.colour],
                    "container_name": self.settings.name,
                    "container_port": self.release.configuration.container_port,
                }
            ],
            "tags_all": self._tags,
        }

    def _definition(self, family: str, containers: list[dict[str, Any]], volumes: Any = None) -> dict[str, Any]:
        configuration = self.release.configuration
        storage = configuration.ephemeral_storage
        return {
            "id": Computed(family),
            "family": family,
            "arn": Computed(self._revision_of(family)),
            "arn_without_revision": Computed(arn(self.settings, "ecs", f"task-definition/{family}")),
            "revision": Computed(Whole()),
            "container_definitions": JsonText(containers),
            "cpu": str(configuration.cpu),
            "memory": str(configuration.memory),
            "ephemeral_storage": [{"size_in_gib": storage}] if storage else [],
            "volume": volumes,
            "network_mode": "awsvpc",
            "requires_compatibilities": ["FARGATE"],
            "runtime_platform": [
                {"operating_system_family": "LINUX", "cpu_architecture": configuration.cpu_architecture}
            ],
            "execution_role_arn": role_arn(self.settings, "execution"),
            "task_role_arn": role_arn(self.settings, "task"),
            "enable_fault_injection": Computed(False),
            "skip_destroy": True,
            "tags": self.settings.tags or OneOf({}, None),
            "tags_all": {**self.settings.tags, **self._tags},
        }

    def _service_container(self) -> dict[str, Any]:
        configuration = self.release.configuration
        ports = (configuration.container_port, *configuration.container.extra_ports)
        return {
            **self._container(self.colour.value),
            **container_shape(configuration.container),
            "portMappings": _mappings(ports),
        }

    def _sidecar(self, sidecar: PinnedSidecar) -> dict[str, Any]:
        return {
            **container_shape(sidecar),
            "name": sidecar.name,
            "image": sidecar.pinned_image,
            "essential": sidecar.essential,
            "cpu": OneOf(0, None),
            "environment": Named("name", "value", sidecar.variables),
            "secrets": Named("name", "valueFrom", sidecar.secrets),
            "portMappings": _mappings(sidecar.extra_ports),
            "logConfiguration": self._log(self.colour.value),
        }

    def _migration_container(self) -> dict[str, Any]:
        migration = self.settings.migration
        return {
            **self._container(f"{self.colour}-migration"),
            "secrets": Named("name", "valueFrom", self._migration_secrets),
            **container_shape(Container(user=self.release.configuration.container.user)),
            "command": migration.command,
            "entryPoint": migration.entry_point,
        }

    def _container(self, log_prefix: str) -> dict[str, Any]:
        release = self.release
        identity = {
            "POINTSMAN_VERSION": release.version,
            "POINTSMAN_REVISION": release.revision,
            "POINTSMAN_COLOUR": self.colour.value,
        }
        return {
            "name": self.settings.name,
            "image": release.image,
            "essential": True,
            "cpu": OneOf(0, None),  # ECS answers 0 where nothing was asked for
            "environment": Named("name", "value", {**release.configuration.variables, **identity}),
            "secrets": Named("name", "valueFrom", release.configuration.secrets),
            "logConfiguration": self._log(log_prefix),
        }

    def _log(self, prefix: str) -> dict[str, Any]:
        return {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": self.settings.cluster,
                "awslogs-region": self.settings.region,
                "awslogs-stream-prefix": prefix,
            },
        }

    @property
    def _migration_secrets(self) -> dict[str, str]:
        configuration = self.release.configuration
        own = configuration.migration_secrets
        return configuration.secrets if own is None else own

    @property
    def _family(self) -> str:
        return f"{self.settings.cluster}-{self.colour}"

    @property
    def _cluster_arn(self) -> str:
        return arn(self.settings, "ecs", f"cluster/{self.settings.cluster}")

    @property
    def _service_arn(self) -> str:
        return arn(self.settings, "ecs", f"service/{self.import_id}")

    @property
    def _tags(self) -> dict[str, str]:
        settings = self.settings
        return {
            "Namespace": settings.namespace,
            "Application": settings.name,
            "Stage": settings.stage,
            "ManagedBy": "terraform/slot",
        }

    def _revision_of(self, family: str) -> Text:
        start = arn(self.settings, "ecs", f"task-definition/{family}:")
        return Text(re.escape(start) + r"[1-9]\d*", f"{start}…")


def _volume(name: str, volume: Volume) -> dict[str, Any]:
    return {
        "name": name,
        "configure_at_launch": Computed(OneOf(False, None)),
        "efs_volume_configuration": [
            {
                "file_system_id": volume.file_system,
                "root_directory": volume.root_directory,
                "transit_encryption": "ENABLED",
                "transit_encryption_port": OneOf(0, None),
                "authorization_config": [
                    {
                        "access_point_id": volume.access_point,
                        "iam": "ENABLED" if volume.iam else OneOf("DISABLED", None),
                    }
                ]
                if volume.iam or volume.access_point
                else [],
            }
        ],
    }


def _mappings(ports: Iterable[int]) -> list[dict[str, Any]]:
    return [{"containerPort": port, "hostPort": port, "protocol": "tcp"} for port in ports]
