"""Parameters of SSM's Parameter Store: one without its value, and the value for those who may read it."""

from __future__ import annotations

from typing import Any

from core.preflight.secret import SecretSeen
from systems.aws import aws_errors

__all__ = ["describe_parameter", "read_parameter"]


def describe_parameter(ssm: Any, name: str) -> SecretSeen:
    """Return what is known of a parameter, by its name or ARN, without reading it.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html
    """
    wanted = name.partition(":parameter")[2] if name.startswith("arn:") else name
    with aws_errors(f"looking for the parameter {name}"):
        # The ARN of a parameter whose name is no path does not show that: it has a slash all the same.
        filters = [{"Key": "Name", "Option": "Equals", "Values": list(dict.fromkeys([wanted, wanted.lstrip("/")]))}]
        found = ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
    arn = next((str(one["ARN"]) for one in found if one.get("ARN") and name in (one["Name"], one["ARN"])), None)
    return SecretSeen(f"parameter {name}", arn)


def read_parameter(ssm: Any, name: str) -> str:
    """Return a parameter's text, to be judged in this process and shown to nobody."""
    with aws_errors(f"reading the parameter {name}"):
        answer = ssm.get_parameter(Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"])
