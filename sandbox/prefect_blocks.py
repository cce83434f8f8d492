"""The blocks of the environment `sandbox`, registered at each `up`, which changes nothing that fits."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping

from core.errors import Permanent
from sandbox.environment import of_a_part
from sandbox.kept_secrets import kept_secret, prefect_headers
from sandbox.part import ask, python
from sandbox.settings import CODE, Settings

__all__ = ["STAGE", "register", "webhook_secret"]

STAGE = "sandbox"


def webhook_secret(settings: Settings) -> str:
    """Return what deliveries to this sandbox's receiver are signed with, made when first asked for."""
    return kept_secret(settings, "webhook-secret")


def register(settings: Settings) -> None:
    """Create or update the blocks, unless those that are there were made from this very input."""
    environment = of_a_part(settings, "blocks")
    given = {"POINTSMAN_WEBHOOK_SECRET": webhook_secret(settings)}
    if not settings.auth:
        given["POINTSMAN_AWS_ACCESS_KEY_ID"] = environment["AWS_ACCESS_KEY_ID"]
        given["POINTSMAN_AWS_SECRET_ACCESS_KEY"] = environment["AWS_SECRET_ACCESS_KEY"]
    stamp, input_now = settings.directories.run / "blocks.stamp", _fingerprint(given)
    if stamp.exists() and stamp.read_text() == input_now and _on_server(settings):
        return
    stamp.unlink(missing_ok=True)
    done = subprocess.run(
        python("blocks", "register", STAGE),
        env={**environment, **given},
        cwd=CODE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    log = settings.directories.logs / "blocks.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise Permanent(
            f"The blocks of {STAGE} could not be registered",
            why=(done.stderr or done.stdout).strip(),
            do=f"Its log: {log}",
        )
    stamp.write_text(input_now)


def _fingerprint(given: Mapping[str, str]) -> str:
    files = (*sorted((CODE / "blocks").glob("*.py")), CODE / "environments" / f"{STAGE}.toml")
    read = hashlib.sha256(repr(sorted(given.items())).encode())
    for file in files:
        read.update(file.read_bytes())
    return read.hexdigest()


def _on_server(settings: Settings) -> bool:
    place = f"block_types/slug/release-environment/block_documents/name/pointsman-{STAGE}"
    try:
        return bool(ask(f"{settings.prefect_url}/api/{place}", headers=prefect_headers(settings)))
    except (OSError, ValueError):
        return False
