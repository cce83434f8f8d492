"""A version's image as somebody else's CI built it: waited for, and taken by the digest that a git tag records."""

from __future__ import annotations

from core.errors import Permanent, Refused
from core.image_settings import Prebuilt
from core.prebuilt import recorded_digest, refuse_other_image, tag_for
from operation.operation import Operation
from systems import ecr
from systems.git import Limits, WorkingCopy
from systems.log import run_logger
from systems.polling import patient, polls
from tasks.checkout import Checkout, remote_of

__all__ = ["wait_for_prebuilt"]

# A look at the remote is a git command and a request: rarer than looks at AWS.
_POLLS_A_LOOK = 5


def wait_for_prebuilt(operation: Operation, checkout: Checkout, prebuilt: Prebuilt) -> str:
    """Return the digest of a version's image once the git tag records it and the registry has it.

    Raises `Permanent` where either is missing when `timing.prebuilt` seconds are over, or the image is for another
    platform; `Refused` for a git tag that records no digest of this commit.
    """
    timing, repository = operation.settings.timing, operation.infrastructure.repository
    name = tag_for(prebuilt.recorded_in, checkout.version)
    digest: str | None = None
    run_logger().info("Waiting for the git tag %s, and for the image that it records in %s", name, repository)
    for _ in polls(every=timing.poll * _POLLS_A_LOOK, within=timing.prebuilt, check=operation.lease.check):
        digest = digest or _recorded(operation, checkout, name)
        if digest is not None and _is_there(operation, digest):
            return digest
    missing = f"the image {digest}, which the git tag {name} records, is not in {repository}"
    raise Permanent(
        f"The image of {checkout.version} did not come within {timing.prebuilt:g} s",
        why=missing if digest else f"{operation.settings.source.github_repository} has no git tag {name}",
        do="Look at the workflow that builds it, then press Retry. timing.prebuilt is how long a release waits.",
    )


def _is_there(operation: Operation, digest: str) -> bool:
    platform, repository = operation.settings.image.platform, operation.infrastructure.repository
    found = patient(lambda: ecr.find_prebuilt(operation.aws, repository, digest, platform))
    if found is not None:
        refuse_other_image(found, platform)
    return found is not None


def _recorded(operation: Operation, checkout: Checkout, name: str) -> str | None:
    """Return the digest that the git tag records; None while there is no such tag, or the remote does not answer."""
    ref = f"refs/tags/{name}"
    remote = remote_of(operation)
    try:
        if ref not in remote.refs(ref):
            return None
        source = operation.settings.source
        limits = Limits(size=source.max_mib * 2**20, files=source.max_files)
        copy = WorkingCopy(remote, operation.workspace.folder("record"), limits)
        copy.fetch([f"{ref}:{ref}"])
        tag = copy.read_tag(name)
    except Refused:
        raise
    except Permanent as error:
        run_logger().info("%s Looking again.", error)
        return None
    return recorded_digest(tag, checkout.commit)
