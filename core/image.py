"""What an image is: its inputs, the tag that names them, and whether one in the registry is ours.

An image is ours because our record says that we pushed it, never because of what it says of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from core.image_settings import Platform
from core.version import TAG_LIMIT, Version

__all__ = ["ImageInputs", "LocalImage", "PushedImage", "RegistryImage", "is_ours", "removable"]

# Inputs that came later: one that is at its default is not written, so that an image of before keeps its name.
_LATER: Mapping[str, object] = {"secrets": {}, "ssh": []}
_SHORT = 8
# A version's own image tag holds one underscore at most, since a version holds one `+` at most.
_SEPARATOR = "__"


@dataclass(frozen=True)
class ImageInputs:
    """All that decides what a build makes; a base image named by its digest is part of the Dockerfile or arguments.

    Of secrets it is the ids and where each comes from, never a value: a rotated one makes no other image.
    """

    version: str
    commit: str
    dockerfile: str
    dockerfile_sha256: str
    context: str
    target: str | None
    build_args: Mapping[str, str]
    attestations: bool = False
    platform: Platform = "linux/amd64"
    secrets: Mapping[str, str] = field(default_factory=dict)
    ssh: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over all of them."""
        inputs = {**asdict(self), "ssh": list(self.ssh)}
        told = {name: value for name, value in inputs.items() if name not in _LATER or value != _LATER[name]}
        written = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(written.encode()).hexdigest()

    def tag(self, stage: str) -> str:
        """Return the registry's tag for what `stage` builds of them, such as `v1.4.0__production.1a2b3c4d`.

        Tags never change in the registry and environments don't trust each other, so both are in it.
        """
        end = f"{_SEPARATOR}{stage}.{self.digest[:_SHORT]}"
        return Version.parse(self.version).image_tag[: TAG_LIMIT - len(end)] + end


class PushedImage(BaseModel):
    """An image that this environment pushed, or was about to: the digest is here once the registry named it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag: str
    commit: str
    inputs: str = Field(description="SHA-256 of what it was built from.")
    built: str = Field(description="The built image's id: the digest of its configuration, or of its manifest.")
    digest: str | None = None
    at: datetime

    def held_as(self, digest: str | None) -> PushedImage:
        """Return it with the digest by which the registry holds it."""
        return PushedImage(
            tag=self.tag, commit=self.commit, inputs=self.inputs, built=self.built, digest=digest, at=self.at
        )


@dataclass(frozen=True)
class RegistryImage:
    """What a tag holds in the registry; `contents` are the digests that fix what is in the image, its own included."""

    digest: str
    contents: frozenset[str]
    configuration: str | None = None


def is_ours(found: RegistryImage, pushed: Iterable[PushedImage], inputs: ImageInputs) -> bool:
    """Whether our record says that we pushed this very image, built from these inputs."""
    return any(
        p.inputs == inputs.digest
        and p.commit == inputs.commit
        and (p.digest == found.digest or p.built in found.contents)
        for p in pushed
    )


@dataclass(frozen=True)
class LocalImage:
    """An image on the engine: its tags and digests, each with its repository, and when it was made."""

    references: tuple[str, ...]
    digests: tuple[str, ...]
    created: int


def removable(
    images: Sequence[LocalImage], repository: str, stage: str, *, keep: int, needed: Iterable[str]
) -> tuple[str, ...]:
    """Return the tags of a stage's own images beyond the newest `keep`, but for those whose digest is still needed."""
    ours = [(image, tags) for image in images if (tags := _tags_of(image, repository, stage))]
    ours.sort(key=lambda one: one[0].created, reverse=True)
    kept = {f"{repository}@{digest}" for digest in needed}
    return tuple(tag for image, tags in ours[keep:] if kept.isdisjoint(image.digests) for tag in tags)


def _tags_of(image: LocalImage, repository: str, stage: str) -> tuple[str, ...]:
    return tuple(
        reference
        for reference in image.references
        if reference.startswith(f"{repository}:") and f"{_SEPARATOR}{stage}." in reference.removeprefix(repository)
    )
