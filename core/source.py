"""A release's source: where git may go for it, whom its token is shown to, and which commits of it are released."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from core.errors import Refused
from core.version import Version

__all__ = [
    "LFS_POINTER",
    "allowed_protocols",
    "host_of",
    "protocol_of",
    "refuse_other_commit",
    "refuse_token_in_the_clear",
    "refuse_unknown_refs",
    "user_info_in",
]

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
"""How each pointer file begins: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)::")
_SCP = re.compile(r"[^/:]+:(?!//)")  # git's own rule: no slash before the first colon

_LEAST_DIGITS = 7
_ENCRYPTED = ("https", "ssh")


def protocol_of(url: str) -> str:
    """Return the protocol that git uses for a URL or path, as GIT_ALLOW_PROTOCOL names it."""
    if found := _URL.match(url) or _HELPER.match(url):
        return found.group(1).lower()
    return "ssh" if _SCP.match(url) else "file"


def allowed_protocols(url: str) -> tuple[str, ...]:
    """Return what git may speak for a source and its submodules: the source's own protocol, and encrypted ones."""
    return tuple(dict.fromkeys((protocol_of(url), *_ENCRYPTED)))


def host_of(url: str) -> str | None:
    """Return `https://host[:port]/` of an HTTP URL, the part that a token belongs to; None for any other."""
    if protocol_of(url) not in ("http", "https"):
        return None
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2]}/"


def user_info_in(url: str) -> bool:
    """Whether a URL holds what should be secret: anything before the host over HTTP, a password over anything else."""
    if "://" not in url:
        return False
    before, at, _ = urlsplit(url).netloc.rpartition("@")
    return bool(at) and (protocol_of(url) in ("http", "https") or ":" in before)


def refuse_token_in_the_clear(url: str) -> None:
    """Raise `Refused` for a source over which a token would be sent unencrypted."""
    protocol = protocol_of(url)
    if protocol in ("http", "git", "ftp"):
        raise Refused(
            "The source token would be sent unencrypted",
            why=f"source.url begins with {protocol}://",
            do="Use https:// in source.url, or remove the source credentials from the environment's block.",
        )


def refuse_unknown_refs(refs: Iterable[str], tag: str, branches: Iterable[str]) -> None:
    """Raise `Refused` where the remote's `refs` lack a version's tag, or a branch that is not a pattern."""
    known = set(refs)
    wanted = tuple(branches)
    if f"refs/tags/{tag}" not in known:
        raise Refused(
            f"The tag {tag} does not exist",
            why="the source repository has no such tag",
            do="Push the tag, then release it.",
        )
    for branch in wanted:
        if "*" not in branch and f"refs/heads/{branch}" not in known:
            raise Refused(
                f"The branch {branch} does not exist",
                why="the source repository has no such branch",
                do="Fix source.branches (or source.main_branch).",
            )
    if not any(fnmatchcase(ref, f"refs/heads/{branch}") for ref in known for branch in wanted):
        raise Refused(
            f"No branch matches {' or '.join(wanted)}",
            why="versions are released only from these branches",
            do="Fix source.branches.",
        )


def refuse_other_commit(version: Version, announced: str | None, found: str) -> None:
    """Raise `Refused` if the tag is not at the commit that the run was started for; by hand that may be shortened."""
    if announced and not (len(announced) >= _LEAST_DIGITS and found.startswith(announced.lower())):
        raise Refused(
            f"The tag {version} moved since it was announced",
            why=f"this run was started for commit {announced[:12]}, but the tag now points to {found[:12]}",
            do="A version never changes: give the new commit a new tag.",
        )
