"""Which images a record may return to, and the tag by which the registry's lifecycle rules leave them alone."""

from __future__ import annotations

from dataclasses import dataclass

from core.record import EnvironmentRecord

__all__ = ["KEPT_PATTERN", "ProtectedImage", "keep_tag", "returnable"]

_PREFIX = "keep__"
KEPT_PATTERN = f"{_PREFIX}*"
"""What the first rule of the repository's lifecycle policy matches (terraform/account/repository.tf).

An image that a rule matches is not expired by one of a lower priority:
https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
"""


@dataclass(frozen=True)
class ProtectedImage:
    """An image by its repository's name and its digest."""

    repository: str
    digest: str


def keep_tag(stage: str, digest: str) -> str:
    """Return the tag with which a stage keeps an image: it names the digest, so that it never has to move."""
    return f"{_PREFIX}{stage}.{digest.removeprefix('sha256:')[:12]}"


def returnable(record: EnvironmentRecord) -> tuple[ProtectedImage, ...]:
    """Return the images of what is live, of what was, and of an open rollback, the live one's first.

    What was rolled back from is among them: a human may name it.
    """
    ends = (record.rollback.target, record.rollback.leaving) if record.rollback else ()
    lives = (*([record.live] if record.live else []), *ends, *reversed(record.healthy))
    return tuple(dict.fromkeys(_image(one.release.image) for one in lives))


def _image(reference: str) -> ProtectedImage:
    named, _, digest = reference.partition("@")
    return ProtectedImage(named.partition("/")[2], digest)
