"""What an environment is made of: everything that is not a secret, one TOML file an environment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from core.colour import Colour
from core.container import refuse_dependencies
from core.errors import Refused
from core.image_settings import SIZE, Image, bytes_of
from core.migration_settings import Migration
from core.secret import SecretReference
from core.section import Seconds, Section
from core.service_settings import Service, refuse_names
from core.smoke_settings import Smoke, SmokeCheck
from core.source import user_info_in
from core.tag_pattern import TagPattern, fault_of_pattern

__all__ = [
    "ACCOUNT",
    "FILL_IN",
    "Approval",
    "Aws",
    "Docker",
    "EnvironmentSettings",
    "Image",
    "Migration",
    "Ports",
    "Preflight",
    "Provision",
    "SecretReference",
    "Service",
    "Smoke",
    "SmokeCheck",
    "Source",
    "Timing",
    "Traffic",
    "is_stage",
    "parse_settings",
]

ACCOUNT = "account"
"""What all environments of an account share; no environment can have this name."""

FILL_IN = "FILL-IN"
"""What a line has in it that a person must still write, as `init` leaves it: such a file is refused."""

Branch = Annotated[str, Field(pattern=r"^(\*|\w[^\s:^~?*\[\\]*\*?)[^\s:^~?*\[\\]*$")]
CheckName = Annotated[str, Field(min_length=1, max_length=256)]
_STAGE = r"^[a-z][a-z0-9-]{1,20}$"


class Aws(Section):
    """Which identity is used, and where AWS answers. Keys, if any, are secrets and are only in the block."""

    profile: str | None = Field(default=None, description="A profile of the worker's AWS configuration.")
    role_arn: str | None = Field(default=None, description="A role to assume, as `pipeline_role_arns` names it.")
    reconciler_role_arn: str | None = Field(
        default=None, description="The role of `reconcile` and `retire`, as `reconciler_role_arns` names it."
    )
    operator_role_arn: str | None = Field(
        default=None, description="The role of flows that only look, as `operator_role_arn` names it."
    )
    provision_profile: str | None = Field(
        default=None, description="The profile for `provision`: a person's, with rights that no release has."
    )
    endpoint_url: str | None = Field(default=None, description="Only for an emulated AWS.")

    def role_of(self, flow: str) -> str | None:
        """Return the role that a flow acts as: `role_arn` where it has none of its own; None assumes no role."""
        own = {
            "reconcile": self.reconciler_role_arn,
            "retire": self.reconciler_role_arn,
            "drift": self.operator_role_arn,
            "status": self.operator_role_arn,
        }
        return own.get(flow) or self.role_arn

    @model_validator(mode="after")
    def _other_roles_come_beside_the_pipeline_s(self) -> Self:
        if self.role_arn is None and (self.reconciler_role_arn or self.operator_role_arn):
            raise ValueError("reconciler_role_arn and operator_role_arn need role_arn: releases need a role first")
        return self


class Docker(Section):
    """The engine that builds and pushes, and how much it keeps."""

    host: str | None = Field(default=None, description="Such as unix:///var/run/docker.sock; the default if unset.")
    keep_images: int = Field(default=5, ge=1, le=1_000, description="Images of this environment that a release leaves.")
    build_cache: str = Field(default="10GB", pattern=SIZE, description="Build cache that a release leaves.")
    build_network: Literal["default", "none"] = Field(
        default="default", description="What RUN steps of a build reach: what the engine's containers do, or nothing."
    )

    @property
    def build_cache_bytes(self) -> int:
        """The build cache's limit."""
        return bytes_of(self.build_cache)


class Source(Section):
    """Where an application's versions come from."""

    url: str = Field(min_length=1, description="Any URL that git understands, or a path.")
    github_repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name, as GitHub spells it.")
    main_branch: Branch | None = Field(default=None, description="The one branch that is released from.")
    branches: tuple[Branch, ...] = Field(default=(), description="Several, each a name or a pattern with one `*`.")
    tag_pattern: str = Field(
        default="v*", description="Which tags are versions here; the version stands where its first star is."
    )
    checks: tuple[CheckName, ...] = Field(
        default=(), description="Checks of the commit at GitHub that a release waits for and refuses if red."
    )
    github_api: str = Field(
        default="https://api.github.com",
        pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        description="GitHub's REST API; of an Enterprise Server https://<host>/api/v3.",
    )
    max_mib: int = Field(
        default=2_048, ge=1, description="The most that a checkout may hold, git's own files included."
    )
    max_files: int = Field(default=200_000, ge=1, description="The most files that a checkout may hold.")

    @field_validator("url")
    @classmethod
    def _url_holds_no_credentials(cls, url: str) -> str:
        if user_info_in(url):
            raise ValueError("holds credentials, which would reach logs and images: use POINTSMAN_SOURCE_TOKEN")
        return url

    @model_validator(mode="after")
    def _branches_are_named_once(self) -> Self:
        if self.main_branch and self.branches:
            raise ValueError("main_branch and branches are both set: name all branches in branches")
        return self

    @field_validator("tag_pattern")
    @classmethod
    def _tags_can_fit_the_pattern(cls, pattern: str) -> str:
        if fault := fault_of_pattern(pattern):
            raise ValueError(fault)
        return pattern

    @property
    def tags(self) -> TagPattern:
        """Which tags are versions, and how they name them."""
        return TagPattern(self.tag_pattern)

    @property
    def released_branches(self) -> tuple[str, ...]:
        """The branches that versions are released from, names or patterns."""
        return self.branches or (self.main_branch or "main",)


