"""What is seen of an application's repository, and what is concluded from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from core.errors import Refused

__all__ = ["Asked", "Guess", "Repository", "below", "is_aside", "joined"]

T = TypeVar("T")

# As the settings ask for them: refused here, they are not written first and refused later.
_FORMS = {
    "account": (r"\d{12}", "an account's number of 12 digits"),
    "region": (r"[a-z]{2}(-[a-z]+)+-\d", "a region such as eu-central-1"),
    "namespace": (r"[a-z][a-z0-9-]{1,30}", "2 to 31 lower-case letters, digits and hyphens, starting with a letter"),
}

# Folders that hold what is not the application itself.
_ASIDE = frozenset(
    {
        *("test", "tests", "__tests__", "e2e", "spec", "specs", "fixtures", "mocks", "__mocks__", "stories"),
        *("example", "examples", "sample", "samples", "docs", "doc", ".devcontainer", "devcontainer", "bench"),
        *("node_modules", "vendor", "third_party", ".git", ".venv", "venv", "site-packages", "dist", ".next"),
    }
)


@dataclass(frozen=True)
class Asked:
    """What the operator says, each of which is otherwise read, or left to fill in."""

    stage: str
    account: str | None = None
    region: str | None = None
    namespace: str | None = None
    dockerfile: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        for option, form in _FORMS.items():
            value = getattr(self, option)
            if value is not None and not re.fullmatch(form[0], value):
                raise Refused(f"{value!r} is not valid for --{option}", why=f"it must be {form[1]}", do="Correct it.")


@dataclass(frozen=True)
class Repository:
    """A working copy: its files by their paths from the root, and what git says of where it came from."""

    name: str
    """The root folder's name."""
    paths: tuple[str, ...]
    texts: Mapping[str, str]
    """The contents of those files that were read."""
    folder: str = ""
    """The folder below the root that was asked for."""
    origin: str | None = None
    """The address of git's remote `origin`, as git has it."""
    branch: str | None = None
    """Its default branch."""
    environments: Mapping[str, str] = field(default_factory=dict)
    """The files of the environments that exist, by name: one of them may be another stage of this application."""

    def named(self, *patterns: str, folder: str = "") -> Iterator[str]:
        """Give the paths below a folder whose file name fits a pattern, those nearest to the root first."""
        fitting = (p for p in self.paths if below(p, folder) and not is_aside(p, folder))
        for path in sorted(fitting, key=lambda p: (p.count("/"), p)):
            if any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in patterns):
                yield path

    def nearest(self, *patterns: str, folder: str = "") -> str | None:
        """Return the first such path in the folder itself, below it, or in one that the folder is in; or None."""
        in_it = next(self.named(*patterns, folder=folder), None)
        if in_it is not None or not folder:
            return in_it
        for parent in PurePosixPath(folder).parents:
            above = [p for p in self.named(*patterns) if PurePosixPath(p).parent == parent]
            if above:
                return above[0]
        return None


@dataclass(frozen=True)
class Guess(Generic[T]):
    """A conclusion and what it was read from, in words for a comment."""

    value: T
    why: str


def below(path: str, folder: str) -> bool:
    """Whether a path is a folder's own, or of one in it."""
    return folder in ("", ".") or path == folder or path.startswith(f"{folder}/")


def is_aside(path: str, folder: str = "") -> bool:
    """Whether a path lies, below a folder, in one of tests, examples or what others wrote."""
    inner = path.removeprefix(f"{folder}/") if folder else path
    return bool(_ASIDE & set(PurePosixPath(inner).parts[:-1]))


def joined(folder: str, path: str) -> str:
    """Return where `path` leads from a folder of the repository, without `.` and `..`; the root is `.`."""
    parts: list[str] = []
    for part in (*PurePosixPath(folder).parts, *PurePosixPath(path).parts):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", "..", "/"):
            parts.append(part)
    return "/".join(parts) or "."
