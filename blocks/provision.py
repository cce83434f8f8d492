"""What [provision.*] sets, checked against the variables that the Terraform roots declare."""

from __future__ import annotations

import re
from pathlib import Path

from blocks.environment import PROJECT
from core.provision_variables import SET_BY_US, refuse_unknown_variables
from core.settings import EnvironmentSettings

__all__ = ["check_provision", "declared_variables"]

_VARIABLE = re.compile(r'^[ \t]*variable[ \t]+"?([A-Za-z_][\w-]*)"?[ \t]*\{', re.MULTILINE)


def declared_variables(root: Path) -> set[str]:
    """Return the names of the variables that a Terraform root declares."""
    return {name for file in root.glob("*.tf") for name in _VARIABLE.findall(file.read_text())}


def check_provision(settings: EnvironmentSettings) -> None:
    """Raise `Refused` if a name in [provision.*] is unknown to its root, or the release sets it."""
    given = {"account": settings.provision.account, "environment": settings.provision.environment}
    known = {root: declared_variables(PROJECT / "terraform" / root) for root in SET_BY_US}
    refuse_unknown_variables(settings.stage, given, known)
