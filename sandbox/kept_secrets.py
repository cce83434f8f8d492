"""Secrets made for one sandbox when they are first asked for, and kept for their owner only."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping

from sandbox.settings import Settings

__all__ = ["kept_secret", "prefect_auth", "prefect_headers"]

_USER = "admin"


def kept_secret(settings: Settings, name: str) -> str:
    """Return the secret of that name: 64 hexadecimal digits."""
    path = settings.directories.secrets / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = secrets.token_hex(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made)
        return made


def prefect_auth(settings: Settings) -> str:
    """Return what the sandbox's Prefect asks for: user and password. Its UI takes the same text."""
    return f"{_USER}:{kept_secret(settings, 'prefect-password')}"


def prefect_headers(settings: Settings) -> Mapping[str, str]:
    """Return the header that a call of the sandbox's Prefect needs."""
    return {"Authorization": f"Basic {base64.b64encode(prefect_auth(settings).encode()).decode()}"}
