"""What a release fixes of things that others may change meanwhile: the images that run beside the application's."""

from __future__ import annotations

from core.container import repository_of
from core.errors import Refused
from operation.operation import Operation
from systems import docker, ecr

__all__ = ["pin_sidecars"]


def pin_sidecars(operation: Operation) -> dict[str, str]:
    """Return the digest of each sidecar's image that is named by a tag; raise `Refused` for one that has none."""
    tagged = {one.image for one in operation.settings.service.containers if "@" not in one.image}
    pinned, missing = dict[str, str](), list[str]()
    for image in sorted(tagged):
        own = repository_of(image).partition("/")[0] == operation.infrastructure.ecr_repository_url.partition("/")[0]
        login = ecr.login(operation.aws) if own else None
        digest = docker.digest_of(operation.block.docker_host, image, login)
        if digest is None:
            missing.append(image)
        else:
            pinned[image] = digest
    if missing:
        raise Refused(
            f"service.containers names {', '.join(missing)}, which cannot be pinned to a digest",
            why="its registry has no such image, or does not let this worker see it",
            do="Fix the image's name, log the worker's docker in to its registry, or name it by `@sha256:…`.",
        )
    return pinned
