"""The settings of the image: how it is built, what its build is given, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.findings import Severity
from core.section import Section

__all__ = [
    "CREDENTIALS",
    "PLATFORMS",
    "SIZE",
    "SSH_AGENT",
    "CpuArchitecture",
    "Image",
    "Platform",
    "Prebuilt",
    "Registry",
    "SecretSource",
    "bytes_of",
]

# `//user:password@`, and over HTTP a bare token as well
CREDENTIALS = re.compile(r"://[^/\s:@]*:[^/\s@]+@|https?://[^/\s@]+@", re.IGNORECASE)
_OUR_OWN = ("AWS_", "POINTSMAN_", "PREFECT_")

_OF_A_BUILD = (
    *("dockerfile", "context", "target", "build_args", "secrets", "ssh", "base_repositories", "registries", "cache"),
    *("attestations", "require_digests"),
)

SSH_AGENT = "agent"
"""The value of an entry of `image.ssh` that means the agent of the worker's user."""

SIZE = r"^(\d+(?:\.\d+)?) ?([kMGT]?B)$"
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

Platform = Literal["linux/amd64", "linux/arm64"]
CpuArchitecture = Literal["X86_64", "ARM64"]
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
PLATFORMS: Mapping[CpuArchitecture, Platform] = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
"""What an image is built for, by the CPU architecture of the tasks that run it."""

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,62}$")]
Host = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$")]
Repository = Annotated[str, Field(pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", max_length=256)]


def bytes_of(size: str) -> int:
    """Return the bytes of a size that fits `SIZE`; units are decimal, as docker's are."""
    number, unit = re.fullmatch(SIZE, size).groups()  # type: ignore[union-attr]
    return int(float(number) * _UNITS[unit])


class SecretSource(Section):
    """Where the worker finds a value that a build needs, in one of three places; never the value itself."""

    variable: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*$", description="A variable of the worker.")
    file: str | None = Field(default=None, pattern=r"^/\S+$", description="A file of the worker, by its whole path.")
    secret: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9/_+=.@!-]{1,512}$", description="A secret of Secrets Manager, by its name."
    )
    key: str | None = Field(default=None, min_length=1, description="A JSON key inside the secret; unset: all of it.")

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if len([place for place in (self.variable, self.file, self.secret) if place is not None]) != 1:
            raise ValueError("needs exactly one of variable, file and secret")
        if self.key is not None and self.secret is None:
            raise ValueError("key is a JSON key of a secret: it needs secret")
        if self.variable is not None and self.variable.upper().startswith(_OUR_OWN):
            raise ValueError(f"{self.variable} is the release's own and no build's: name another variable")
        return self

    @property
    def name(self) -> str:
        """Where the value is, in one word: it is part of an image's identity, which the value never is."""
        if self.variable is not None:
            return f"variable:{self.variable}"
        return f"file:{self.file}" if self.file is not None else f"secret:{self.secret}#{self.key or ''}"


class Registry(Section):
    """Who a build is at a registry that it pulls base images from."""

    username: str = Field(min_length=1)
    password: SecretSource = Field(description="Where the worker finds the password, or the access token.")


class Prebuilt(Section):
    """How the image of somebody else's CI is known."""

    recorded_in: str = Field(
        default="image/{tag}",
        pattern=r"^[\w./+{}-]*\{tag\}[\w./+-]*$",
        description="The annotated git tag whose message has the line `Image-Digest: sha256:…`.",
    )


class Image(Section):
    """How the image is built, and what is refused. How it is built is part of its identity."""

    image_source: Literal["build", "prebuilt"] = Field(
        default="build", description="Whether a release builds the image, or waits for one that CI pushed."
    )
    prebuilt: Prebuilt = Prebuilt()
    dockerfile: str = "Dockerfile"
    context: str = "."
    target: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*$", description="The stage to build.")
    build_args: dict[str, str] = Field(default={})
    platform: Platform = Field(
        default="linux/amd64", description="What the image is built for, and with it the tasks' CPU architecture."
    )
    secrets: dict[Id, SecretSource] = Field(
        default={}, description="What RUN --mount=type=secret,id=… is given, by that id."
    )
    ssh: dict[Id, str] = Field(
        default={},
        description='What RUN --mount=type=ssh is given, by its id: "agent", or the path of a private key.',
    )
    base_repositories: tuple[Repository, ...] = Field(
        default=(), description="Repositories of the account's own ECR that builds pull base images from."
    )
    registries: dict[Host, Registry] = Field(
        default={}, description='Other registries that builds pull from, by their host; Docker Hub is "docker.io".'
    )
    cache: Literal["local", "registry"] = Field(
        default="local",
        description="Where layers come from that need not be built again: the engine, or the registry as well.",
    )
    attestations: bool = Field(default=False, description="Let BuildKit attest how it built, which makes an index.")
    require_digests: bool = Field(default=False, description="Refuse to build on an image that is named by a tag only.")
    warn_growth: str = Field(
        default="100MB",
        pattern=SIZE,
        description="Warn of an image that is larger than the live one by more than this, packed.",
    )
    refuse_findings: Severity | None = Field(
        default=None,
        description="Refuse a release whose image has findings of that severity or above in ECR's scan, or no result.",
    )

    @property
    def warn_growth_bytes(self) -> int:
        """That growth in bytes."""
        return bytes_of(self.warn_growth)

    @field_validator("dockerfile", "context")
    @classmethod
    def _paths_stay_in_the_checkout(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{path} is outside the checkout: give a path below the repository's root")
        return path

    @field_validator("build_args")
    @classmethod
    def _no_credentials_in_build_args(cls, arguments: dict[str, str]) -> dict[str, str]:
        told = sorted(name for name, value in arguments.items() if CREDENTIALS.search(value))
        if told:
            raise ValueError(f"{', '.join(told)}: a URL with credentials would stay readable in the image's history")
        return arguments

    @model_validator(mode="after")
    def _nothing_is_given_to_a_build_that_is_none(self) -> Self:
        given = [name for name in _OF_A_BUILD if name in self.model_fields_set]
        if self.image_source == "prebuilt" and given:
            raise ValueError(f'{", ".join(given)}: a release builds nothing where image_source is "prebuilt"')
        if self.image_source == "build" and "prebuilt" in self.model_fields_set:
            raise ValueError('[image.prebuilt] needs image_source = "prebuilt"')
        return self

    @field_validator("ssh")
    @classmethod
    def _keys_are_paths(cls, given: dict[str, str]) -> dict[str, str]:
        keys = {id: where for id, where in given.items() if where != SSH_AGENT}
        wrong = sorted(id for id, where in keys.items() if not re.fullmatch(r"/[^\s,=]+", where))
        if wrong:
            raise ValueError(f'{", ".join(wrong)}: give "agent", or the whole path of a private key on the worker')
        return given

    @property
    def cpu_architecture(self) -> CpuArchitecture:
        """The CPU architecture of the tasks, as ECS names it."""
        return next(name for name, platform in PLATFORMS.items() if platform == self.platform)

    @property
    def build_secret_names(self) -> tuple[str, ...]:
        """The secrets of Secrets Manager that a build needs, which the pipeline's role must be able to read."""
        sources = (*self.secrets.values(), *(registry.password for registry in self.registries.values()))
        return tuple(sorted({source.secret for source in sources if source.secret is not None}))
