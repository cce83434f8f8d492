"""`python -m sandbox.machine up|down`: the containers of `compose.yaml`, releasing to a sandbox's emulated AWS.

Docker, Postgres (the application's) and AWS are the sandbox's; Prefect's server, its database, worker, reconciler,
receiver and proxy are those of the machine, built and started by `scripts/machine` as on any other.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import docker
import httpx

from core.errors import Permanent, PointsmanError
from sandbox import environment_file, github
from sandbox.application import repository
from sandbox.aws import Emulator
from sandbox.docker_engine import DockerEngine, socket_path
from sandbox.kept_secrets import prefect_auth
from sandbox.machine_images import BASE, POSTGRES, PROXY, TERRAFORM, ensure_images
from sandbox.parts import Sandbox
from sandbox.postgres import Postgres
from sandbox.settings import CODE, REGION

__all__ = ["Machine", "main"]

PARTS = ("db", "server", "worker", "reconciler", "receiver", "proxy")
_LOWER = (DockerEngine, Postgres, Emulator)
_COMPOSE_FILES = "compose.yaml:sandbox/machine.compose.yaml"

Say = Callable[[str], None]


class Machine:
    """The machine that releases, on top of one sandbox's Docker, Postgres and AWS."""

    def __init__(self, say: Say = lambda _line: None, root: Path = CODE) -> None:
        self._say = say
        self.sandbox = Sandbox(root, say=say, parts=_LOWER)
        self.folder = self.sandbox.settings.directories.home / "machine"

    # --- starting and ending

    def up(self) -> None:
        """Start everything; nothing is begun again that runs."""
        self.sandbox.up()
        client = docker.from_env(timeout=600)
        try:
            ensure_images(client)
        finally:
            client.close()
        self._write_settings()
        self.script("up")

    def down(self) -> None:
        """End the containers and delete their data, then the sandbox."""
        if (self.folder / "env").exists():
            self.sandbox.start("docker")
            self.compose("down", "--volumes", "--timeout", "15")
        self.sandbox.down()

    def reset(self) -> None:
        """Start from nothing."""
        self.down()
        self.sandbox.reset()
        self.up()

    def _write_settings(self) -> None:
        settings, secrets = self.sandbox.settings, self.folder / "secrets"
        secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        gitconfig = self.folder / "gitconfig"
        # The folder belongs to another user than the worker's.
        gitconfig.write_text("[safe]\n\tdirectory = *\n")
        offset = settings.ports.prefect - type(settings.ports).prefect
        values = {
            "POINTSMAN_PROJECT": self.project,
            "POINTSMAN_IMAGE": "pointsman/machine:sandbox",
            "POINTSMAN_BASE_IMAGE": BASE,
            "POINTSMAN_TERRAFORM_IMAGE": TERRAFORM,
            "POINTSMAN_POSTGRES_IMAGE": POSTGRES,
            "POINTSMAN_PROXY_IMAGE": PROXY,
            "POINTSMAN_ENVIRONMENT": "sandbox",
            "POINTSMAN_ENVIRONMENTS_FOLDER": environment_file.folder(settings),
            "POINTSMAN_HOST": "localhost",
            "POINTSMAN_TLS": "internal",
            "POINTSMAN_HTTPS_ADDRESS": "127.0.0.1",
            "POINTSMAN_HTTPS_PORT": self.https_port,
            "POINTSMAN_PREFECT_PORT": settings.ports.prefect,
            "POINTSMAN_WORKER_PORT": 4282 + offset,
            "POINTSMAN_DOCKER_SOCKET": socket_path(),
            "POINTSMAN_SECRETS_FOLDER": secrets,
            "POINTSMAN_BACKUPS_FOLDER": self.folder / "backups",
            "SANDBOX_AWS_URL": settings.aws_url,
            "SANDBOX_REGION": REGION,
            "SANDBOX_REPOSITORY": repository(settings),
            "SANDBOX_GIT_CONFIGURATION": gitconfig,
        }
        (self.folder / "env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        for name, secret in (
            ("prefect-auth", prefect_auth(settings)),
            ("webhook-secrets", self.sandbox.webhook_secret()),
        ):
            (secrets / name).write_text(secret + "\n")
        # As `scripts/machine init` does for any checkout, the first time and each time.
        self.script("init")

    # --- its addresses

    @property
    def project(self) -> str:
        """The compose project's name, which begins those of its containers."""
        return f"pointsman-{self.sandbox.settings.identity}"

    @property
    def https_port(self) -> int:
        """The proxy's port on loopback."""
        return self.sandbox.settings.ports.webhook + 1

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"https://localhost:{self.https_port}"

    def trust(self) -> ssl.SSLContext:
        """Return what trusts the proxy's own authority, which signs for the name `localhost`."""
        root = self.compose("exec", "-T", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
        return ssl.create_default_context(cadata=root)

    def ask(self, path: str, **options: object) -> httpx.Response:
        """Ask the proxy."""
        with httpx.Client(base_url=self.url, verify=self.trust(), trust_env=False, timeout=15) as client:
            return client.get(path, **options)  # type: ignore[arg-type]

    def deliver(self, tag: str, commit: str, *, repository: str) -> str:
        """Deliver a tag's webhook by way of the proxy; return the id of the run that it made."""
        answer = github.deliver(
            f"{self.url}/webhooks/github",
            self.sandbox.webhook_secret(),
            repository=repository,
            tag=tag,
            commit=commit,
            trust=self.trust(),
        )
        if answer.status_code != 202:
            raise Permanent(f"The webhook answered {answer.status_code}", why=answer.text)
        return str(answer.json()["flow_run_id"])

    # --- its containers

    def script(self, *arguments: str) -> str:
        """Run `scripts/machine`; return what it printed, and raise `Permanent` with it if it fails."""
        return self._run([str(CODE / "scripts" / "machine"), *arguments])

    def compose(self, *arguments: str) -> str:
        """Run `docker compose` as `scripts/machine` does."""
        return self.script("compose", *arguments)

    def container(self, part: str) -> str:
        """Return the id of a part's container."""
        return self.compose("ps", "--all", "--quiet", part).strip()

    def environment(self) -> dict[str, str]:
        """Return the variables under which `scripts/machine` works on this machine."""
        return {
            **os.environ,
            "POINTSMAN_MACHINE_SETTINGS": str(self.folder / "env"),
            "COMPOSE_FILE": _COMPOSE_FILES,
        }

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            env=self.environment(),
            cwd=CODE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stderr.splitlines():
            if line.startswith("machine: "):
                self._say(line.removeprefix("machine: "))
        if done.returncode != 0:
            raise Permanent(f"{' '.join(command[1:])} failed", why=(done.stderr or done.stdout).strip()[-2_000:])
        return done.stdout


def main() -> int:
    """Start or end the machine; return 0 if it is so."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.machine", description="The machine that releases.")
    parser.add_argument("command", choices=("up", "down", "reset"))
    asked = parser.parse_args()
    began = time.monotonic()
    machine = Machine(lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True))
    try:
        getattr(machine, asked.command)()
    except (PointsmanError, OSError) as problem:
        print(f"machine: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
