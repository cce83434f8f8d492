"""Secrets of Secrets Manager and parameters of SSM alike: what AWS says of one, and its value for who may read it."""

from __future__ import annotations

from core.preflight.secret import SecretSeen
from core.secret import SecretReference
from systems import parameters, secrets_manager
from systems.aws import AwsClients

__all__ = ["describe_source", "read_source"]


def describe_source(aws: AwsClients, reference: SecretReference) -> SecretSeen:
    """Return what is known of a reference's secret or parameter without reading it."""
    if reference.secret is not None:
        return secrets_manager.describe_secret(aws("secretsmanager"), reference.secret)
    return parameters.describe_parameter(aws("ssm"), str(reference.parameter))


def read_source(aws: AwsClients, reference: SecretReference) -> str:
    """Return the text of a reference's secret or parameter, to be judged in this process and shown to nobody."""
    if reference.secret is not None:
        return secrets_manager.read_value(aws("secretsmanager"), reference.secret)
    return parameters.read_parameter(aws("ssm"), str(reference.parameter))
