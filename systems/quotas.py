"""Service Quotas, to read: how much of a thing a region gives an account."""

from __future__ import annotations

from typing import Any

from systems.aws import aws_errors

__all__ = ["QUOTAS", "read_quota"]

QUOTAS = {
    "Fargate vCPUs": ("fargate", "L-3032A538"),
    "VPCs": ("vpc", "L-F678F1CE"),
    "elastic addresses": ("ec2", "L-0263D0A3"),
    "application load balancers": ("elasticloadbalancing", "L-53DA6B97"),
}
"""What an environment needs, with service and code of its quota."""


def read_quota(quotas: Any, service: str, code: str) -> float:
    """Return a quota's value in the client's region.

    https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
    """
    with aws_errors(f"reading the quota {code}"):
        return float(quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])
