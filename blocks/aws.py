"""boto3 sessions out of prefect-aws's credentials block, with a role's session refreshing itself."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

if TYPE_CHECKING:
    from prefect_aws import AwsCredentials

__all__ = ["issued_variables", "refreshing_session"]


def refreshing_session(credentials: AwsCredentials, config: Config) -> boto3.Session:
    """Return a session for the block; a role's session renews itself before it ends, by calls bounded by `config`.

    prefect-aws assumes a role once, so a rollback after an hour of baking would have no rights left.
    """
    if not credentials.assume_role_arn:
        return credentials.get_boto3_session()
    inner = botocore.session.get_session()
    inner._credentials = DeferredRefreshableCredentials(
        refresh_using=_fetcher(credentials, config).fetch_credentials, method="assume-role"
    )
    return boto3.Session(botocore_session=inner, region_name=credentials.region_name)


def issued_variables(credentials: AwsCredentials, config: Config) -> dict[str, str]:
    """Return the variables that give a child process the block's identity, freshly issued where a role is assumed."""
    variables: dict[str, str] = {}
    if credentials.assume_role_arn:
        issued = _fetcher(credentials, config).fetch_credentials()
        keys = (issued["access_key"], issued["secret_key"], issued["token"])
    else:
        frozen = credentials.get_boto3_session().get_credentials()
        now = frozen.get_frozen_credentials() if frozen else None
        keys = (now.access_key, now.secret_key, now.token) if now else (None, None, None)
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), keys, strict=True):
        if value:
            variables[name] = value
    if credentials.region_name:
        variables["AWS_REGION"] = credentials.region_name
    if endpoint := credentials.aws_client_parameters.endpoint_url:
        variables |= {"AWS_ENDPOINT_URL": endpoint, "AWS_S3_USE_PATH_STYLE": "true"}
    return variables


def _fetcher(credentials: AwsCredentials, config: Config) -> AssumeRoleCredentialFetcher:
    base = credentials.model_copy(update={"assume_role_arn": None}).get_boto3_session()
    endpoint = credentials.aws_client_parameters.endpoint_url

    def create_client(service: str, **arguments: Any) -> Any:
        return base._session.create_client(service, endpoint_url=endpoint, config=config, **arguments)

    asked = cast(dict[str, Any], credentials.assume_role_kwargs.get_params_override())
    asked.setdefault("RoleSessionName", f"pointsman-{uuid.uuid4().hex[:8]}")
    return AssumeRoleCredentialFetcher(
        client_creator=create_client,
        source_credentials=base.get_credentials(),
        role_arn=credentials.assume_role_arn,
        extra_args=asked,
    )
