"""The image as steps of a release: built unless our record says that ECR has it, pushed, and seen there.

docs/decisions/image-identity.md says when an image is taken for ours.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from core.build_secrets import BuildSecrets
from core.dockerfile import base_images, refuse_missing_mounts, refuse_unpinned, runs_on_target
from core.errors import Permanent, PointsmanError, Refused, UnknownOutcome
from core.image import ImageInputs, PushedImage, RegistryImage, is_ours, removable
from core.prebuilt import tag_for
from core.words import counted
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems import docker, ecr, metadata
from systems.build_context import context_in, copy_dockerfile, read_dockerfile
from systems.docker import Build, PushEnd
from systems.log import run_logger
from systems.platforms import runs_programs
from systems.processes import ATTEMPT_VARIABLE
from systems.registry_logins import logged_in
from tasks.build_logins import cache_sources, read_logins
from tasks.build_secrets import read_build_secrets, refuse_secrets_inside, ssh_arguments
from tasks.checkout import Checkout
from tasks.pins import find_pins, pin_sidecars
from tasks.prebuilt import wait_for_prebuilt

__all__ = ["BuiltImage", "build_image", "prune_worker", "push_image"]

_REVISION = "org.opencontainers.image.revision"
_VERSION = "org.opencontainers.image.version"
_SOURCE = "org.opencontainers.image.source"
_SHOWN_LINES = 25


@dataclass(frozen=True)
class WantedImage:
    """The image that a version asks for: what it is built from, and the tag that names it."""

    inputs: ImageInputs
    repository: str
    tag: str
    dockerfile: Path
    context: Path
    bases: tuple[str, ...]

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Access:
    """What a build is given of secrets, agents and registries; and the docker client's variables with all of it."""

    secrets: BuildSecrets
    passwords: BuildSecrets
    agents: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class BuiltImage:
    """The image that a version asks for, and what there is of it: in the registry already, or built just now."""

    reference: str
    """What a reader knows it by: repository and tag, or digest."""
    repository: str
    digest: str | None = None
    """The digest by which the registry holds it, where it does."""
    wanted: WantedImage | None = None
    built: str = ""
    """The id of what was built."""


@step("build", "build the image of {checkout.version}", writes=False)
def build_image(operation: Operation, checkout: Checkout) -> Done[BuiltImage]:
    """Build the version's image, unless our record says that ECR has it.

    Raises `Permanent` for a build that fails (with its failing line), and for a tag that holds an image that is not
    known to be ours, or an image that holds a secret of its build; `Refused` for a Dockerfile or context outside the
    checkout, and for a secret that is not there.
    """
    pin_sidecars(operation)  # what can't be pinned is refused before anything is built
    if operation.settings.image.image_source == "prebuilt":
        return _prebuilt(operation, checkout)
    wanted = _wanted(operation, checkout)
    found = _pushed_before(operation, wanted)
    if found:
        reason = f"{wanted.tag} was already built from commit {checkout.commit[:12]} with the same inputs"
        return skipped(reason, BuiltImage(wanted.reference, wanted.repository, found, wanted))
    _refuse_foreign_platform(operation, wanted)
    access = _access(operation, wanted)
    _refuse_reachable_credentials(operation, wanted, access)
    built = _build(operation, checkout, wanted, access)
    refuse_secrets_inside(operation, built, wanted.reference, access.secrets + access.passwords)
    image = BuiltImage(wanted.reference, wanted.repository, wanted=wanted, built=built)
    return done(f"built {wanted.reference}", image)


@step("push", "push {image.reference} to ECR")
def push_image(operation: Operation, image: BuiltImage) -> Done[str]:
    """Push what was built, and write which release this is; return its `repository@sha256:…`, as ECR holds it."""
    digest = image.digest
    if digest is None:
        assert image.wanted is not None
        digest = _push(operation, image.wanted, image.built)
    reference = f"{image.repository}@{digest}"
    operation.pin_release(reference, find_pins(operation))
    return (skipped if image.digest else done)(f"ECR holds {digest}", reference)


