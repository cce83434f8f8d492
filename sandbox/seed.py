"""What the sandbox's AWS account holds before the first flow: the state bucket, the worker's role and the secret.

On AWS a person makes them once, with own credentials; here `up` does, and changes nothing that fits.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from core.errors import Permanent
from sandbox.postgres import APPLICATION_DATABASE, database_url
from sandbox.settings import ACCOUNT, ADMINISTRATOR, REGION, ROLES, SECRET_NAME, STATE_BUCKET, WORKER, Settings

__all__ = ["seed"]

WORKER_ROLE = "release-worker"


def seed(settings: Settings) -> None:
    """Create the state bucket, the worker's role and the secret in the emulator, or set right those that are there."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from systems.records import StateBucket, ensure_state_bucket

    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    options = {
        "endpoint_url": settings.aws_url,
        "config": Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}, proxies={}),
    }
    url = database_url(settings, APPLICATION_DATABASE, host=settings.bridge)
    try:
        ensure_state_bucket(session.client("s3", **options), StateBucket(STATE_BUCKET, REGION, ACCOUNT))
        create_worker_role(session.client("iam", **options), WORKER_ROLE)
        put_secret(session.client("secretsmanager", **options), SECRET_NAME, {"SECRET_DATABASE_URL": url})
        if settings.auth:
            write_profiles(settings, create_worker(session.client("iam", **options)))
    except (BotoCoreError, ClientError) as error:
        raise Permanent(
            f"The state bucket and the secret can't be made in the emulator at {settings.aws_url}",
            why=str(error),
            do=f"Its log: {settings.directories.logs / 'aws.log'}",
        ) from error


def create_worker_role(iam: Any, name: str) -> None:
    """Make the role of the machine that releases: AWS takes no trust policy that names one it does not know."""
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)


def create_worker(iam: Any) -> tuple[str, str]:
    """Make a user who may do nothing but assume the sandbox's roles; return id and secret of its only key."""
    try:
        iam.create_user(UserName=WORKER)
    except iam.exceptions.EntityAlreadyExistsException:
        for known in iam.list_access_keys(UserName=WORKER)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=WORKER, AccessKeyId=known["AccessKeyId"])
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": sorted(ROLES.values())}
    iam.put_user_policy(
        UserName=WORKER,
        PolicyName="assume-roles",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [assume]}),
    )
    key = iam.create_access_key(UserName=WORKER)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def write_profiles(settings: Settings, key: tuple[str, str]) -> None:
    """Write the credentials file from which the worker's processes take both identities."""
    profiles = {ADMINISTRATOR: ("test", "test"), WORKER: key}
    text = "".join(
        f"[{name}]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
        for name, (key_id, secret) in profiles.items()
    )
    settings.directories.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(settings.aws_credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def put_secret(secrets: Any, name: str, content: dict[str, str]) -> None:
    """Keep this JSON object in the secret of that name: a version is written only where the content differs."""
    wanted = json.dumps(content)
    try:
        there = secrets.get_secret_value(SecretId=name)["SecretString"]
    except secrets.exceptions.ResourceNotFoundException:
        secrets.create_secret(Name=name, SecretString=wanted)
        return
    if there != wanted:
        secrets.put_secret_value(SecretId=name, SecretString=wanted)
