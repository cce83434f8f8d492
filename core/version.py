"""A version is a tag: strict SemVer 2.0.0 (semver.org) with a leading `v`."""

from __future__ import annotations

from dataclasses import dataclass

import semver

from core.errors import Refused

__all__ = ["TAG_LIMIT", "Version"]

# https://docs.docker.com/reference/cli/docker/image/tag/: at most 128 characters
TAG_LIMIT = 128


@dataclass(frozen=True)
class Version:
    """One version, ordered by SemVer precedence; `str()` gives the tag."""

    tag: str

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that `text` names; raise `Refused` for anything but `vMAJOR.MINOR.PATCH[-pre][+build]`."""
        if not (text.startswith("v") and text.isascii() and semver.Version.is_valid(text[1:])):
            raise Refused(
                f"{text!r} is not a valid version tag",
                why="a version is strict SemVer 2.0 with a leading v, such as v1.4.0 or v2.0.0-rc.1",
                do="Tag the commit with a valid name and push that tag.",
            )
        if len(text) > TAG_LIMIT:
            raise Refused(
                f"The tag {text[:20]!r}… is too long",
                why=f"an image tag has at most {TAG_LIMIT} characters, and this one has {len(text)}",
                do="Choose a shorter tag.",
            )
        return cls(text)

    @property
    def image_tag(self) -> str:
        """The tag as a registry can hold it: `+` is not allowed there and becomes `_`."""
        return self.tag.replace("+", "_")

    @property
    def is_prerelease(self) -> bool:
        """Whether it is a pre-release, such as v2.0.0-rc.1."""
        return self._precedence.prerelease is not None

    @property
    def _precedence(self) -> semver.Version:
        return semver.Version.parse(self.tag[1:])

    # By precedence alone: versions that differ in build metadata are neither older nor newer than each other.

    def __lt__(self, other: Version) -> bool:
        return self._precedence < other._precedence

    def __le__(self, other: Version) -> bool:
        return self._precedence <= other._precedence

    def __gt__(self, other: Version) -> bool:
        return self._precedence > other._precedence

    def __ge__(self, other: Version) -> bool:
        return self._precedence >= other._precedence

    def __str__(self) -> str:
        return self.tag
