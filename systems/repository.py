"""A working copy of an application on this machine: its files, and what git says of it; nothing of it is run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from core.errors import Permanent, Refused
from core.first_settings.compose import COMPOSE_FILES
from core.first_settings.facts import Repository, below, is_aside
from core.first_settings.image import DOCKERFILES
from core.first_settings.migrations import MIGRATION_FILES
from core.first_settings.routes import SOURCES
from core.first_settings.variables import EXAMPLES
from systems.processes import run_streamed

__all__ = ["read_repository"]

_GIT_SECONDS = 30.0
_MOST_PATHS = 200_000
_MOST_SOURCES = 4_000
_LARGEST = 256 * 1024
_LARGEST_IN_ALL = 64 * 1024 * 1024
_SKIPPED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", "dist", ".next", "vendor", "target"})
_READ = (*DOCKERFILES, *COMPOSE_FILES, *MIGRATION_FILES, *EXAMPLES, "*.sh", "*.tf", "pnpm-workspace.yaml")
# A configuration of the repository must start no program here: https://git-scm.com/docs/git-config, core.fsmonitor
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def read_repository(folder: Path, environments: Path) -> Repository:
    """Return what is seen of the working copy that a folder is, or lies in; raise `Refused` for what is no folder.

    Files that git ignores are not looked at, links are not followed, and size and number of what is read are bounded.
    `environments` is where the files of the environments are.
    """
    if not folder.is_dir():
        raise Refused(
            f"{folder} is not a folder", do="Name a working copy of the application's repository with --checkout."
        )
    asked = folder.resolve()
    top = _git(asked, "rev-parse", "--show-toplevel")
    root = Path(top[0]) if top else asked
    paths = tuple(_paths(root, in_git=bool(top)))
    origin = _git(root, "config", "--get", "remote.origin.url") if top else []
    inner = "" if asked == root else str(PurePosixPath(asked.relative_to(root)))
    return Repository(
        name=root.name,
        paths=paths,
        texts=dict(_texts(root, paths, inner)),
        folder=inner,
        origin=origin[0] if origin else None,
        branch=_default_branch(root) if top else None,
        environments={file.stem: file.read_text(errors="replace") for file in sorted(environments.glob("*.toml"))},
    )


def _paths(root: Path, in_git: bool) -> Iterator[str]:
    listed = _git(root, "-c", "core.quotePath=false", "ls-files", "--cached", "--others", "--exclude-standard")
    names = dict.fromkeys(listed) if in_git and listed else _walked(root)
    for number, name in enumerate(names):
        if number >= _MOST_PATHS:
            return
        path = root / name
        if path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(root.resolve()):
            yield name


def _walked(root: Path) -> Iterator[str]:
    for where, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for file in sorted(files):
            yield str(PurePosixPath((Path(where) / file).relative_to(root)))


def _texts(root: Path, paths: tuple[str, ...], folder: str) -> Iterator[tuple[str, str]]:
    known = [path for path in paths if _is_known(path)]
    others = set(paths) - set(known)
    code = (p for p in others if PurePosixPath(p).suffix in SOURCES and not is_aside(p, folder))
    nearest = sorted(code, key=lambda path: (not below(path, folder), path.count("/"), path))[:_MOST_SOURCES]
    left = _LARGEST_IN_ALL
    for path in (*known, *nearest):
        size = (root / path).stat().st_size
        if size <= _LARGEST and size <= left:
            left -= size
            yield path, (root / path).read_text(encoding="utf-8", errors="replace")


def _is_known(path: str) -> bool:
    name = PurePosixPath(path).name
    return any(fnmatchcase(name, pattern) for pattern in _READ) or fnmatchcase(path, ".github/*/*.y*ml")


def _default_branch(root: Path) -> str | None:
    """Return the remote's default branch as the clone knows it, or else the one of main and master that is there."""
    head = _git(root, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if head:
        return head[0].partition("/")[2]
    names = _git(root, "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/heads/main", "refs/heads/master")
    return names[0] if names else None


def _git(folder: Path, *arguments: str) -> list[str]:
    """Return the lines of a command of git that reads; none where it fails, as in what is no repository."""
    lines: list[str] = []
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "GIT_CONFIG_GLOBAL") if name in os.environ}
    try:
        code = run_streamed(
            [*_GIT, *arguments],
            on_line=lines.append,
            on_error_line=lambda line: None,
            environment={**kept, "GIT_OPTIONAL_LOCKS": "0"},
            directory=folder,
            timeout=_GIT_SECONDS,
        )
    except Permanent:
        return []
    return lines if code == 0 else []
