"""Which tags of a repository are an environment's versions, and how a tag and a version name each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from core.errors import Refused
from core.version import Version

__all__ = ["ANY_VERSION", "TagPattern", "fault_of_pattern"]

_LONGEST_PREFIX = 64
_VERSION_BEGUN = re.compile(r"v?(\d+\.)*$")
# https://git-scm.com/docs/git-check-ref-format; of wildcards there is the star alone.
_ALLOWED = re.compile(r"[^\s:^~?\[\]\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class TagPattern:
    """A pattern over whole tags such as `v*`, `v1.*`, `api/v*`, `api@*` or `*-rc.*`.

    The version begins where its text does before the first star: at a `v`, at numbers, or else at the star itself. What
    stands before that is the tag's prefix. A tag has the version's `v` unless something else is in its place. The
    prefix never comes into a version, so records, images and services have the names of versions: a registry's tag may
    hold no slash.
    """

    text: str

    @property
    def prefix(self) -> str:
        """What a tag has in front of the version, its `v` left out."""
        return self._head[: _begun(self._head).start()]

    @property
    def form(self) -> str:
        """How its tags look, in words for messages."""
        return "vX.Y.Z" if self.text == "v*" else self.text

    @property
    def only_prereleases(self) -> bool:
        """Whether no version but a pre-release fits."""
        return self.text.partition("*")[2].startswith("-")

    def tag_of(self, version: Version) -> str:
        """Return the git tag of a version."""
        return self.prefix + (version.tag if self._with_v else version.tag[1:])

    def fits(self, tag: str) -> bool:
        """Whether a git tag may name a version here; `version_of` says whether it does."""
        return fnmatchcase(tag, self.text)

    def version_of(self, tag: str) -> Version:
        """Return the version that a git tag names, or that is named itself; raise `Refused` for any other text."""
        if self.fits(tag):
            rest = tag[len(self.prefix) :]
            return Version.parse(rest if self._with_v else f"v{rest}")
        version = Version.parse(tag)  # a human may leave the prefix out
        if not self.fits(self.tag_of(version)):
            raise Refused(
                f"{version} is not released here",
                why=f"its tag would be {self.tag_of(version)}, and source.tag_pattern is {self.text}",
                do="Release it to the environment whose pattern it fits, or push a tag that fits this one.",
            )
        return version

    @property
    def _head(self) -> str:
        return self.text.partition("*")[0]

    @property
    def _with_v(self) -> bool:
        return self._head == "" or _begun(self._head)[0].startswith("v")


def _begun(head: str) -> re.Match[str]:
    found = _VERSION_BEGUN.search(head)
    assert found is not None, "it may be empty"
    return found


ANY_VERSION = TagPattern("v*")


def fault_of_pattern(text: str) -> str | None:
    """Return in words why no tag could fit a pattern, None for a good one."""
    head = text.partition("*")[0]
    if "*" not in text:
        return f"{text!r} has no star, where the version stands"
    if not _ALLOWED.fullmatch(text) or ".." in text or "@{" in text or "//" in text or text[0] in "/-":
        return f"{text!r} fits no name that git allows for a tag; of wildcards there is only the star"
    if head[-1:].isdigit():
        return f"{text!r} has its star inside a number, so v12 would fit v1*: write {head}.*"
    if len(head) > _LONGEST_PREFIX:
        return f"the prefix of {text!r} is longer than {_LONGEST_PREFIX} characters"
    return None
