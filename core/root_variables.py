"""What the Terraform roots are given: settings, record and the outputs of the root below in, variables out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.colour import Colour, Weights
from core.container import repository_of
from core.record import EnvironmentRecord, Infrastructure
from core.release import Release
from core.secret import is_arn
from core.settings import EnvironmentSettings

__all__ = ["account_variables", "environment_variables", "initial_weights", "slot_variables"]


def account_variables(settings: EnvironmentSettings) -> dict[str, Any]:
    """Return the variables of the root `account`."""
    return {**_common(settings), "state_bucket": settings.state_bucket, **settings.provision.account}


def environment_variables(
    settings: EnvironmentSettings, record: EnvironmentRecord, account: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the variables of the root `environment`; `account` is what that root put out."""
    pipeline = account.get("pipeline_role_arns", {}).get(settings.stage)
    reconciler = account.get("reconciler_role_arns", {}).get(settings.stage)
    return {
        **_common(settings),
        "stage": settings.stage,
        "health_check_path": settings.service.health_check_path,
        "health_check_matcher": settings.service.health_check_matcher,
        "production_listener_port": settings.ports.production,
        "test_listener_ports": {c.value: settings.ports.test(c) for c in Colour},
        "listener_weights": initial_weights(record).model_dump(),
        "pipeline_role_name": pipeline and pipeline.rpartition("/")[2],
        "reconciler_role_name": reconciler and reconciler.rpartition("/")[2],
        "permissions_boundary_arn": account.get("task_permissions_boundary_arn"),
        **_rights_of_tasks(settings),
        "build_secret_names": list(settings.image.build_secret_names),
        "base_image_repositories": sorted({*settings.image.base_repositories, *_sidecars_of_our_registry(settings)}),
        **settings.provision.environment,
    }


def slot_variables(
    settings: EnvironmentSettings, infrastructure: Infrastructure, colour: Colour, release: Release
) -> dict[str, Any]:
    """Return the slot root's variables for one release in one colour."""
    configuration = release.configuration
    return {
        "region": settings.region,
        "aws_account_number": settings.aws_account_number,
        "namespace": settings.namespace,
        "name": settings.name,
        "stage": settings.stage,
        "colour": colour.value,
        "image": release.image,
        "release_version": release.version,
        "release_revision": release.revision,
        "container_port": configuration.container_port,
        "cpu": configuration.cpu,
        "memory": configuration.memory,
        "ephemeral_storage": configuration.ephemeral_storage,
        "container": configuration.container.model_dump(mode="json"),
        "volumes": {name: volume.model_dump(mode="json") for name, volume in configuration.volumes.items()},
        "sidecars": [
            {**sidecar.model_dump(mode="json", exclude={"digest"}), "image": sidecar.pinned_image}
            for sidecar in configuration.containers
        ],
        "cpu_architecture": configuration.cpu_architecture,
        "cluster_arn": infrastructure.cluster_arn,
        "subnet_ids": list(infrastructure.private_subnet_ids),
        "security_group_id": infrastructure.task_security_group_id,
        "target_group_arn": infrastructure.target_group_arns[colour],
        "execution_role_arn": infrastructure.execution_role_arn,
        "task_role_arn": infrastructure.task_role_arn,
        "log_group_name": infrastructure.log_group_name,
        "environment_variables": configuration.variables,
        "secrets": configuration.secrets,
        "migration_secrets": configuration.migration_secrets,
        "migration_command": settings.migration.command,
        "migration_entry_point": settings.migration.entry_point,
        "health_check_grace_period_seconds": settings.service.grace_period,
        "tags": settings.tags,
    }


def _rights_of_tasks(settings: EnvironmentSettings) -> dict[str, Any]:
    """Return what the root `environment` must know of what tasks read and pull, to give their roles exactly that."""
    secrets = {r.secret for r in settings.secret_references if r.secret is not None}
    return {
        "secret_names": sorted(name for name in secrets if not is_arn(name)),
        "secret_arns": sorted(filter(is_arn, secrets)),
        "parameter_names": sorted({r.parameter for r in settings.secret_references if r.parameter is not None}),
        "task_policy_arns": sorted(settings.service.task_policies),
        "sidecar_repositories": sorted({repository_of(one.image) for one in settings.service.containers}),
        "secret_key_arns": sorted(settings.service.secret_keys),
    }


def _sidecars_of_our_registry(settings: EnvironmentSettings) -> set[str]:
    """Return the repositories, in this account's own registry, whose tags a release pins to their digests."""
    registry = f"{settings.aws_account_number}.dkr.ecr.{settings.region}.amazonaws.com"
    repositories = (repository_of(one.image) for one in settings.service.containers)
    return {name for host, _, name in (r.partition("/") for r in repositories) if host.removesuffix(".cn") == registry}


def initial_weights(record: EnvironmentRecord) -> Weights:
    """Return the weights that a new listener starts with: the live colour's; before any, blue is the empty one."""
    return Weights.all_on(record.live.colour if record.live else Colour.GREEN)


def _common(settings: EnvironmentSettings) -> dict[str, Any]:
    return {
        "region": settings.region,
        "aws_account_number": settings.aws_account_number,
        "namespace": settings.namespace,
        "name": settings.name,
    }
