"""Where the sandbox lives and listens: every directory, port and fixed name of it, in one place.

All ports move together by `POINTSMAN_SANDBOX_PORT_OFFSET`, so that two sandboxes can stand side by side;
a single one moves by its own variable (`POINTSMAN_SANDBOX_PREFECT_PORT=…`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

__all__ = [
    "ACCOUNT",
    "ADDRESSES",
    "ADMINISTRATOR",
    "CODE",
    "REGION",
    "ROLES",
    "SECRET_NAME",
    "STATE_BUCKET",
    "WORKER",
    "WORK_POOL",
    "Directories",
    "Ports",
    "Settings",
]

CODE = Path(__file__).resolve().parents[1]
"""The checkout that holds `flows`, `webhook` and `sandbox`: the parts' working directory."""

REGION = "ap-southeast-1"
ACCOUNT = "000000000000"
STATE_BUCKET = "cursive-team-connections-state"
SECRET_NAME = "cursive-team/connections/sandbox"
WORK_POOL = "pointsman"
ADDRESSES = ("127.0.0.1", "127.0.0.2")
"""The load balancer's addresses, one node behind each."""
ADMINISTRATOR, WORKER = "administrator", "release-worker"
"""Whom `POINTSMAN_SANDBOX_AUTH=1` tells apart: who provisions, and whose worker assumes the roles below."""
ROLES = {
    setting: f"arn:aws:iam::{ACCOUNT}:role/cursive-team-connections-{name}"
    for setting, name in (
        ("role_arn", "sandbox-pipeline"),
        ("reconciler_role_arn", "sandbox-reconciler"),
        ("operator_role_arn", "operator"),
    )
}
"""The settings that name a role, and the sandbox's role for each."""

_PREFIX = "POINTSMAN_SANDBOX_"
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Ports:
    """The TCP ports that the sandbox listens on, all on loopback (Postgres on Docker's bridge too)."""

    aws: int = 4566
    prefect: int = 4200
    postgres: int = 54329
    webhook: int = 4280
    production: int = 8080
    test_blue: int = 8081
    test_green: int = 8082

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Ports:
        """Return the defaults plus offset, or what `POINTSMAN_SANDBOX_<NAME>_PORT` says; ValueError if no port."""
        offset = _number(environ, f"{_PREFIX}PORT_OFFSET", 0)
        chosen: dict[str, int] = {}
        for field in fields(cls):
            variable = f"{_PREFIX}{field.name.upper()}_PORT"
            assert isinstance(field.default, int)
            port = _number(environ, variable, field.default + offset)
            if not 0 < port <= _HIGHEST_PORT:
                name = variable if variable in environ else f"{_PREFIX}PORT_OFFSET"
                raise ValueError(f"{name} gives port {port} for {field.name}: ports go from 1 to {_HIGHEST_PORT}.")
            chosen[field.name] = port
        return cls(**chosen)

    @classmethod
    def variables(cls) -> list[str]:
        """Return the environment variables that move ports."""
        return [f"{_PREFIX}PORT_OFFSET", *(f"{_PREFIX}{field.name.upper()}_PORT" for field in fields(cls))]


@dataclass(frozen=True)
class Directories:
    """The sandbox's directories, all below `.sandbox`; `reset` empties it."""

    home: Path

    @property
    def run(self) -> Path:
        """Pid files."""
        return self.home / "run"

    @property
    def ports(self) -> Path:
        """The ports of the last start."""
        return self.home / "ports.json"

    @property
    def logs(self) -> Path:
        """One log file a part."""
        return self.home / "logs"

    @property
    def postgres(self) -> Path:
        """Postgres' data directory, or a link to it where its user can't reach into the checkout."""
        return self.home / "postgres"

    @property
    def prefect(self) -> Path:
        """`PREFECT_HOME` of the server, the worker and every command run against the sandbox."""
        return self.home / "prefect"

    @property
    def aws(self) -> Path:
        """What the AWS emulator keeps on disk."""
        return self.home / "aws"

    @property
    def secrets(self) -> Path:
        """Passwords made for this sandbox, readable by their owner only."""
        return self.home / "secrets"


@dataclass(frozen=True)
class Settings:
    """All that the parts need to know about the sandbox they belong to."""

    root: Path
    ports: Ports
    bridge: str = "172.17.0.1"
    auth: bool = False

    @classmethod
    def load(cls, root: Path, environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of the sandbox whose `.sandbox` lies in `root`; ValueError names a wrong variable.

        Ports come from the variables; without any, they are those that this sandbox was last started with.
        """
        environ = os.environ if environ is None else environ
        root = root.resolve()
        chosen = any(name in environ for name in Ports.variables())
        ports = None if chosen else _remembered(Directories(root / ".sandbox").ports)
        return cls(
            root,
            ports or Ports.read(environ),
            environ.get(f"{_PREFIX}BRIDGE", cls.bridge),
            auth=environ.get(f"{_PREFIX}AUTH", "") not in ("", "0", "false"),
        )

    def recorded(self) -> Settings:
        """Return the same with the ports of the last start, whatever the variables say now."""
        return replace(self, ports=_remembered(self.directories.ports) or self.ports)

    def remember(self) -> None:
        """Keep the ports, so that a later command finds the sandbox without being told again."""
        self.directories.home.mkdir(parents=True, exist_ok=True)
        self.directories.ports.write_text(json.dumps(asdict(self.ports)) + "\n")

    @property
    def directories(self) -> Directories:
        """The sandbox's directories."""
        return Directories(self.root / ".sandbox")

    @property
    def aws_credentials(self) -> Path:
        """The shared credentials file of a sandbox that checks authorization."""
        return self.directories.secrets / "aws-credentials"

    @property
    def identity(self) -> str:
        """A short name of this sandbox that no other checkout on the machine has."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    @property
    def prefect_url(self) -> str:
        """Address of Prefect's server, without path."""
        return f"http://127.0.0.1:{self.ports.prefect}"

    @property
    def aws_url(self) -> str:
        """Address of the AWS emulator."""
        return f"http://127.0.0.1:{self.ports.aws}"

    @property
    def webhook_url(self) -> str:
        """Address of the webhook receiver, without path."""
        return f"http://127.0.0.1:{self.ports.webhook}"


def _remembered(path: Path) -> Ports | None:
    try:
        return Ports(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    written = environ.get(variable, "").strip()
    if not written:
        return default
    try:
        return int(written)
    except ValueError as error:
        raise ValueError(f"{variable} is {written!r}: a whole number is needed.") from error
