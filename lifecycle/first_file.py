"""`init`: the first file of an environment, from the repository of its application. Nothing else is changed."""

from __future__ import annotations

from pathlib import Path

from blocks.environment import environments_folder
from core.errors import Refused
from core.first_settings import Asked, first_settings
from core.settings import ACCOUNT, is_stage
from systems.repository import read_repository

__all__ = ["write_first_file"]


def write_first_file(asked: Asked, checkout: Path) -> str:
    """Write the file and return what a terminal shows of it.

    Raise `Refused` for a name that no environment can have, for a file that exists, and for a repository without a
    Dockerfile. Where the application lies is `checkout`.
    """
    if not is_stage(asked.stage) or asked.stage == ACCOUNT:
        raise Refused(
            f"{asked.stage!r} is not a valid environment name",
            why=f"a name is 2 to 21 lower-case letters, digits and hyphens, from a letter on, and not {ACCOUNT!r}",
            do="Choose another name, such as production.",
        )
    folder = environments_folder()
    file = folder / f"{asked.stage}.toml"
    if file.exists():
        raise _taken(file)
    first = first_settings(read_repository(checkout, folder), asked)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(first.text)
    except FileExistsError as error:
        raise _taken(file) from error
    return first.report(str(file))


def _taken(file: Path) -> Refused:
    return Refused(
        f"{file} exists",
        why="`init` writes a first file and overwrites none",
        do="Choose another name, or move that file away.",
    )
