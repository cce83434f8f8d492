"""Migration files of a checkout: read whole, and only from inside it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.errors import Refused

__all__ = ["migration_directory", "read_text", "refuse_odd_name"]

_LARGEST = 1024 * 1024
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,200}")


def migration_directory(checkout: Path, directory: str) -> Path:
    """Return the directory of the migrations; raise `Refused` where the checkout has none."""
    root = checkout / directory
    if not root.is_dir() or not root.resolve().is_relative_to(checkout.resolve()):
        raise Refused(
            f"The migration directory {directory} does not exist in the repository",
            why="without it there is no way to tell whether the database is up to date",
            do="Set migration.directory, or migration.enabled = false if this application has no migrations.",
        )
    return root


def refuse_odd_name(name: str, what: str = "its folder") -> None:
    """Raise `Refused` for a name that could be more than a name where it is shown."""
    if not _NAME.fullmatch(name):
        raise Refused(
            f"The migration {name[:60]!r} has an invalid name",
            why="a name has letters, digits, '_', '-' and '.', and at most 200 of them",
            do=f"Rename {what}.",
        )


def read_text(path: Path, checkout: Path, name: str) -> str:
    """Return a migration's file as text; raise `Refused` for what is not a file of the checkout, or is none at all."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(checkout.resolve()) or not real.is_file():
        raise Refused(f"The migration {name} is not a file of the repository", do="Replace the link with the file.")
    if real.stat().st_size > _LARGEST:
        raise Refused(f"The migration {name} is larger than 1 MiB", do="Load data by means other than a migration.")
    try:
        return real.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Refused(f"The migration {name} is not valid UTF-8", why=str(error), do="Save it as UTF-8.") from error
