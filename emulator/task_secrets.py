"""The values of a container's secrets, as ECS takes them when a task starts: of the version and key that are named.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

from __future__ import annotations

import json
from typing import Any

from emulator.upstream import ecs, replace, secretsmanager, ssm

__all__ = ["install_secrets"]

_OF_AN_ARN = 7


def install_secrets() -> None:
    """Put it in the place of MiniStack's, which reads the newest version whatever is named, and no SecureString."""
    replace(ecs, "_resolve_container_secrets", _resolve)


def _resolve(cdef: dict[str, Any]) -> dict[str, str]:
    return {secret["name"]: _value(secret["name"], secret["valueFrom"]) for secret in cdef.get("secrets", ())}


def _value(name: str, value_from: str) -> str:
    parts = value_from.split(":")
    if parts[2:3] != ["secretsmanager"]:
        value = ssm.resolve_parameter_value(value_from, decrypt=True)
        if value is None:
            raise ecs._SecretResolutionError(f"invalid ssm parameters: {value_from} for environment variable {name}")
        return str(value)
    key, stage, version = (*parts[_OF_AN_ARN:], "", "", "")[:3]
    arn = ":".join(parts[:_OF_AN_ARN])
    value = secretsmanager.resolve_secret_string(arn, stage or "AWSCURRENT", version or None)
    if value is None:
        raise ecs._SecretResolutionError(
            f"unable to retrieve secret from asm: {value_from} for environment variable {name}: "
            "ResourceNotFoundException"
        )
    if not key:
        return str(value)
    try:
        return str(json.loads(value)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise ecs._SecretResolutionError(
            f"retrieved secret from Secrets Manager did not contain json key {key}: {value_from}"
        ) from error
