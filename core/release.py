"""What a release is: version, image digest and configuration, identified by one short revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from core.container import Container, PinnedSidecar, Sidecar, Volume
from core.errors import Refused
from core.health_check import HealthCheck
from core.image_settings import PLATFORMS, CpuArchitecture, Platform
from core.secret import SecretReference
from core.settings import EnvironmentSettings
from core.version import Version

__all__ = ["Configuration", "Pins", "Release"]

_FROM_THE_FIRST = {"container_port", "cpu", "memory", "variables", "secrets"}
_NOT_OF_THE_TASKS = {
    "health_check_path",
    "health_check_matcher",
    "version_path",
    "migration_secrets",
    "secret_versions",
}
"""What of a configuration no task of the service is given: what it is asked, and how it is recognised."""


@dataclass(frozen=True)
class Pins:
    """What was found when a release was pinned, of what others may change meanwhile."""

    images: Mapping[str, str] = field(default_factory=dict)
    """The digest of each sidecar's image, by the image as the settings name it."""
    secret_versions: Mapping[str, str] = field(default_factory=dict)
    """The id of each secret's current version, by the secret's name or ARN; without those that may not be seen."""


class Configuration(BaseModel):
    """What a release runs with besides its image. Secrets are here by reference, never by value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    container_port: int
    cpu: int
    memory: int
    cpu_architecture: CpuArchitecture = "X86_64"
    variables: dict[str, str] = {}
    secrets: dict[str, str] = Field(default={}, description="Name to reference in Secrets Manager or SSM.")
    migration_secrets: dict[str, str] | None = Field(
        default=None, description="The same of the migration's task where it has some of its own; else the service's."
    )
    secret_versions: dict[str, str] = Field(
        default={}, description="Each secret's current version when this was released, by the secret's name or ARN."
    )
    health_check_path: str | None = Field(
        default=None, description="What the load balancer asks this release; unknown in older records."
    )
    health_check_matcher: str = Field(default="200", description="What it must answer to that.")
    version_path: str | None = Field(
        default=None, description="Where this release names itself; empty if nowhere, unknown in older records."
    )
    container: Container = Field(default=Container(), description="How the application's container is run.")
    containers: tuple[PinnedSidecar, ...] = Field(default=(), description="Containers beside the application's.")
    volumes: dict[str, Volume] = Field(default={}, description="File systems of EFS that the tasks mount.")
    ephemeral_storage: int | None = Field(default=None, description="GiB of disk a task; Fargate's own if unset.")

    @classmethod
    def of(cls, settings: EnvironmentSettings, arns: Mapping[str, str], pins: Pins | None = None) -> Configuration:
        """Return the configuration that `settings` ask for; `arns` are those of secrets by their sources.

        Its digest does not depend on `pins`: a tag that moved, or a secret that was rotated, is no other configuration.
        """
        pins = pins or Pins()
        service = settings.service
        missing = sorted({r.source for r in settings.secret_references} - arns.keys())
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
            secrets=_values_from(service.secrets, arns),
            migration_secrets=_values_from(settings.migration_secrets, arns) if settings.migration.secrets else None,
            secret_versions=dict(pins.secret_versions),
            health_check_path=service.health_check_path,
            health_check_matcher=service.health_check_matcher,
            version_path=settings.traffic.version_path or "",
            container=service.container,
            containers=tuple(_pinned(one, arns, pins) for one in service.containers),
            volumes=service.volumes,
            ephemeral_storage=service.ephemeral_storage,
        )

    def health_check(self, path_if_unknown: str) -> HealthCheck:
        """Return what the load balancer asks this release; older records know no path."""
        return HealthCheck(self.health_check_path or path_if_unknown, self.health_check_matcher)

    @property
    def digest(self) -> str:
        """SHA-256 of what the service's tasks are given; what the load balancer asks them is its own.

        What was added later counts only where it is set: tasks that run by an older record answer with its revision.
        """
        first = self.model_dump(mode="json", include=_FROM_THE_FIRST)
        later = self.model_dump(mode="json", exclude=_FROM_THE_FIRST | _NOT_OF_THE_TASKS, exclude_defaults=True)
        for one in later.get("containers", ()):
            one.pop("digest", None)
        return _sha256({**first, **later})


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


def _pinned(sidecar: Sidecar, arns: Mapping[str, str], pins: Pins) -> PinnedSidecar:
    written = sidecar.image.partition("@")[2] or None
    facts = {**dict(sidecar), "secrets": _values_from(sidecar.secrets, arns)}
    return PinnedSidecar(**facts, digest=written or pins.images.get(sidecar.image))


def _values_from(secrets: Mapping[str, SecretReference], arns: Mapping[str, str]) -> dict[str, str]:
    return {name: reference.value_from(arns[reference.source]) for name, reference in secrets.items()}


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
