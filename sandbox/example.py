"""Another application in the sandbox: a repository, a database and an environment of its own beside the first's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker

from core.errors import Permanent, Refused
from sandbox import environment_file, postgres
from sandbox.base_image import NODE, PYTHON, ensure_base_image
from sandbox.environment import of_a_part
from sandbox.part import python
from sandbox.prefect_blocks import webhook_secret
from sandbox.repository import EXAMPLES, make_repository
from sandbox.seed import put_secret
from sandbox.settings import CODE, REGION, Ports, Settings

__all__ = ["Example", "add", "find_example"]

_BESIDE = 10
"""How far its load balancer's ports are above those of the first application."""


@dataclass(frozen=True)
class Example:
    """An application in `examples/` that brings an environment's file; its stage is the folder's name."""

    name: str

    @property
    def home(self) -> Path:
        """Its folder."""
        return EXAMPLES / self.name

    @property
    def secret(self) -> str:
        """The secret that holds its database's address."""
        return f"cursive-team/{self.name}/sandbox"

    def repository(self, settings: Settings) -> Path:
        """Return where its bare repository lies."""
        return settings.directories.home / "git" / f"{self.name}.git"

    def url(self, ports: Ports) -> str:
        """Return where its load balancer answers."""
        return f"http://127.0.0.1:{ports.production + _BESIDE}"


def find_example(name: str) -> Example:
    """Return an example by its name; raise `Refused`, naming those that there are."""
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/environment.toml"))
    if name not in known:
        raise Refused(f"There is no example {name!r} to add", do=f"Name one of {', '.join(known)}.")
    return Example(name)


def add(settings: Settings, example: Example, say: Callable[[str], None]) -> None:
    """Put an application into a sandbox that runs; what is there stays as it is."""
    _make_base_image(example)
    if not example.repository(settings).exists():
        make_repository(example.repository(settings), publish=["v1.0.0"], example=example.name)
    say(f"repository: {example.repository(settings)}, v1.0.0 is tagged")
    postgres.create_databases(settings, example.name)
    _keep_secret(settings, example)
    say(f"database: {example.name}, its address in the secret {example.secret}")
    _write_environment(settings, example)
    _run(settings, "blocks", "register", example.name)
    _run(settings, "flows", "deploy", example.name)
    say(f"environment: {example.name}; its load balancer will answer at {example.url(settings.ports)}")


def _make_base_image(example: Example) -> None:
    runtime, tag = (PYTHON, "python") if (example.home / "app" / "requirements.lock").exists() else (NODE, "node")
    client = docker.from_env()
    try:
        ensure_base_image(client, f"pointsman/{tag}:sandbox", runtime)
    finally:
        client.close()


def _keep_secret(settings: Settings, example: Example) -> None:
    import boto3

    secrets = boto3.client(
        "secretsmanager",
        endpoint_url=settings.aws_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    url = postgres.database_url(settings, example.name, host=settings.bridge)
    put_secret(secrets, example.secret, {"DATABASE_URL": url})


def _write_environment(settings: Settings, example: Example) -> None:
    ports = settings.ports
    values = {
        "endpoint_url": json.dumps(settings.aws_url),
        "url": json.dumps(str(example.repository(settings))),
        "production": str(ports.production + _BESIDE),
        "test_blue": str(ports.test_blue + _BESIDE),
        "test_green": str(ports.test_green + _BESIDE),
    }
    text = environment_file.with_values((example.home / "environment.toml").read_text(), values)
    (environment_file.folder(settings) / f"{example.name}.toml").write_text(text)


def _run(settings: Settings, *command: str) -> None:
    given = {
        "POINTSMAN_WEBHOOK_SECRET": webhook_secret(settings),
        "POINTSMAN_AWS_ACCESS_KEY_ID": "test",
        "POINTSMAN_AWS_SECRET_ACCESS_KEY": "test",
    }
    done = subprocess.run(
        python(*command),
        env={**of_a_part(settings, "example"), **given},
        cwd=CODE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Permanent(f"`python -m {' '.join(command)}` failed", why=said)
