"""An image that somebody else built: where its digest is recorded, and when it is the one that a version means.

A digest is the SHA-256 of what is in the image, so who may write the record decides what runs; who may push to the
registry does not. The record is an annotated git tag: whoever may push tags of that name is settled by the
repository's own rules (https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import Permanent, Refused
from core.image_settings import Platform
from core.version import Version

__all__ = ["PrebuiltImage", "RecordTag", "recorded_digest", "refuse_other_image", "tag_for"]

_LINE = re.compile(r"^image-digest:\s*(\S+)\s*$", re.IGNORECASE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class RecordTag:
    """An annotated git tag: the commit that it is at, and its message; no message for a tag without annotation."""

    name: str
    commit: str | None
    message: str | None


@dataclass(frozen=True)
class PrebuiltImage:
    """An image by its digest in the registry, and the platforms that it can be pulled for."""

    digest: str
    platforms: tuple[str, ...]


def tag_for(pattern: str, version: Version) -> str:
    """Return the name of the git tag that records the digest of a version."""
    return pattern.replace("{tag}", version.tag)


def recorded_digest(tag: RecordTag, commit: str) -> str:
    """Return the digest that a tag records; raise `Refused` where it records none, two, or one of another commit."""
    why = None
    digests: list[str] = []
    if tag.message is None:
        why = "it is not an annotated tag, so it has no message"
    elif tag.commit != commit:
        why = f"it is at commit {(tag.commit or 'none')[:12]}, and the version is at {commit[:12]}"
    else:
        digests = list(dict.fromkeys(m.group(1) for line in tag.message.splitlines() if (m := _LINE.match(line))))
        if len(digests) != 1:
            why = f"its message has {len(digests) or 'no'} line{'s' if len(digests) > 1 else ''} Image-Digest: sha256:…"
        elif not _DIGEST.fullmatch(digests[0]):
            why = f"its message names {digests[0][:80]!r}, which is not a digest"
    if why:
        raise Refused(
            f"The git tag {tag.name} records no digest of the version's image",
            why=why,
            do="Let the workflow that pushes the image make it anew: docs/prebuilt.md has one to copy.",
        )
    return digests[0]


def refuse_other_image(found: PrebuiltImage, platform: Platform) -> None:
    """Raise `Permanent` for an image that tasks of that platform could not pull, or of which several are for it."""
    if found.platforms.count(platform) != 1:
        raise Permanent(
            f"The image {found.digest[:19]} is not for {platform}",
            why=f"it is for {', '.join(found.platforms) or 'no platform that it names'}",
            do="Build it for image.platform, or correct that setting.",
        )
