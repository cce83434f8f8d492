"""A docker client that is somebody at registries, without a file that says so.

Docker asks a credential helper for each registry that its configuration names one for; ours answers from the client's
own variables. https://docs.docker.com/reference/cli/docker/login/#credential-helpers
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Permanent

__all__ = ["RegistryLogin", "logged_in"]

_LOGINS = "POINTSMAN_REGISTRY_LOGINS"
_HELPER = "pointsman"
# What clients call Docker Hub: https://docs.docker.com/reference/cli/docker/login/
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_SCRIPT = f"""\
#!{sys.executable} -IS
import json, os, sys
found = json.loads(os.environ["{_LOGINS}"]).get(sys.stdin.read().strip()) if sys.argv[1:] == ["get"] else None
if found is None:
    print("credentials not found in native keychain")
    sys.exit(1)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class RegistryLogin:
    """Who somebody is at one registry, named by its host."""

    host: str
    username: str
    password: str = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """What a client may call the registry."""
        return _HUB if self.host in _HUB else (self.host,)


def logged_in(environment: Mapping[str, str], logins: Sequence[RegistryLogin], folder: Path) -> dict[str, str]:
    """Return a docker client's variables with these logins beside what its user's own configuration has.

    That configuration is linked to from `folder`, so that plugins, contexts and other registries stay as they are; only
    its `config.json` is a copy. Raises `Permanent` where it is not JSON.
    """
    if not logins:
        return dict(environment)
    own = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or Path.home()) / ".docker")
    used = folder / "config"
    used.mkdir(mode=0o700)
    if own.is_dir():
        for entry in own.iterdir():
            if entry.name != "config.json":
                (used / entry.name).symlink_to(entry.resolve())
    names = {name: login for login in logins for name in login.names}
    configuration = _read(own / "config.json")
    configuration["credHelpers"] = {**configuration.get("credHelpers", {}), **dict.fromkeys(names, _HELPER)}
    _write(used / "config.json", json.dumps(configuration), 0o600)
    _write(folder / f"docker-credential-{_HELPER}", _SCRIPT, 0o700)
    answers = {
        name: {"ServerURL": name, "Username": login.username, "Secret": login.password} for name, login in names.items()
    }
    return {
        **environment,
        "DOCKER_CONFIG": str(used),
        "PATH": f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}",
        _LOGINS: json.dumps(answers),
    }


def _read(file: Path) -> dict[str, Any]:
    text = "{}"
    with suppress(FileNotFoundError, NotADirectoryError):
        text = file.read_text()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Permanent(f"{file} is not JSON", why=str(error), do="Correct the worker's file.") from error
    return found if isinstance(found, dict) else {}


def _write(file: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as content:
        content.write(text)