class Traffic(Section):
    """How the production listener is reached and watched."""

    host: str | None = Field(default=None, description="Name in requests; the load balancer's own by default.")
    connect_to: str | list[str] | None = Field(
        default=None, description="Address to connect to instead of resolving the name, or several of them."
    )
    answers: int = Field(default=10, ge=1, le=1_000, description="Answers in a row that prove a release.")
    version_path: str | None = Field(
        default=None,
        pattern=r"^/\S*$",
        description="Where the application answers its version and revision; unset, AWS alone says what is live.",
    )
    https: bool = Field(default=False, description="Whether the production listener speaks HTTPS.")


class Ports(Section):
    """The load balancer's listeners."""

    production: int = Field(default=80, ge=1, le=65_535)
    test_blue: int = Field(default=8081, ge=1, le=65_535)
    test_green: int = Field(default=8082, ge=1, le=65_535)

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if len({self.production, self.test_blue, self.test_green}) != 3:
            raise ValueError("the production listener and the two test listeners need three different ports")
        return self

    def test(self, colour: Colour) -> int:
        """Return the test listener's port of a colour."""
        return self.test_blue if colour is Colour.BLUE else self.test_green


class Approval(Section):
    """Whether a human approves before traffic shifts."""

    required: bool = True
    timeout_seconds: int = Field(default=86_400, ge=60, le=604_800)


class Preflight(Section):
    """What `preflight` cannot know by itself."""

    database_instance: str | None = Field(
        default=None, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$", description="The database's identifier in RDS."
    )
    least_free_gib: float = Field(default=5, ge=0, le=10_000, description="Space that a release needs, in GiB.")


class Provision(Section):
    """What `provision` gives to the roots `account` and `environment` beside the common variables."""

    account: dict[str, object] = Field(default={})
    environment: dict[str, object] = Field(default={})

    def listed(self, variable: str) -> tuple[str, ...]:
        """Return a list of the root `account`; nothing where there is none, or Terraform will refuse what is there."""
        given = self.account.get(variable)
        return tuple(map(str, given)) if isinstance(given, list) else ()


class Timing(Section):
    """Polls, heartbeats and deadlines, in seconds."""

    poll: Seconds = 2.0
    heartbeat: Seconds = 10.0
    lease_expiry: Seconds = Field(
        default=100.0,
        validation_alias=AliasChoices("lease_expiry", "hold_expiry"),  # the latter is its name of before
        description="How long the environment stays ours without a heartbeat.",
    )
    aws_connect_timeout: Seconds = 3.0
    aws_read_timeout: Seconds = 10.0
    aws_attempts: int = Field(default=3, ge=1, le=10)
    vacate: Seconds = 300.0
    start: Seconds = 600.0
    terraform: Seconds = 1_200.0
    build: Seconds = 3_600.0
    prebuilt: Seconds = Field(
        default=1_800.0, description='How long a release waits for its image where image.image_source is "prebuilt".'
    )
    scan: Seconds = Field(
        default=300.0, description="How long a release waits for ECR's scan, where image.refuse_findings asks for it."
    )
    return_to_live: Seconds = 300.0
    queue_poll: Seconds = 2.0
    rollback_window: Seconds = 3_600.0
    consistency: Seconds = Field(default=5.0, description="How long a read of AWS may lag behind a write of ours.")
    log_arrival: Seconds = Field(default=30.0, description="How late the last line of a stopped task may arrive.")
    log_quiet: Seconds = Field(
        default=5.0, description="How long a stopped task's log must be silent before it counts as complete."
    )
    checks: Seconds = Field(default=1_800.0, description="How long a release waits for `source.checks`.")
    checks_poll: Seconds = Field(default=10.0, description="How often GitHub is asked for them.")
    reconcile_every: Seconds = 15.0
    identify: Seconds = Field(default=10.0, description="How long a candidate may answer wrongly before traffic comes.")
    confirm: Seconds = Field(default=30.0, description="How long each address may answer wrongly after weights moved.")
    weights_settle: Seconds = Field(
        default=15.0,
        description="How long each address answers from the winner before what lost its weight is stopped.",
    )

    @property
    def longest_call(self) -> float:
        """The longest that one AWS call can take with its retries and the pauses between them.

        https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html: at most 2^n, and 20 seconds.
        """
        pauses: int = sum(min(2**n, 20) for n in range(self.aws_attempts - 1))
        return self.aws_attempts * (self.aws_connect_timeout + self.aws_read_timeout) + float(pauses)

    @model_validator(mode="after")
    def _hold_outlasts_a_call(self) -> Self:
        if self.lease_expiry <= self.longest_call + self.heartbeat:
            raise ValueError(
                f"lease_expiry ({self.lease_expiry:g} s) must be longer than the longest AWS call and a heartbeat "
                f"together ({self.longest_call + self.heartbeat:g} s), or a holder could write after its lease ended"
            )
        return self


