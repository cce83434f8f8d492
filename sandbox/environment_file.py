"""The sandbox's own copy of `environments/`, with the ports and the repository of this very sandbox."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sandbox.settings import CODE, Settings

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
    ours.write_text(text)
