"""The sandbox's own copy of `environments/`, with the ports and the repository of this very sandbox."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sandbox.settings import ACCOUNT, ADMINISTRATOR, CODE, WORKER, Settings

__all__ = ["folder", "write"]


def folder(settings: Settings) -> Path:
    """Where this sandbox's environments stand; POINTSMAN_ENVIRONMENTS points there."""
    return settings.directories.home / "environments"


def write(settings: Settings) -> None:
    """Copy the checkout's environments, the sandbox's with what differs in this sandbox."""
    folder(settings).mkdir(parents=True, exist_ok=True)
    for path in (CODE / "environments").glob("*.toml"):
        shutil.copyfile(path, folder(settings) / path.name)
    ours = folder(settings) / "sandbox.toml"
    text = ours.read_text()
    ports = settings.ports
    for name, value in (
        ("endpoint_url", f'"{settings.aws_url}"'),
        ("url", f'"{settings.directories.home / "git" / "connections.git"}"'),
        ("production", str(ports.production)),
        ("test_blue", str(ports.test_blue)),
        ("test_green", str(ports.test_green)),
    ):
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    ours.write_text(_with_roles(text) if settings.auth else text)


def _with_roles(text: str) -> str:
    """Releases act as the pipeline's role, which the worker may assume; an administrator provisions."""
    role = f"arn:aws:iam::{ACCOUNT}:role/cursive-team-connections-sandbox-pipeline"
    acting = f'[aws]\nprofile = "{WORKER}"\nprovision_profile = "{ADMINISTRATOR}"\nrole_arn = "{role}"\n'
    principals = f'pipeline_principal_arns = ["arn:aws:iam::{ACCOUNT}:user/{WORKER}"]'
    text = re.sub(r"^\[aws\]\n", acting, text, flags=re.MULTILINE)
    # A call may have to renew the role's session first, and a lease outlasts the longest call.
    text = re.sub(r"^lease_expiry = .*$", "lease_expiry = 24", text, flags=re.MULTILINE)
    return re.sub(r"^pipeline_principal_arns = .*$", principals, text, flags=re.MULTILINE)