class EnvironmentSettings(Section):
    """One environment: `environments/<stage>.toml`."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    aws_account_number: str = Field(pattern=r"^\d{12}$")
    namespace: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    stage: str = Field(pattern=_STAGE)
    state_bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    queue: Literal["newest", "in-order"] = "newest"
    prereleases: bool = Field(default=False, description="Whether versions such as v2.0.0-rc.1 are released here.")
    retire_on_schedule: bool = Field(default=True, description="Whether `retire` runs every 15 minutes by itself.")
    drift_on_schedule: bool = Field(default=True, description="Whether `drift` runs every hour by itself.")
    aws: Aws = Aws()
    docker: Docker = Docker()
    source: Source
    image: Image = Image()
    service: Service = Service()
    migration: Migration = Migration()
    smoke: Smoke = Smoke()
    traffic: Traffic = Traffic()
    ports: Ports = Ports()
    approval: Approval = Approval()
    provision: Provision = Provision()
    preflight: Preflight = Preflight()
    timing: Timing = Timing()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
        longest = f"{self.name}-{self.stage}-green"
        if len(longest) > 32:
            raise ValueError(f"target groups are named like {longest!r}: {len(longest)} of at most 32 characters")
        return self

    @model_validator(mode="after")
    def _secrets_of_the_migration_are_none_of_the_variables(self) -> Self:
        refuse_names(self.service.variables, self.migration.secrets)
        return self

    @model_validator(mode="after")
    def _containers_can_start(self) -> Self:
        refuse_dependencies(self.name, self.service, self.service.containers)
        return self

    @model_validator(mode="after")
    def _secrets_are_in_the_region(self) -> Self:
        far = sorted(r.source for r in self.secret_references if r.region not in (None, self.region))
        far += sorted(key for key in self.service.secret_keys if key.split(":")[3] != self.region)
        if far:
            raise ValueError(
                f"{', '.join(far)}: in another region than {self.region}, without which no task would start any more: "
                "replicate it here"
            )
        return self

    @model_validator(mode="after")
    def _no_environment_is_the_account(self) -> Self:
        if self.stage == ACCOUNT:
            raise ValueError(f"the stage {ACCOUNT!r} is reserved: its record is for what all environments share")
        return self

    @model_validator(mode="after")
    def _some_version_is_released(self) -> Self:
        if self.source.tags.only_prereleases and not self.prereleases:
            raise ValueError(
                f"source.tag_pattern {self.source.tag_pattern!r} fits pre-releases alone, and prereleases = false "
                "refuses them"
            )
        return self

    @model_validator(mode="after")
    def _hold_outlasts_a_renewal(self) -> Self:
        # A role's session is renewed inside an arbitrary call, by a call that is bounded alike.
        longest = 2 * self.timing.longest_call + self.timing.heartbeat
        if self.aws.role_arn and self.timing.lease_expiry <= longest:
            raise ValueError(
                f"timing.lease_expiry ({self.timing.lease_expiry:g} s) must be longer than the longest AWS call, the "
                f"renewal of the role's session before it and a heartbeat together ({longest:g} s)"
            )
        return self

    @model_validator(mode="after")
    def _a_redirect_is_followed(self) -> Self:
        if self.provision.environment.get("http_redirect") is True and not self.traffic.https:
            raise ValueError(
                "provision.environment.http_redirect needs traffic.https = true: releases would be proven on the "
                "HTTP listener, which only redirects"
            )
        return self

    @model_validator(mode="after")
    def _tags_are_texts(self) -> Self:
        tags = self.provision.environment.get("tags", {})
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            raise ValueError('provision.environment.tags must be a table of texts, such as { CostCentre = "platform" }')
        return self

    @model_validator(mode="after")
    def _a_slot_is_drained_in_time(self) -> Self:
        delay = self.provision.environment.get("deregistration_delay_seconds")
        if isinstance(delay, int | float) and delay >= self.timing.vacate:
            raise ValueError(
                f"timing.vacate ({self.timing.vacate:g} s) must be longer than "
                f"provision.environment.deregistration_delay_seconds ({delay:g} s), or no slot ever drains in time"
            )
        return self

    @model_validator(mode="after")
    def _a_task_stops_in_time(self) -> Self:
        patience = self.service.stop_timeout
        delay = self.provision.environment.get("deregistration_delay_seconds")
        delay = delay if isinstance(delay, int | float) else 0
        if patience is not None and patience + delay >= self.timing.vacate:
            raise ValueError(
                f"timing.vacate ({self.timing.vacate:g} s) must be longer than service.stop_timeout and "
                f"provision.environment.deregistration_delay_seconds together ({patience + delay:g} s), or no slot "
                "ever drains in time"
            )
        return self

    @property
    def tags(self) -> dict[str, str]:
        """What the environment's resources are tagged with beside our own tags; a release's tasks are as well."""
        tags: object = self.provision.environment.get("tags", {})
        return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}

    @property
    def cluster(self) -> str:
        """The ECS cluster's name."""
        return f"{self.namespace}-{self.name}-{self.stage}"

    @property
    def migration_secrets(self) -> dict[str, SecretReference]:
        """The secrets of the migration's task: the service's, and its own in their place."""
        return {**self.service.secrets, **self.migration.secrets}

    @property
    def secret_references(self) -> tuple[SecretReference, ...]:
        """Every secret that a task of this environment is given, each once."""
        beside = (reference for one in self.service.containers for reference in one.secrets.values())
        every = (*self.service.secrets.values(), *self.migration.secrets.values(), *beside)
        return tuple(dict.fromkeys(every))

    def service_name(self, colour: Colour) -> str:
        """The ECS service's name of one colour."""
        return f"{self.name}-{self.stage}-{colour}"

    @property
    def repository(self) -> str:
        """The ECR repository that releases push to once `provision` has run with these settings."""
        shared, own = self.repositories
        chosen = self.provision.account.get("stage_repositories")
        return own if isinstance(chosen, list) and self.stage in chosen else shared

    @property
    def repositories(self) -> tuple[str, str]:
        """The ECR repositories that a release's image may be in: the one that all stages share, and the stage's own.

        A record may name a digest in either, however `stage_repositories` was set when it was pushed.
        """
        shared = f"{self.namespace}/{self.name}"
        return shared, f"{shared}/{self.stage}"


