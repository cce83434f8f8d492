"""What a root's state must hold by the record and AWS, and how Terraform imports it.

Import ids: https://registry.terraform.io/providers/hashicorp/aws/5.100.0/docs, each resource's section Import.
"""

from __future__ import annotations

from core.colour import Colour
from core.infrastructure import arn
from core.record import Infrastructure
from core.settings import EnvironmentSettings
from core.state_restoration import Known

__all__ = ["account_resources", "environment_resources", "slot_resources"]


def slot_resources(
    settings: EnvironmentSettings, colour: Colour, *, runs: str | None, migrates: str | None
) -> tuple[Known, ...]:
    """Return what a slot's state holds: `runs` is the definition that its service has, None where there is no service.

    `migrates` is the definition of the migration that was registered together with it, if a record says so.
    """
    name = settings.service_name(colour)
    service = arn(settings, "ecs", f"service/{settings.cluster}/{name}")
    known = [Known("aws_ecs_service.slot", service, f"{settings.cluster}/{name}", exists=runs is not None)]
    for address, definition in (("service", runs), ("migration", migrates)):
        if definition is not None:
            known.append(Known(f"aws_ecs_task_definition.{address}", definition, definition, replaceable=True))
    return tuple(known)


def environment_resources(settings: EnvironmentSettings, infrastructure: Infrastructure) -> tuple[Known, ...]:
    """Return what the record names of the root `environment`; whether it exists is AWS's to say."""
    production = "https" if settings.traffic.https else "http_forward"
    known = [
        Known("aws_ecs_cluster.main", infrastructure.cluster_arn, settings.cluster),
        _itself(f"aws_lb_listener.{production}[0]", infrastructure.production_listener_arn),
        *(_itself(f'aws_lb_listener.test["{c}"]', a) for c, a in infrastructure.test_listener_arns.items()),
        *(_itself(f'aws_lb_target_group.colour["{c}"]', a) for c, a in infrastructure.target_group_arns.items()),
        _itself("aws_security_group.tasks", infrastructure.task_security_group_id),
        Known("aws_cloudwatch_log_group.tasks", infrastructure.log_group_name, infrastructure.log_group_name),
    ]
    for zone, subnet in zip(_zones(settings), infrastructure.private_subnet_ids, strict=False):
        known.append(_itself(f'aws_subnet.private["{zone}"]', subnet))
    for address, role in (("execution", infrastructure.execution_role_arn), ("task", infrastructure.task_role_arn)):
        known.append(Known(f"aws_iam_role.{address}", role, role.rpartition("/")[2]))
    return tuple(known)


def account_resources(settings: EnvironmentSettings) -> tuple[Known, ...]:
    """Return what is known of the root `account`: the repository of the images."""
    repository = arn(settings, "ecr", f"repository/{settings.repository}")
    return (Known("aws_ecr_repository.application", repository, settings.repository),)


def _zones(settings: EnvironmentSettings) -> list[str]:
    """Return the zones in the order of the root's output, which is that of their names."""
    letters = settings.provision.environment.get("zone_letters")
    return [f"{settings.region}{letter}" for letter in (sorted(letters) if isinstance(letters, list) else "abc")]


def _itself(address: str, identity: str) -> Known:
    return Known(address, identity, identity)
