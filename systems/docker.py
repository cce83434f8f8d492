"""Docker: build with BuildKit, push and know what was pushed, remove what is old. It knows of no run.

BuildKit needs the command-line client (docker-py only has the old builder); everything else goes over the engine's API.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import docker.errors
import requests.exceptions

from core.errors import Permanent, PointsmanError, Transient
from core.image import LocalImage
from core.preflight.machine import Engine
from systems.ecr import Login
from systems.processes import run_streamed

__all__ = [
    "Build",
    "PushEnd",
    "build",
    "child_environment",
    "current_driver",
    "describe_engine",
    "digest_of",
    "engine_errors",
    "failing_lines",
    "find_builder",
    "list_images",
    "prune_build_cache",
    "push",
    "read_push",
    "remove_images",
]

# What a docker client needs of its parent; nothing else of a worker's environment is a build's business.
_PASSED = re.compile(
    r"PATH|HOME|USER|LANG|LC_ALL|TZ|TMPDIR|XDG_(RUNTIME_DIR|CONFIG_HOME)|SSH_AUTH_SOCK"
    r"|(DOCKER|BUILDX|BUILDKIT|SSL_CERT)_\w+|(?i:(https?|no|all)_proxy)"
)
_PUSHED = re.compile(r"\bdigest: (sha256:[0-9a-f]{64})\b")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_BROKEN = (docker.errors.DockerException, requests.exceptions.RequestException)

DockerHost = Any
"""A docker host block: `get_client()` opens docker-py's client."""


@dataclass(frozen=True)
class Build:
    """One build of one image; `id_file` is where the client writes the built image's id.

    `mounts` are the arguments that hand over secrets and ssh agents, by ids, names of variables and paths.
    """

    reference: str
    platform: str
    dockerfile: Path
    context: Path
    id_file: Path
    target: str | None
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    network: str = "default"
    mounts: Sequence[str] = ()
    cache_from: Sequence[str] = ()
    cached_inline: bool = False
    """Whether the image says which steps made its layers, so that another engine may take them from it."""

    @property
    def arguments(self) -> list[str]:
        """The client's arguments."""
        return [
            "build",
            f"--platform={self.platform}",
            "--progress=plain",
            f"--network={self.network}",
            *(f"--label={name}={value}" for name, value in self.labels.items()),
            *(f"--build-arg={name}={value}" for name, value in self.build_args.items()),
            *([f"--target={self.target}"] if self.target else []),
            *self.mounts,
            *(f"--cache-from={image}" for image in self.cache_from),
            # https://docs.docker.com/build/cache/backends/inline/
            *(["--build-arg=BUILDKIT_INLINE_CACHE=1"] if self.cached_inline else []),
            f"--tag={self.reference}",
            f"--iidfile={self.id_file}",
            f"--file={self.dockerfile}",
            str(self.context),
        ]


@dataclass(frozen=True)
class PushEnd:
    """How a push ended: with a digest, with a refusal, or interrupted, which leaves open what arrived."""

    digest: str | None = None
    refusal: str | None = None
    broken: str | None = None


def build(
    wanted: Build, *, environment: Mapping[str, str], on_line: Callable[[str], None], timeout: float
) -> str | None:
    """Build an image and return its id, or None where the build failed; `on_line` gets each line that it says."""
    command = [find_builder(environment.get("PATH", os.defpath)), *wanted.arguments]
    if run_streamed(command, on_line=on_line, environment=environment, timeout=timeout) != 0:
        return None
    written = wanted.id_file.read_text().strip() if wanted.id_file.exists() else ""
    if not _IMAGE_ID.fullmatch(written):
        raise Permanent(
            f"The id of {wanted.reference} is unknown",
            why=f"docker build wrote {written[:80]!r} where the image's id is expected",
            do="Check the worker's docker client.",
        )
    return written


