"""The state bucket, to read: whether it is there, its settings, and what Terraform put out into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from core.errors import Permanent
from systems.aws import aws_errors, has_code
from systems.records import StateBucket
from systems.terraform import state_key

__all__ = ["BucketSettings", "bucket_region", "read_outputs"]


def bucket_region(s3: Any, bucket: str) -> str | None:
    """Return a bucket's region, which S3 says even where it denies the call; None where it does not say.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
    """
    try:
        with aws_errors(f"looking at the bucket {bucket}"):
            answer = s3.head_bucket(Bucket=bucket)
    except Permanent as error:
        if not isinstance(error.__cause__, ClientError):
            raise
        answer = error.__cause__.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
    return str(region) if region else None


def read_outputs(s3: Any, bucket: StateBucket, environment: str) -> dict[str, Any]:
    """Return what the root `environment` put out, as its state has it; nothing before it was applied."""
    try:
        with aws_errors("reading the environment's state"):
            body = s3.get_object(**bucket.named, Key=state_key(environment, "environment"))["Body"].read()
    except Permanent as error:
        if has_code(error, "NoSuchKey"):
            return {}
        raise
    return {name: output.get("value") for name, output in json.loads(body).get("outputs", {}).items()}


@dataclass(frozen=True)
class BucketSettings:
    """The settings of the state bucket, each read when it is asked for."""

    s3: Any
    bucket: StateBucket

    def versioning(self) -> str | None:
        """Return its versioning's status; None for one that never had any."""
        with aws_errors("reading the bucket's versioning"):
            status = self.s3.get_bucket_versioning(**self.bucket.named).get("Status")
        return str(status) if status else None

    def public_access_block(self) -> dict[str, bool] | None:
        """Return its public access block."""
        found = self._read(self.s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration")
        return found.get("PublicAccessBlockConfiguration")

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        """Return its lifecycle rules."""
        found = self._read(self.s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration")
        return list(found.get("Rules", []))

    def _read(self, call: Callable[..., dict[str, Any]], absent: str) -> dict[str, Any]:
        try:
            with aws_errors("reading the bucket's settings"):
                return call(**self.bucket.named)
        except Permanent as error:
            if has_code(error, absent):
                return {}
            raise