@step("prune", "remove old images and build cache from the worker", writes=False)
def prune_worker(operation: Operation) -> Done[None]:
    """Remove this environment's old images and old build cache from the engine; a failure is only logged.

    To be called under the lease, since nothing else of this environment builds then.
    """
    limits, host = operation.settings.docker, operation.block.docker_host

    def images() -> str:
        needed = operation.record.images_needed(now() - timedelta(seconds=operation.settings.timing.rollback_window))
        repository = operation.infrastructure.ecr_repository_url
        old = removable(
            docker.list_images(host, repository),
            repository,
            operation.environment,
            keep=limits.keep_images,
            needed=needed,
        )
        removed = docker.remove_images(host, old) if old else ()
        return f"{counted(len(removed), 'old image')} removed ({', '.join(removed)})" if removed else ""

    def cache() -> str:
        freed = docker.prune_build_cache(host, limits.build_cache_bytes)
        return f"{freed / 10**6:,.0f} MB of build cache freed" if freed else ""

    pruned = []
    for prune in (images, cache):
        try:
            pruned.append(prune())
        except PointsmanError as error:
            run_logger().warning("The worker's disk was not pruned: %s", error)
    removed = "; ".join(part for part in pruned if part)
    return done(removed) if removed else skipped("nothing to remove")


def _prebuilt(operation: Operation, checkout: Checkout) -> Done[BuiltImage]:
    settings, repository = operation.settings.image, operation.infrastructure.ecr_repository_url
    digest = wait_for_prebuilt(operation, checkout, settings.prebuilt)
    image = BuiltImage(f"{repository}@{digest}", repository, digest)
    return skipped(f"{tag_for(settings.prebuilt.recorded_in, checkout.version)} in git records {digest}", image)


def _wanted(operation: Operation, checkout: Checkout) -> WantedImage:
    image = operation.settings.image
    context = context_in(checkout.directory, image, checkout.version.tag)
    dockerfile = read_dockerfile(checkout.directory, image, checkout.version.tag)
    text = dockerfile.decode(errors="replace")
    if loose := refuse_unpinned(text, image):
        run_logger().warning("%s builds on %s, which is not pinned by a digest", image.dockerfile, ", ".join(loose))
    for warning in refuse_missing_mounts(text, image):
        run_logger().warning(warning)
    inputs = ImageInputs(
        version=checkout.version.tag,
        commit=checkout.commit,
        dockerfile=image.dockerfile,
        dockerfile_sha256=hashlib.sha256(dockerfile).hexdigest(),
        context=image.context,
        target=image.target,
        build_args=image.build_args,
        attestations=image.attestations,
        platform=image.platform,
        secrets={id: source.name for id, source in image.secrets.items()},
        ssh=sorted(image.ssh),
    )
    return WantedImage(
        inputs=inputs,
        repository=operation.infrastructure.ecr_repository_url,
        tag=inputs.tag(operation.environment),
        dockerfile=copy_dockerfile(checkout.directory, image, dockerfile, operation.workspace.folder("image")),
        context=context,
        bases=base_images(text, image.build_args),
    )


def _access(operation: Operation, wanted: WantedImage) -> Access:
    """Read all that the build needs; raise `Refused` for what is not there."""
    secrets, agents = read_build_secrets(operation), ssh_arguments(operation)
    logins, passwords = read_logins(operation, wanted.bases)
    environment = docker.child_environment(
        operation.block.docker_host.base_url, attestations=operation.settings.image.attestations
    ) | {ATTEMPT_VARIABLE: operation.owner.attempt}
    return Access(secrets, passwords, agents, logged_in(environment, logins, operation.workspace.folder("logins")))


