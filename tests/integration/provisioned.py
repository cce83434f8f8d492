"""An account and an environment as `provision` makes them, with authorization in force, and their roles at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from tests.integration.roots import Applied, common, terraform_environment
from tests.integration.stand import REGION, Emulator, free_port, running

ACCOUNT = "000000000000"
BUCKET = "cursive-team-connections-state"
SECRET = "cursive-team/connections/sandbox"
SHARED = "cursive-team-connections"
STAGE = f"{SHARED}-sandbox"


@dataclass
class Provisioned:
    """What the roots made, and clients that act as one of their roles."""

    aws: Emulator
    directory: Path
    account: dict[str, Any]
    outputs: dict[str, Any]
    issued: dict[str, dict[str, str]] = field(default_factory=dict)

    def client(self, service: str, role: str = "pipeline") -> Any:
        """Return a client of the role with its session: `pipeline`, `reconciler` or `operator`."""
        keys = self.keys(role)
        return boto3.client(
            service,
            endpoint_url=self.aws.url,
            region_name=REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
        )

    def keys(self, role: str) -> dict[str, str]:
        """Return a session of the role, which the worker assumed."""
        if role not in self.issued:
            key = self.issued["worker"]
            sts = self.aws.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
            issued = sts.assume_role(RoleArn=self.role_arn(role), RoleSessionName="session")
            self.issued[role] = issued["Credentials"]
        return self.issued[role]

    def role_arn(self, role: str) -> str:
        """Return the ARN of a role of the sandbox's stage, or of the account's operator."""
        return f"arn:aws:iam::{ACCOUNT}:role/{SHARED if role == 'operator' else STAGE}-{role}"

    def calls(self, role: str) -> dict[str, dict[str, Any]]:
        """Return what a role asked for, by action."""
        listed = httpx.get(f"{self.aws.url}/_pointsman/calls", trust_env=False).json()["calls"]
        name = self.role_arn(role).rpartition(":")[2]
        return {call["action"]: call for call in listed if call["principal"] == name}


@contextmanager
def provisioned_account(directory: Path) -> Iterator[Provisioned]:
    """Run an emulator that checks authorization, and apply the roots `account` and `environment` in it."""
    with running(directory, AUTH="true") as aws:
        aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        aws.secretsmanager.create_secret(
            Name=SECRET, SecretString=json.dumps({"SECRET_DATABASE_URL": "postgresql://x"})
        )
        user = aws.iam.create_user(UserName="worker")["User"]["Arn"]
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws.iam.put_user_policy(UserName="worker", PolicyName="assume", PolicyDocument=document)
        administrator = terraform_environment(aws.url, "test", "test")
        account = Applied(administrator, "account", directory).apply(
            **common(ACCOUNT),
            stages=["sandbox", "production"],
            stage_repositories=["sandbox", "production"],
            application_actions=[],
            state_bucket=BUCKET,
            github_repository="cursive-team/connections",
            operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
            pipeline_principal_arns=[user],
        )
        outputs = Applied(administrator, "environment", directory).apply(
            **common(ACCOUNT),
            stage="sandbox",
            pipeline_role_name=f"{STAGE}-pipeline",
            reconciler_role_name=f"{STAGE}-reconciler",
            permissions_boundary_arn=account["task_permissions_boundary_arn"],
            secret_names=[SECRET],
            production_listener_port=free_port(),
            test_listener_ports={"blue": free_port(), "green": free_port()},
            test_listener_cidrs=["127.0.0.0/8"],
            listener_weights={"blue": 100, "green": 0},
            deletion_protection=False,
        )
        made = Provisioned(aws, directory, account, outputs)
        made.issued["worker"] = aws.iam.create_access_key(UserName="worker")["AccessKey"]
        yield made
