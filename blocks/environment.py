"""The block that ties one environment's credentials together."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import ClassVar, cast

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from prefect_docker import DockerHost
from pydantic import Field, SecretStr

from core.errors import Refused
from core.settings import EnvironmentSettings, is_stage, parse_settings

__all__ = [
    "LEAST_SECRET",
    "PROJECT",
    "ReleaseEnvironment",
    "environment_of_shell",
    "environments_folder",
    "load_environment",
    "read_settings",
]

PROJECT = Path(__file__).resolve().parent.parent

LEAST_SECRET = 16
"""How many characters a webhook secret has at least."""


class ReleaseEnvironment(Block):
    """One environment that Pointsman releases to: who may act in it. What it is made of is in its TOML file."""

    _block_type_name = "Release Environment"
    _block_type_slug = "release-environment"
    _description = "Credentials of one environment; everything that is not secret is in environments/<stage>.toml."

    stage: str = Field(description="The environment's name, and its file's: environments/<stage>.toml.")
    aws_credentials: AwsCredentials = Field(description="Who acts in the AWS account.")
    docker_host: DockerHost = Field(description="The engine that builds and pushes images.")
    webhook_secret: Secret = Field(description="What GitHub signs its deliveries with.")  # type: ignore[type-arg]
    previous_webhook_secret: Secret | None = Field(  # type: ignore[type-arg]
        default=None, description="What GitHub signed with before, while the secret is being changed."
    )
    source_credentials: Secret | None = Field(  # type: ignore[type-arg]
        default=None, description="A token that may read the source repository, if that is private."
    )

    PREFIX: ClassVar[str] = "pointsman"

    def provisioner(self, *, from_shell: bool = False) -> ReleaseEnvironment:
        """Return the block with the identity that makes infrastructure; raise `Refused` if it is the releases' own.

        In an operator's shell that is the operator's: what AWS_PROFILE or AWS_ACCESS_KEY_ID names there, if anything.
        """
        aws = self.settings.aws
        if from_shell and (os.environ.get("AWS_PROFILE") or os.environ.get("AWS_ACCESS_KEY_ID")):
            return self._acting_as(
                profile_name=os.environ.get("AWS_PROFILE"),
                aws_access_key_id=None,
                aws_secret_access_key=None,
                aws_session_token=None,
                assume_role_arn=None,
            )
        if aws.provision_profile is not None:
            # boto3 prefers a key to a profile, so none may be left beside it.
            return self._acting_as(
                profile_name=aws.provision_profile,
                aws_access_key_id=None,
                aws_secret_access_key=None,
                aws_session_token=None,
                assume_role_arn=None,
            )
        if aws.endpoint_url is not None:
            return self._acting_as(assume_role_arn=None)
        if self.aws_credentials.assume_role_arn or self.aws_credentials.aws_access_key_id:
            raise Refused(
                f"What makes infrastructure has no identity of its own in {self.stage}",
                why="it would act as the pipeline, with the role or the key of the releases",
                do="Run it as a command, `python -m flows …`, in a shell with AWS_PROFILE set to an administrator's "
                "profile; or name one of the worker's: provision_profile in [aws].",
            )
        return self

    def acting_in(self, flow: str) -> ReleaseEnvironment:
        """Return the block with the role that a flow acts as, where the settings name one of its own for it."""
        role = self.settings.aws.role_of(flow)
        if role is None or self.aws_credentials.assume_role_arn is None:
            return self
        return self._acting_as(assume_role_arn=role)

    def _acting_as(self, **identity: str | None) -> ReleaseEnvironment:
        human = self.aws_credentials.model_copy(update=identity)
        return self.model_copy(update={"aws_credentials": human})

    @cached_property
    def settings(self) -> EnvironmentSettings:
        """The environment's settings, from its file."""
        return read_settings(self.stage)


def environments_folder() -> Path:
    """Return where the environments' files are: POINTSMAN_ENVIRONMENTS, or `environments/` of this checkout."""
    return Path(os.environ.get("POINTSMAN_ENVIRONMENTS") or PROJECT / "environments")


def read_settings(stage: str) -> EnvironmentSettings:
    """Return the settings of an environment; raise `Refused` for an unknown one, naming those that there are."""
    folder = environments_folder()
    if not is_stage(stage):
        raise Refused(
            f"{stage!r} is not a valid environment name",
            why="a name is 2 to 21 lower-case letters, digits and hyphens, starting with a letter",
            do="Name one of the files in environments/, without its ending.",
        )
    try:
        text = (folder / f"{stage}.toml").read_text()
    except (FileNotFoundError, NotADirectoryError) as error:
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml"))) or "none"
        raise Refused(
            f"The environment {stage!r} does not exist",
            why=f"{folder.name}/ has: {known}",
            do="Name one of these, or add its file.",
        ) from error
    return parse_settings(stage, text)


def load_environment(stage: str) -> ReleaseEnvironment:
    """Return the block of an environment; raise `Refused` where the file or the block is missing."""
    read_settings(stage)
    try:
        loaded = ReleaseEnvironment.load(f"{ReleaseEnvironment.PREFIX}-{stage}")
    except ValueError as error:
        raise Refused(
            f"The block of environment {stage!r} is missing",
            why="Prefect's server knows no release-environment block of that name, or one that it refers to is missing",
            do=f"Run `python -m blocks register {stage}`.",
        ) from error
    return cast(ReleaseEnvironment, loaded)


def environment_of_shell(stage: str) -> ReleaseEnvironment:
    """Return an environment with the AWS identity of this very shell, for a person without a Prefect server.

    It has no webhook secret, and the source token of POINTSMAN_SOURCE_TOKEN if that is set.
    """
    settings = read_settings(stage)
    token = os.environ.get("POINTSMAN_SOURCE_TOKEN")
    return ReleaseEnvironment(
        stage=stage,
        aws_credentials=AwsCredentials(
            region_name=settings.region,
            aws_client_parameters=AwsClientParameters(endpoint_url=settings.aws.endpoint_url),
        ),
        docker_host=DockerHost(base_url=settings.docker.host),
        webhook_secret=Secret(value=SecretStr("")),
        source_credentials=Secret(value=SecretStr(token)) if token else None,
    )