def child_environment(host: str | None, *, attestations: bool) -> dict[str, str]:
    """Return the variables of a docker client: named ones of ours, and how to build."""
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    # Docker 29 attests by default, and an image with attestations is an index.
    # https://docs.docker.com/build/building/variables/#buildx_no_default_attestations
    passed["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "0" if attestations else "1"
    return passed | {"DOCKER_BUILDKIT": "1"} | ({"DOCKER_HOST": host} if host else {})


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


def push(host: DockerHost, reference: str, login: Login, on_line: Callable[[str], None]) -> PushEnd:
    """Push an image and return how that ended; what `on_line` raises interrupts it."""
    try:
        with host.get_client() as client:
            lines: Iterable[dict[str, Any]] = client.api.push(
                reference,
                stream=True,
                decode=True,
                auth_config={"username": login.username, "password": login.password},
            )
            return read_push(lines, on_line)
    except _BROKEN as error:
        return PushEnd(broken=str(error))


def read_push(lines: Iterable[dict[str, Any]], on_line: Callable[[str], None]) -> PushEnd:
    """Return how a push ended by what the engine said.

    The digest comes as an object from a classic image store, and in a status line alone from containerd's.
    """
    digest: str | None = None
    refusal: str | None = None
    for line in lines:
        if "error" in line or "errorDetail" in line:
            refusal = str(line.get("error") or line["errorDetail"].get("message", "no reason was given"))
        digest = (line.get("aux") or {}).get("Digest") or _digest_in(line) or digest
        said = line.get("status") if not line.get("progressDetail") else None
        on_line(f"{line.get('id', '')} {said}".strip() if said else "")
    return PushEnd(digest=digest, refusal=refusal)


def _digest_in(line: Mapping[str, Any]) -> str | None:
    found = _PUSHED.search(str(line.get("status", "")))
    return found.group(1) if found else None


def list_images(host: DockerHost, repository: str) -> list[LocalImage]:
    """Return the engine's images of a repository."""
    with engine_errors(host, "Docker's images could not be listed") as client:
        return [
            LocalImage(
                tuple(found.get("RepoTags") or ()), tuple(found.get("RepoDigests") or ()), int(found.get("Created", 0))
            )
            for found in client.api.images(name=repository)
        ]


def remove_images(host: DockerHost, tags: Sequence[str]) -> tuple[str, ...]:
    """Remove images by their tags and return those that went; one that a container uses stays."""
    removed: list[str] = []
    with engine_errors(host, "Docker's images could not be removed") as client:
        for tag in tags:
            try:
                client.api.remove_image(tag, force=False)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):
                    raise
                continue
            removed.append(tag)
    return tuple(removed)


def prune_build_cache(host: DockerHost, keep: int) -> int:
    """Remove the build cache's oldest entries until at most `keep` bytes are left; return the bytes freed."""
    with engine_errors(host, "Docker's build cache could not be pruned") as client:
        return int(client.api.prune_builds(keep_storage=keep).get("SpaceReclaimed") or 0)


def describe_engine(host: DockerHost) -> Engine:
    """Return what the engine says of itself."""
    with engine_errors(host, "The Docker engine does not answer") as client:
        found = client.info()
    status = {str(key): str(value) for key, value in found.get("DriverStatus") or ()}
    return Engine(
        version=str(found.get("ServerVersion", "")),
        os=str(found.get("OSType", "")),
        architecture=str(found.get("Architecture", "")),
        root=PurePosixPath(str(found.get("DockerRootDir", "/"))),
        # https://docs.docker.com/engine/storage/containerd/
        containerd="containerd.snapshotter" in status.get("driver-type", ""),
    )


def current_driver(client: str, environment: Mapping[str, str]) -> str:
    """Return the driver of the builder that a docker client uses now; `docker` for one without the buildx plugin."""
    try:
        done = subprocess.run(
            [client, "buildx", "inspect"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return "docker"
    found = re.search(r"^Driver:\s*(\S+)", done.stdout, re.MULTILINE)
    return found.group(1) if found else "docker"


@contextmanager
def engine_errors(host: DockerHost, failure: str) -> Iterator[Any]:
    """Give docker-py's client; what goes wrong with it becomes `Permanent` or `Transient`, which say `failure`."""
    try:
        with host.get_client() as client:
            yield client
    except _BROKEN as error:
        raise _told(error, failure) from error


def _told(error: Exception, failure: str) -> PointsmanError:
    refused = isinstance(error, docker.errors.APIError) and error.is_client_error()
    return (Permanent if refused else Transient)(failure, why=str(error), do="Check the worker's Docker engine.")


# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
_NO_SUCH_IMAGE = ("denied", "manifest unknown", "name unknown", "repository unknown")


def digest_of(host: DockerHost, image: str, login: Login | None = None) -> str | None:
    """Return the digest that an image's tag has in its registry; None where that knows no such image, or not for us.

    https://docs.docker.com/reference/api/engine/ (DistributionInspect): of an index it is the index's own digest.
    """
    credentials = {"username": login.username, "password": login.password} if login else None
    try:
        with host.get_client() as client:
            found = client.api.inspect_distribution(image, auth_config=credentials)
    except docker.errors.APIError as error:
        said = str(error.explanation).lower()
        throttled = error.status_code == 429 or "toomanyrequests" in said
        if not throttled and (error.is_client_error() or any(word in said for word in _NO_SUCH_IMAGE)):
            return None
        raise Transient(f"The registry of {image} did not answer", why=str(error.explanation)) from error
    except _BROKEN as error:
        raise Transient(f"Docker could not ask the registry for {image}", why=str(error)) from error
    return str(found["Descriptor"]["digest"])


@lru_cache(maxsize=8)
def find_builder(path: str) -> str:
    """Return a docker client in `path` that can build with BuildKit: with the buildx plugin, or older than 23."""
    found = [c for c in _clients(path) if _major(c) < 23 or _succeeds([c, "buildx", "version"])]
    if not found:
        raise Permanent(
            "No docker client on this worker can build with BuildKit",
            why="none of them has the buildx plugin",
            do="Install docker-buildx-plugin (or Debian's docker.io).",
        )
    return found[0]


def _clients(path: str) -> list[str]:
    return [c for folder in dict.fromkeys(path.split(os.pathsep)) if (c := shutil.which("docker", path=folder))]


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
