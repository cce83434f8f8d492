"""What `provision` puts out for a person: each value with what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.settings import EnvironmentSettings

__all__ = ["Noted", "outputs_to_note"]


@dataclass(frozen=True)
class Noted:
    """An output to note, and what to do with it."""

    name: str
    value: str
    purpose: str


def outputs_to_note(settings: EnvironmentSettings, outputs: Mapping[str, Any]) -> list[Noted]:
    """Return what a person needs of the outputs of the roots `account` and `environment`."""
    host = settings.traffic.host or "the application's name"
    noted = [
        Noted("load balancer", str(outputs["alb_dns_name"]), f"DNS: a CNAME of {host} points at it"),
        Noted("image repository", str(outputs["ecr_repository_url"]), "where releases push, and docker pull by hand"),
    ]
    role = outputs.get("github_actions_role_arn")
    noted.append(
        Noted("workflow role", str(role), "GitHub: role-to-assume of workflows that push images; releases need none")
        if role
        else Noted("workflow role", "none", "GitHub: no workflow needs a role or a key of this account")
    )
    address = outputs.get("nat_gateway_ip")
    if address:
        noted.append(Noted("tasks' address", str(address), f"RDS: an inbound rule, PostgreSQL 5432 from {address}/32"))
    return noted
