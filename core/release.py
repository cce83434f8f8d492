"""What a release is: version, image digest and configuration, identified by one short revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from core.errors import Refused
from core.image_settings import PLATFORMS, CpuArchitecture, Platform
from core.settings import EnvironmentSettings
from core.version import Version

__all__ = ["Configuration", "Release"]

_BEFORE = {"cpu_architecture": "X86_64"}


class Configuration(BaseModel):
    """What a release runs with besides its image. Secrets are here by reference, never by value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    container_port: int
    cpu: int
    memory: int
    cpu_architecture: CpuArchitecture = "X86_64"
    variables: dict[str, str] = {}
    secrets: dict[str, str] = Field(default={}, description="Name to Secrets Manager reference.")
    health_check_path: str | None = Field(
        default=None, description="What the load balancer asks this release; unknown in older records."
    )

    @classmethod
    def of(cls, settings: EnvironmentSettings, secret_arns: Mapping[str, str]) -> Configuration:
        """Return the configuration that `settings` ask for, with secrets' names resolved to ARNs."""
        service = settings.service
        missing = sorted({r.secret for r in service.secrets.values()} - secret_arns.keys())
        if missing:
            raise Refused(
                f"{settings.stage} was not provisioned with the secrets {', '.join(missing)}",
                why="a task may read only secrets that its execution role was given",
                do=f"Run `prefect deployment run provision/{settings.stage}`, then release again.",
            )
        return cls(
            container_port=service.container_port,
            cpu=service.cpu,
            memory=service.memory,
            cpu_architecture=settings.image.cpu_architecture,
            variables=service.variables,
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
            secrets={
                name: f"{secret_arns[reference.secret]}:{reference.key}::"
                for name, reference in service.secrets.items()
            },
            health_check_path=service.health_check_path,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what the tasks are given; the health check is the load balancer's.

        What came later is left out where it is as it always was, so that a release of before keeps its revision.
        """
        given = self.model_dump(mode="json", exclude={"health_check_path"})
        return _sha256({name: value for name, value in given.items() if _BEFORE.get(name) != value})


class Release(BaseModel):
    """One version with one image and one configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    commit: str
    image: str = Field(pattern=r"@sha256:[0-9a-f]{64}$", description="Repository and digest.")
    configuration: Configuration

    @property
    def image_repository(self) -> str:
        """The name of the repository that holds the image, which may be an older one than releases push to now."""
        return self.image.partition("@")[0].partition("/")[2]

    @property
    def image_digest(self) -> str:
        """The image's `sha256:…`."""
        return self.image.partition("@")[2]

    @property
    def platform(self) -> Platform:
        """What its image was built for, in the words of registries."""
        return PLATFORMS[self.configuration.cpu_architecture]

    @property
    def revision(self) -> str:
        """Twelve hex digits that differ whenever version, image or configuration do; `/version` answers them."""
        return _sha256([self.version, self.image_digest, self.configuration.digest])[:12]

    @property
    def semver(self) -> Version:
        """The version, to compare with."""
        return Version.parse(self.version)

    def __str__(self) -> str:
        return f"{self.version} ({self.revision})"


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