def is_stage(name: str) -> bool:
    """Whether an environment can have this name, which is also its file's."""
    return re.fullmatch(_STAGE, name) is not None and not name.endswith("\n")


def parse_settings(stage: str, text: str) -> EnvironmentSettings:
    """Return the settings in `text` (TOML); raise `Refused` naming each setting that is wrong."""
    where = f"environments/{stage}.toml"
    try:
        given = tomllib.loads(text)
        _refuse_unfilled(where, given)
        settings = EnvironmentSettings.model_validate(given)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{where} is not valid TOML", why=str(error), do="Fix the file.") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
        )
        raise Refused(f"{where} has invalid settings", why=faults, do="Fix the file.") from error
    if settings.stage != stage:
        raise Refused(
            f"{where} is for a different environment",
            why=f"its stage is {settings.stage!r}",
            do=f"Set stage = {stage!r}, or rename the file.",
        )
    return settings


def _refuse_unfilled(where: str, given: Mapping[str, object]) -> None:
    """Raise `Refused` with the name of each setting that a person must still write."""
    unfilled = list(_unfilled(given, ()))
    if unfilled:
        raise Refused(
            f"{where} is not filled in yet",
            why=f"{', '.join(unfilled)} still {'has' if len(unfilled) == 1 else 'have'} {FILL_IN}",
            do="Write what the comment above each line says, then run `python -m flows preflight`.",
        )


def _unfilled(value: object, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, str) and FILL_IN in value:
        yield ".".join(path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unfilled(inner, (*path, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unfilled(inner, (*path, str(number)))