def _refuse_reachable_credentials(operation: Operation, wanted: WantedImage, access: Access) -> None:
    """Raise `Refused` where a `RUN` step, which is anybody's code, would get at the machine's credentials.

    A machine that has no such service pays a fraction of a second. An emulated AWS gives its own to nobody.
    """
    settings = operation.settings
    if settings.aws.endpoint_url is not None or settings.docker.build_network == "none" or not wanted.bases:
        return
    reached = credentials_in_reach(operation, wanted.bases[0], access.environment)
    if reached is None:
        run_logger().warning(
            "Could not check whether builds reach the machine's credentials: %s has no shell, or no curl, "
            "node, python3 or nc",
            wanted.bases[0],
        )
    elif reached:
        raise Refused(
            "Builds on this engine reach the machine's credentials",
            why=f"a RUN step got an answer of {' and of '.join(reached)}",
            do='Close the way as docs/production.md says, set docker.build_network = "none", or build on a machine '
            "without a role (docker.host).",
        )


def _refuse_foreign_platform(operation: Operation, wanted: WantedImage) -> None:
    """Raise `Refused` where the engine cannot run the steps of a Dockerfile for the platform that is wanted.

    Only a Dockerfile that runs something on that platform needs it; an engine of that platform is not asked.
    """
    platform, host = wanted.inputs.platform, operation.block.docker_host
    if not runs_on_target(wanted.dockerfile.read_text(errors="replace")):
        return
    engine = docker.describe_engine(host)
    if engine.runs_itself(platform):
        return
    if not runs_programs(
        platform,
        environment=docker.child_environment(host.base_url, attestations=False)
        | {ATTEMPT_VARIABLE: operation.owner.attempt},
        folder=operation.workspace.folder("platform"),
        timeout=operation.settings.timing.build,
    ):
        raise Refused(
            f"This engine cannot build for {platform}",
            why=f"its machine is {engine.architecture}, and a RUN step that only ends did not run for {platform} there",
            do=f"Name an engine of {platform} in docker.host, register an emulator on this one (QEMU in binfmt_misc: "
            "`docker run --privileged --rm tonistiigi/binfmt --install arm64`), or run nothing on the target platform "
            "(`FROM --platform=$BUILDPLATFORM`).",
        )


def credentials_in_reach(
    operation: Operation, base: str, environment: dict[str, str] | None = None
) -> tuple[str, ...] | None:
    """Return the addresses that give a `RUN` step upon the image `base` an answer that leads to credentials.

    None where that could not be looked at. Nothing is built where this machine has no such address itself.
    """
    settings, host = operation.settings, operation.block.docker_host.base_url
    if not _is_elsewhere(host) and not metadata.answers_here():
        return ()
    return metadata.reached_by_builds(
        base,
        network=settings.docker.build_network,
        platform=settings.image.platform,
        environment=environment
        or docker.child_environment(host, attestations=False) | {ATTEMPT_VARIABLE: operation.owner.attempt},
        folder=operation.workspace.folder("probe"),
        timeout=settings.timing.build,
    )


def _is_elsewhere(host: str | None) -> bool:
    return host is not None and not host.startswith("unix:")


def _pushed_before(operation: Operation, wanted: WantedImage) -> str | None:
    """Return the digest under the wanted tag if our record says that it is ours, None if ECR has no such tag."""
    history = operation.records.version(wanted.inputs.version)
    return _ours_or_none(operation, wanted, history.images if history else ())


def _ours_or_none(operation: Operation, wanted: WantedImage, pushed: tuple[PushedImage, ...]) -> str | None:
    found = ecr.find_image(operation.aws, operation.infrastructure.repository, wanted.tag, wanted.inputs.platform)
    if found is None:
        return None
    if not is_ours(found, pushed, wanted.inputs):
        raise _taken(operation, wanted, found)
    return found.digest


