"""What a release fixes, or notes, of things that others may change: the images of sidecars, the versions of secrets."""

from __future__ import annotations

from core.container import repository_of
from core.errors import Permanent, Refused
from core.release import Pins
from operation.operation import Operation
from systems import docker, ecr
from systems.log import run_logger
from systems.secrets_manager import current_version

__all__ = ["find_pins", "note_secret_versions", "pin_sidecars"]


def find_pins(operation: Operation) -> Pins:
    """Return what a release that is pinned now keeps of its sidecars' images and its secrets' versions."""
    return Pins(images=pin_sidecars(operation), secret_versions=note_secret_versions(operation))


def note_secret_versions(operation: Operation) -> dict[str, str]:
    """Return the version that each secret has now, by its name or ARN; a secret that may not be seen is left out.

    The record says by it which value a release began with. No release depends on it, so none is refused for it.
    """
    arns = operation.infrastructure.secret_arns
    versions = dict[str, str]()
    for name in sorted({r.secret for r in operation.settings.secret_references if r.secret in arns}, key=str):
        try:
            version = current_version(operation.aws("secretsmanager"), arns[str(name)])
        except Permanent as error:
            run_logger().warning("The version of the secret %s is not recorded: %s", name, error)
            continue
        if version is not None:
            versions[str(name)] = version
    return versions


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
