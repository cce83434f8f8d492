"""What `provision` recorded, held against the settings: a record that somebody changed leads nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.errors import Refused
from core.record import Infrastructure
from core.secret import is_arn
from core.settings import EnvironmentSettings
from core.shape import Text, differences

__all__ = ["arn", "is_from_own_repository", "refuse_foreign_infrastructure", "role_arn"]

_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b"}
_ID = "[0-9a-z]+"


def arn(settings: EnvironmentSettings, service: str, resource: str) -> str:
    """Return the ARN of an environment's resource in its region and account."""
    scope = f"{settings.region}:{settings.aws_account_number}"
    return f"arn:{_partition(settings)}:{service}:{scope}:{resource}"


def role_arn(settings: EnvironmentSettings, name: str) -> str:
    """Return the ARN of one of the environment's roles: `execution` or `task`."""
    return f"arn:{_partition(settings)}:iam::{settings.aws_account_number}:role/{settings.cluster}-{name}"


def is_from_own_repository(image: str, infrastructure: Infrastructure, settings: EnvironmentSettings) -> bool:
    """Whether an image (`repository@digest`) is in the recorded registry, in one of the environment's repositories."""
    registry = infrastructure.ecr_repository_url.partition("/")[0]
    return image.partition("@")[0] in {f"{registry}/{repository}" for repository in settings.repositories}


def refuse_foreign_infrastructure(infrastructure: Infrastructure, settings: EnvironmentSettings) -> None:
    """Raise `Refused` naming whatever is not in the settings' account and region, or not named after them."""
    faults: list[str] = []
    for name, value, pattern in _expected(infrastructure, settings):
        if differences(name, value, pattern):
            faults.append(f"{name} is {value!r}, not {pattern.says if isinstance(pattern, Text) else pattern}")
    if faults:
        raise Refused(
            f"The record of {settings.stage} names infrastructure that is not its own",
            why="; ".join(faults),
            do=f"Run `prefect deployment run provision/{settings.stage}`, and find out who changed the record.",
        )


def _expected(infrastructure: Infrastructure, settings: EnvironmentSettings) -> Iterator[tuple[str, object, object]]:
    """Yield each recorded value by its name with what it must be."""
    short = f"{settings.name}-{settings.stage}"
    listener = _arns(settings, "elasticloadbalancing", f"listener/app/{short}/", f"{_ID}/{_ID}")
    yield "ecr_repository_url", infrastructure.ecr_repository_url, _registry(settings)
    yield "production_listener_arn", infrastructure.production_listener_arn, listener
    if infrastructure.http_forward_listener_arn is not None:
        yield "http_forward_listener_arn", infrastructure.http_forward_listener_arn, listener
    for colour, value in infrastructure.test_listener_arns.items():
        yield f"test_listener_arns.{colour}", value, listener
    for colour, value in infrastructure.target_group_arns.items():
        group = _arns(settings, "elasticloadbalancing", f"targetgroup/{short}-{colour}/", _ID)
        yield f"target_group_arns.{colour}", value, group
    yield "cluster_arn", infrastructure.cluster_arn, arn(settings, "ecs", f"cluster/{settings.cluster}")
    for place, subnet in enumerate(infrastructure.private_subnet_ids):
        yield f"private_subnet_ids[{place}]", subnet, Text(f"subnet-{_ID}", "the id of a subnet")
    group_id = Text(f"sg-{_ID}", "the id of a security group")
    yield "task_security_group_id", infrastructure.task_security_group_id, group_id
    yield "execution_role_arn", infrastructure.execution_role_arn, role_arn(settings, "execution")
    yield "task_role_arn", infrastructure.task_role_arn, role_arn(settings, "task")
    yield "log_group_name", infrastructure.log_group_name, settings.cluster
    for secret, value in infrastructure.secret_arns.items():
        own = _arns(settings, "secretsmanager", f"secret:{secret}-", "[0-9A-Za-z]{6}")
        yield f"secret_arns.{secret}", value, secret if is_arn(secret) else own
    for name, value in infrastructure.parameter_arns.items():
        named = arn(settings, "ssm", f"parameter/{name.removeprefix('/')}")
        yield f"parameter_arns.{name}", value, name if is_arn(name) else named


def _partition(settings: EnvironmentSettings) -> str:
    return next((named for start, named in _PARTITIONS.items() if settings.region.startswith(start)), "aws")


def _arns(settings: EnvironmentSettings, service: str, resource: str, rest: str) -> Text:
    start = arn(settings, service, resource)
    return Text(re.escape(start) + rest, f"{start}…")


def _registry(settings: EnvironmentSettings) -> Text:
    """Return what the repository's address must be; an emulated registry has a host of its own."""
    one_of = "|".join(re.escape(repository) for repository in settings.repositories)
    if settings.aws.endpoint_url:
        return Text(rf"[^/@\s]+/({one_of})", f"…/{settings.repository}")
    host = f"{settings.aws_account_number}.dkr.ecr.{settings.region}.amazonaws.com"
    return Text(re.escape(host) + rf"(\.cn)?/({one_of})", f"{host}/{settings.repository}")
