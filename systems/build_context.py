"""The files that a build may see: those of the checkout, and of them never its `.git`."""

from __future__ import annotations

from pathlib import Path

from core.errors import Refused
from core.settings import Image

__all__ = ["context_in", "copy_dockerfile", "read_dockerfile"]

_FILE_LIMIT = 1024 * 1024
# Older engines match a pattern with `**` against fewer parents than newer ones do, hence each in both forms.
_NEVER_IN_AN_IMAGE = b"\n.git\n.git/**\n**/.git\n**/.git/**\n"


def context_in(checkout: Path, image: Image, version: str) -> Path:
    """Return the build context of a checkout; raise `Refused` for one that does not exist, or leads out of it."""
    context = _inside(checkout, image.context)
    if not context.is_dir():
        raise Refused(
            f"The build context {image.context} was not found",
            why=f"{version} has no such folder",
            do="Fix image.context, or add the folder and push a new tag.",
        )
    return context


def read_dockerfile(checkout: Path, image: Image, version: str) -> bytes:
    """Return the Dockerfile of a checkout; raise `Refused` for one that does not exist, or leads out of it."""
    dockerfile = _read(checkout, image.dockerfile)
    if dockerfile is None:
        raise Refused(
            f"{image.dockerfile} was not found",
            why=f"{version} has no such file",
            do="Fix image.dockerfile, or add the file and push a new tag.",
        )
    return dockerfile


def copy_dockerfile(checkout: Path, image: Image, dockerfile: bytes, folder: Path) -> Path:
    """Write the Dockerfile to a folder of its own, beside an ignore file that also keeps `.git` out; return its path.

    BuildKit prefers the ignore file that is named like the Dockerfile, so the checkout itself stays as it is.
    """
    ignored = _read(checkout, f"{image.dockerfile}.dockerignore")
    if ignored is None:
        ignored = _read(checkout, f"{image.context}/.dockerignore") or b""
    copy = folder / Path(image.dockerfile).name
    copy.write_bytes(dockerfile)
    copy.with_name(f"{copy.name}.dockerignore").write_bytes(ignored + _NEVER_IN_AN_IMAGE)
    return copy


def _inside(root: Path, path: str) -> Path:
    """Return where a path of the repository leads; raise `Refused` where that is outside the checkout."""
    found = (root / path).resolve()
    if not found.is_relative_to(root.resolve()):
        raise Refused(
            f"{path} points outside the checkout",
            why="a symbolic link in the repository points elsewhere, and a build may only see what was tagged",
            do="Replace the link with what it points to, and push a new tag.",
        )
    return found


def _read(root: Path, path: str) -> bytes | None:
    """Return a file of the repository, or None if there is none; raise `Refused` for anything but a small file."""
    found = _inside(root, path)
    if not found.exists():
        return None
    if not found.is_file() or found.stat().st_size > _FILE_LIMIT:
        raise Refused(
            f"{path} cannot be read", why="it is not a regular file of at most 1 MiB", do="Fix it and push a new tag."
        )
    return found.read_bytes()
