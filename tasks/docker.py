"""Docker: build with BuildKit, push, and know the result by its digest.

BuildKit needs the command-line client (docker-py only has the old builder); everything else goes through the block.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import docker.errors
import requests.exceptions
from prefect.logging import get_run_logger

from core.errors import Permanent, UnknownOutcome
from systems import ecr
from systems.processes import ATTEMPT_VARIABLE, run_streamed
from tasks.git import Checkout
from tasks.operation import Operation, step_task

__all__ = ["build_image"]

_REVISION = "org.opencontainers.image.revision"
_VERSION = "org.opencontainers.image.version"
_SOURCE = "org.opencontainers.image.source"
_SHOWN_LINES = 25


@step_task("image")
def build_image(operation: Operation, checkout: Checkout) -> str:
    """Return `repository@sha256:…` of the version's image, built and pushed unless ECR has it already.

    Raises `Permanent` for a build that fails (with its failing line), and for a tag that ECR holds from another commit.
    """
    repository = operation.infrastructure.ecr_repository_url
    reference = f"{repository}:{checkout.version.image_tag}"
    with operation.step("build", f"build {reference}", writes=False) as step:
        found = _already_there(operation, checkout)
        if found:
            step.skip(f"{reference} was built from commit {checkout.commit[:12]} already")
        else:
            _build(operation, checkout, reference)
            step.done(f"built {reference}")
    if found:
        with operation.step("push", f"push {reference}", writes=False) as step:
            step.skip(f"ECR holds {found}")
        return f"{repository}@{found}"
    with operation.step("push", f"push {reference} to ECR") as step:
        digest = _push(operation, checkout, reference)
        step.done(f"ECR holds {digest}")
    return f"{repository}@{digest}"


def _already_there(operation: Operation, checkout: Checkout) -> str | None:
    found = ecr.find_image(operation.aws, operation.settings.repository, checkout.version.image_tag)
    if found is None:
        return None
    revision = found.labels.get(_REVISION, "none")
    if revision != checkout.commit:
        raise Permanent(
            f"The image tag {checkout.version.image_tag} is taken",
            why=f"ECR holds it with revision label {revision[:12]}, and {checkout.version} is {checkout.commit[:12]}",
            do="Image tags never change: release this commit under a new tag.",
        )
    return found.digest


def _build(operation: Operation, checkout: Checkout, reference: str) -> None:
    settings = operation.settings
    logger = get_run_logger()
    last: deque[str] = deque(maxlen=_SHOWN_LINES)

    def on_line(line: str) -> None:
        if line.strip():
            logger.info(line)
            last.append(line)

    labels = {
        _VERSION: checkout.version.tag,
        _REVISION: checkout.commit,
        _SOURCE: _source(settings.source.url, settings.source.github_repository),
    }
    context = checkout.directory / settings.image.context
    code = run_streamed(
        [
            _builder(),
            "build",
            "--platform=linux/amd64",
            "--progress=plain",
            *(f"--label={name}={value}" for name, value in labels.items()),
            *(f"--build-arg={name}={value}" for name, value in settings.image.build_args.items()),
            f"--tag={reference}",
            f"--file={checkout.directory / settings.image.dockerfile}",
            str(context),
        ],
        on_line=on_line,
        environment=_docker_environment(operation),
        timeout=settings.timing.build,
    )
    if code != 0:
        raise Permanent(
            f"The image of {checkout.version} could not be built",
            why="\n".join(failing_lines(last)),
            do=f"Correct {settings.image.dockerfile} and push a new tag.",
        )


def _source(url: str, github_repository: str) -> str:
    return url if url.startswith("https://") else f"https://github.com/{github_repository}"


def failing_lines(output: Iterable[str]) -> list[str]:
    """Return what BuildKit says of the step that failed: from its `>` line on, or the last lines if there is none."""
    lines = list(output)
    starts = [i for i, line in enumerate(lines) if line.lstrip().startswith("> [")]
    errors = [line for line in lines if "ERROR" in line]
    if not starts:
        return errors[-3:] or lines[-8:]
    # Debian's 20.10 says what the command itself said only in the lines of its vertex: `#7 0.2 sh: nope: not found`.
    end = lines[starts[-1] :]
    vertex = next((line.split(" ", 1)[0] for line in reversed(errors) if line.startswith("#")), "")
    spoken = [
        m.group(1) for line in lines[: starts[-1]] if (m := re.match(rf"{vertex or '#none'} \d+\.\d+ (.*)", line))
    ]
    return [*(line for line in spoken[-5:] if not any(line in shown for shown in end)), *end]


def _push(operation: Operation, checkout: Checkout, reference: str) -> str:
    logger = get_run_logger()
    login = ecr.login(operation.aws)
    digest: str | None = None
    refusal: str | None = None
    try:
        with operation.block.docker_host.get_client() as client:
            lines: Iterable[dict[str, Any]] = client.api.push(
                reference,
                stream=True,
                decode=True,
                auth_config={"username": login.username, "password": login.password},
            )
            for line in lines:
                operation.check()
                if "error" in line:
                    refusal = str(line["error"])
                elif "aux" in line:
                    digest = line["aux"].get("Digest")
                elif line.get("status") and not line.get("progressDetail"):
                    logger.info("%s %s", line.get("id", ""), line["status"])
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        if found := _already_there(operation, checkout):
            return found
        raise UnknownOutcome(
            f"The push of {reference} broke off", why=str(error), do="Retry: what has arrived is not sent again."
        ) from error
    if digest is not None and refusal is None:
        return digest
    # A tag that ECR refuses as taken may be our own push of a moment ago.
    if found := _already_there(operation, checkout):
        return found
    raise Permanent(
        f"ECR refused the push of {reference}",
        why=refusal or "it named no digest",
        do="Check the repository and the pipeline role's policy.",
    )


def _docker_environment(operation: Operation) -> dict[str, str]:
    host = operation.block.docker_host.base_url
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", ATTEMPT_VARIABLE: operation.owner.attempt}
    return environment | ({"DOCKER_HOST": host} if host else {})


@lru_cache(maxsize=1)
def _builder() -> str:
    """Return a docker client that can build with BuildKit: one with the buildx plugin, or one older than 23."""
    found = [c for c in _clients() if _major(c) < 23 or _succeeds([c, "buildx", "version"])]
    if not found:
        raise Permanent(
            "No docker client on this worker can build with BuildKit",
            why="there is none with the buildx plugin",
            do="Install docker-buildx-plugin (or Debian's docker.io).",
        )
    return found[0]


def _clients() -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [c for folder in dict.fromkeys(folders) if (c := shutil.which("docker", path=folder))]


def _major(client: str) -> int:
    try:
        said = subprocess.run([client, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return int(said.split("version", 1)[1].strip().split(".", 1)[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return 999


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
