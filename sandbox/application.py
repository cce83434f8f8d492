"""What the sandbox releases: the base image, the sample application's git repository, and Prefect's deployments."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import docker

from core.errors import Permanent
from sandbox.base_image import NODE, ensure_base_image
from sandbox.environment import of_a_part
from sandbox.kept_secrets import prefect_headers
from sandbox.part import ask, python
from sandbox.prefect_blocks import STAGE
from sandbox.repository import make_repository
from sandbox.settings import CODE, Settings

__all__ = ["BASE_IMAGE", "deploy", "prepare", "repository"]

BASE_IMAGE = "pointsman/node:sandbox"


def repository(settings: Settings) -> Path:
    """Return where the sample application's bare repository lies."""
    return settings.directories.home / "git" / "connections.git"


def prepare(settings: Settings) -> None:
    """Make the base image, and the repository with nothing tagged yet; nothing where they are there."""
    client = docker.from_env()
    try:
        ensure_base_image(client, BASE_IMAGE, NODE)
    finally:
        client.close()
    if not repository(settings).exists():
        make_repository(repository(settings))


def deploy(settings: Settings) -> None:
    """Make the sandbox's deployments; nothing where they were made from these very files."""
    stamp = settings.directories.run / "deployments.stamp"
    inputs = [
        CODE / "prefect.yaml",
        CODE / "environments" / f"{STAGE}.toml",
        *sorted((CODE / "flows").glob("*.py")),
        *sorted((CODE / "deploy").glob("*.py")),
    ]
    fingerprint = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    if stamp.exists() and stamp.read_text() == fingerprint and _deployed(settings):
        return
    done = subprocess.run(
        python("flows", "deploy", STAGE),
        env=of_a_part(settings, "deployments"),
        cwd=CODE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    log = settings.directories.logs / "deployments.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0 or not _deployed(settings):
        raise Permanent(
            "The deployments could not be made", why=(done.stderr or done.stdout).strip(), do=f"Its log: {log}"
        )
    stamp.write_text(fingerprint)


def _deployed(settings: Settings) -> bool:
    try:
        found = ask(f"{settings.prefect_url}/api/deployments/name/release/sandbox", headers=prefect_headers(settings))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "id" in found
