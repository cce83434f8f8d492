"""The sandbox's own copy of `environments/`, with the ports and the repository of this very sandbox."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from core.errors import Permanent
from sandbox.settings import ACCOUNT, ADMINISTRATOR, CODE, ROLES, WORKER, Settings

__all__ = ["folder", "with_values", "write"]


def folder(settings: Settings) -> Path:
    """Return where this sandbox's environments stand; POINTSMAN_ENVIRONMENTS points there."""
    return settings.directories.home / "environments"


def write(settings: Settings) -> None:
    """Copy the checkout's environments, the sandbox's with what differs in this sandbox."""
    folder(settings).mkdir(parents=True, exist_ok=True)
    for path in (CODE / "environments").glob("*.toml"):
        shutil.copyfile(path, folder(settings) / path.name)
    ours = folder(settings) / "sandbox.toml"
    ports = settings.ports
    values = {
        "endpoint_url": json.dumps(settings.aws_url),
        "url": json.dumps(str(settings.directories.home / "git" / "connections.git")),
        "production": str(ports.production),
        "test_blue": str(ports.test_blue),
        "test_green": str(ports.test_green),
    }
    text = with_values(ours.read_text(), values)
    ours.write_text(_with_roles(text) if settings.auth else text)


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Return an environment's TOML with other values (as TOML writes them), by the name that a line begins with.

    Comments and order stay. Raises `Permanent` for a name that does not begin exactly one line.
    """
    for name, value in values.items():
        line = f"{name} = {value}".replace("\\", r"\\")
        text, times = re.subn(rf"^{re.escape(name)} = .*$", line, text, flags=re.MULTILINE)
        if times != 1:
            raise Permanent(f"The setting {name} is on {times} lines of the environment's file, and not on one")
    return text


def _with_roles(text: str) -> str:
    """Let each flow act as its role, which the worker may assume, and an administrator provision."""
    roles = "".join(f'{setting} = "{arn}"\n' for setting, arn in ROLES.items())
    acting = f'[aws]\nprofile = "{WORKER}"\nprovision_profile = "{ADMINISTRATOR}"\n{roles}'
    values = {
        # A call may have to renew the role's session first, and a lease outlasts the longest call.
        "lease_expiry": "24",
        "pipeline_principal_arns": json.dumps([f"arn:aws:iam::{ACCOUNT}:user/{WORKER}"]),
    }
    return with_values(text.replace("[aws]\n", acting, 1), values)
