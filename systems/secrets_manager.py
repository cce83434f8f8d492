"""Secrets Manager: a secret without its value, and the value for those who may read it."""

from __future__ import annotations

from typing import Any

from core.errors import Permanent
from core.preflight.secret import SecretSeen
from systems.aws import aws_errors, has_code

__all__ = ["current_version", "describe_secret", "read_value"]


def describe_secret(secrets: Any, name: str) -> SecretSeen:
    """Return what is known of a secret without reading it.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html
    """
    try:
        with aws_errors(f"looking for the secret {name}"):
            found = secrets.describe_secret(SecretId=name)
    except Permanent as error:
        if has_code(error, "ResourceNotFoundException"):
            return SecretSeen(name, None)
        raise
    return SecretSeen(name, str(found["ARN"]), deleted=found.get("DeletedDate") is not None)


def current_version(secrets: Any, arn: str) -> str | None:
    """Return the id of the version that tasks are given now, without reading it; None where it has none.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html (VersionIdsToStages)
    """
    with aws_errors(f"looking at the versions of {arn}"):
        found = secrets.describe_secret(SecretId=arn).get("VersionIdsToStages") or {}
    return next((str(version) for version, stages in found.items() if "AWSCURRENT" in stages), None)


def read_value(secrets: Any, name: str) -> str:
    """Return a secret's text, to be judged in this process and shown to nobody."""
    with aws_errors(f"reading the secret {name}"):
        answer = secrets.get_secret_value(SecretId=name)
    return str(answer.get("SecretString", ""))