def _taken(operation: Operation, wanted: WantedImage, found: RegistryImage) -> Permanent:
    labels: dict[str, str] = {}
    with suppress(PointsmanError):  # for the reader's eyes only
        labels = ecr.read_labels(operation.aws, operation.infrastructure.repository, found)
    said = labels.get(_REVISION, "none")[:12]
    return Permanent(
        f"The image tag {wanted.tag} is taken",
        why=f"ECR holds {found.digest} under it, which {operation.environment} is not known to have pushed for commit "
        f"{wanted.inputs.commit[:12]} (its own revision label says {said})",
        do="Find out who pushed it. Then delete that image in ECR and press Retry, or release this commit under a "
        "new tag.",
    )


def _build(operation: Operation, checkout: Checkout, wanted: WantedImage, access: Access) -> str:
    settings = operation.settings
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    build = Build(
        reference=wanted.reference,
        platform=wanted.inputs.platform,
        dockerfile=wanted.dockerfile,
        context=wanted.context,
        id_file=wanted.dockerfile.with_name("image-id"),
        target=wanted.inputs.target,
        build_args=wanted.inputs.build_args,
        labels={
            _VERSION: checkout.version.tag,
            _REVISION: checkout.commit,
            _SOURCE: source_label(settings.source.url, settings.source.github_repository),
        },
        network=settings.docker.build_network,
        mounts=(*access.secrets.arguments, *access.agents),
        cache_from=cache_sources(operation),
        cached_inline=settings.image.cache == "registry",
    )
    built = docker.build(
        build,
        environment=access.environment | access.secrets.variables,
        on_line=_logged(last, access.secrets + access.passwords),
        timeout=settings.timing.build,
    )
    if built is None:
        raise Permanent(
            f"The image of {checkout.version} could not be built",
            why="\n".join(docker.failing_lines(last)),
            do=f"Fix {settings.image.dockerfile} and push a new tag.",
        )
    return built


def _logged(last: deque[str], secrets: BuildSecrets) -> Callable[[str], None]:
    logger = run_logger()

    def on_line(line: str) -> None:
        if line.strip():
            line = secrets.mask(line)
            logger.info(line)
            last.append(line)

    return on_line


def source_label(url: str, github_repository: str) -> str:
    """Return where the image's source is, as its label says it: never with credentials that are in the URL."""
    if not url.startswith("https://"):
        return f"https://github.com/{github_repository}"
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _push(operation: Operation, wanted: WantedImage, built: str) -> str:
    """Push the image and return the digest that ECR holds; what was built is written down first.

    So after a lost answer, what ECR holds can be compared with what was built.
    """
    inputs = wanted.inputs
    image = PushedImage(tag=wanted.tag, commit=inputs.commit, inputs=inputs.digest, built=built, at=now())
    operation.records.change_version(inputs.version, inputs.commit, lambda r: r.about_to_push(image))
    ended = docker.push(operation.block.docker_host, wanted.reference, ecr.login(operation.aws), _watched(operation))
    # A tag that ECR refuses as taken may be our own push of a moment ago.
    digest = _ours_or_none(operation, wanted, (image.held_as(ended.digest),))
    if digest is None:
        raise _not_there(wanted, ended)
    operation.records.change_version(inputs.version, inputs.commit, lambda r: r.pushed(image, digest))
    return digest


def _watched(operation: Operation) -> Callable[[str], None]:
    logger = run_logger()

    def on_line(line: str) -> None:
        operation.lease.check()
        if line:
            logger.info(line)

    return on_line


def _not_there(wanted: WantedImage, ended: PushEnd) -> PointsmanError:
    """Return why ECR has no such image after a push."""
    if ended.refusal is not None:
        return Permanent(
            f"ECR refused the push of {wanted.reference}",
            why=ended.refusal,
            do="Check the repository and the pipeline role's policy.",
        )
    if ended.broken is not None:
        return UnknownOutcome(
            f"The push of {wanted.reference} was interrupted",
            why=ended.broken,
            do="Press Retry; layers that were uploaded are kept.",
        )
    return UnknownOutcome(
        f"ECR does not show {wanted.reference} after the push",
        why=f"the engine reported the push of {ended.digest or 'it, without a digest'}",
        do="Check the repository in ECR, then press Retry.",
    )
