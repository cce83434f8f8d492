"""Where a worker finds a value that is in no settings file: a variable, a file of its own, or Secrets Manager."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.build_secrets import LONGEST_SECRET, json_key_of
from core.errors import Permanent, Refused
from core.image_settings import SecretSource
from systems.aws import has_code
from systems.secrets_manager import read_value

__all__ = ["read_source"]


def read_source(source: SecretSource, setting: str, secrets_manager: Callable[[], Any]) -> str:
    """Return the value that a setting points to; raise `Refused` where there is none.

    `secrets_manager` gives boto3's client, and is asked only where the value is there.
    """
    if source.variable is not None:
        value = os.environ.get(source.variable)
        if value is None:
            raise _missing(setting, f"the worker has no variable {source.variable}", "Set it for the worker's service")
        return value
    if source.file is not None:
        return _text_of(Path(source.file), setting)
    assert source.secret is not None
    where = f"the secret {source.secret}"
    try:
        value = read_value(secrets_manager(), source.secret)
    except Permanent as error:
        if has_code(error, "ResourceNotFoundException"):
            raise _missing(setting, f"{where} was not found", "Create it in Secrets Manager") from error
        raise
    return value if source.key is None else json_key_of(value, source.key, where)


def _text_of(file: Path, setting: str) -> str:
    try:
        if not file.is_file():
            raise _missing(setting, f"the worker has no file {file}", "Put it there, readable for the worker's user")
        with file.open("rb") as content:
            return content.read(LONGEST_SECRET + 1).decode()
    except OSError as error:
        raise _missing(
            setting, f"{file} could not be read: {error.strerror}", "Let the worker's user read it"
        ) from error
    except UnicodeDecodeError as error:
        raise _missing(setting, f"{file} is not text", "Write it as text, such as base64") from error


def _missing(setting: str, why: str, do: str) -> Refused:
    return Refused(f"{setting} has no value", why=why, do=f"{do}, or remove the setting. Then press Retry.")
