"""`python -m blocks register <environment>`: create or update an environment's blocks.

Everything that is not secret comes from `environments/<environment>.toml`. Secrets come from these variables, or are
asked for without echo:

    POINTSMAN_WEBHOOK_SECRET      what GitHub signs with
    POINTSMAN_PREVIOUS_WEBHOOK_SECRET
                                  what it signed with before, accepted too until this is set to nothing (optional)
    POINTSMAN_SOURCE_TOKEN        reads a private source repository (optional)
    POINTSMAN_AWS_ACCESS_KEY_ID, POINTSMAN_AWS_SECRET_ACCESS_KEY
                                  a key (optional: a profile, a role or the machine's own identity is better)
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import Any

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from prefect_docker import DockerHost
from pydantic import SecretStr

from blocks.environment import LEAST_SECRET, ReleaseEnvironment, read_settings
from blocks.provision import check_provision
from core.errors import PointsmanError, Refused

__all__ = ["main", "register"]


def register(stage: str) -> list[str]:
    """Create or update the blocks of `stage`; return a line for each, saying what was done."""
    settings = read_settings(stage)
    check_provision(settings)
    prefix = f"{ReleaseEnvironment.PREFIX}-{stage}"
    lines: list[str] = []

    aws, docker = f"{prefix}-aws", f"{prefix}-docker"
    webhook, source = f"{prefix}-webhook-secret", f"{prefix}-source-credentials"
    previous = f"{webhook}-previous"
    old_webhook = _existing(Secret, webhook)
    key_id = os.environ.get("POINTSMAN_AWS_ACCESS_KEY_ID")
    secret_key = os.environ.get("POINTSMAN_AWS_SECRET_ACCESS_KEY")
    if bool(key_id) != bool(secret_key):
        raise Refused(
            "Only half of the AWS key pair is set",
            why="POINTSMAN_AWS_ACCESS_KEY_ID and POINTSMAN_AWS_SECRET_ACCESS_KEY go together",
            do="Set both, or neither.",
        )
    old_aws = _existing(AwsCredentials, aws)
    if key_id is None and old_aws is not None and not settings.aws.profile:
        key_id = old_aws.aws_access_key_id
        secret_key = old_aws.aws_secret_access_key and old_aws.aws_secret_access_key.get_secret_value()

    credentials = AwsCredentials(
        region_name=settings.region,
        profile_name=settings.aws.profile,
        assume_role_arn=settings.aws.role_arn,
        aws_access_key_id=key_id,
        aws_secret_access_key=SecretStr(secret_key) if secret_key else None,
        aws_client_parameters=AwsClientParameters(endpoint_url=settings.aws.endpoint_url),
    )
    lines.append(_save(credentials, aws))
    lines.append(_save(DockerHost(base_url=settings.docker.host), docker))
    lines.append(_save(Secret(value=SecretStr(_webhook_secret(stage, old_webhook))), webhook))
    if before := os.environ.get("POINTSMAN_PREVIOUS_WEBHOOK_SECRET"):
        lines.append(_save(Secret(value=SecretStr(usable_secret(stage, before))), previous))
    if token := os.environ.get("POINTSMAN_SOURCE_TOKEN"):
        lines.append(_save(Secret(value=SecretStr(token)), source))
    environment = ReleaseEnvironment(
        stage=stage,
        aws_credentials=_existing(AwsCredentials, aws),
        docker_host=_existing(DockerHost, docker),
        webhook_secret=_existing(Secret, webhook),
        previous_webhook_secret=_existing(Secret, previous) if _accepts_previous(before, prefix) else None,
        source_credentials=_existing(Secret, source),
    )
    lines.append(_save(environment, prefix))
    return lines


def _webhook_secret(stage: str, old: Any) -> str:
    given = os.environ.get("POINTSMAN_WEBHOOK_SECRET")
    if given is None and old is not None:
        return usable_secret(stage, str(old.value.get_secret_value()))
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"Webhook secret of {stage} (not shown): ")
    if not given:
        raise Refused(
            f"The webhook secret of {stage} is not set",
            why="deliveries could not be distinguished from forgeries",
            do="Set POINTSMAN_WEBHOOK_SECRET to the secret of the GitHub webhook.",
        )
    return usable_secret(stage, given)


def _accepts_previous(given: str | None, environment: str) -> bool:
    """Whether a previous secret is accepted: as it is given, or as it was where nothing is."""
    if given is not None:
        return bool(given)
    old = _existing(ReleaseEnvironment, environment)
    return old is not None and old.previous_webhook_secret is not None


def usable_secret(stage: str, secret: str) -> str:
    """Return a webhook secret that is long enough not to be guessed; raise `Refused` for another."""
    if len(secret) < LEAST_SECRET:
        raise Refused(
            f"The webhook secret of {stage} is too short",
            why=f"it has {len(secret)} characters, and one of fewer than {LEAST_SECRET} could be guessed",
            do="Make one with `openssl rand -hex 32`, and give the same one to GitHub.",
        )
    return secret


def _existing(kind: type[Block], name: str) -> Any:
    try:
        return kind.load(name)
    except ValueError:
        return None


def _save(block: Block, name: str) -> str:
    old = _existing(type(block), name)
    if old is not None and _plain(old) == _plain(block):
        return f"{block.get_block_type_slug()}/{name}: unchanged"
    block.save(name, overwrite=True)
    return f"{block.get_block_type_slug()}/{name}: {'updated' if old is not None else 'created'}"


def _plain(block: Block) -> dict[str, Any]:
    """Return the block's values with secrets in plain, to compare."""
    values = block.model_dump(mode="json", context={"include_secrets": True})
    return {name: value for name, value in values.items() if not name.startswith(("_", "block_type_slug"))}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m blocks", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("register", help="create or update an environment's blocks")
    command.add_argument("environment")
    asked = parser.parse_args(arguments)
    try:
        print("\n".join(register(asked.environment)))
    except PointsmanError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
