"""The release record in S3: conditional writes with a nonce, so that a lost answer and a lost race can be told apart.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from core.errors import Permanent, Refused, Transient, UnknownOutcome
from core.history import VersionRecord
from core.record import EnvironmentRecord
from core.upgrade import upgrade
from systems.aws import aws_errors, classify, has_code

__all__ = ["RecordStore", "StateBucket", "bucket_faults", "ensure_state_bucket"]

R = TypeVar("R", EnvironmentRecord, VersionRecord)

# A lost race or a lost answer is read again and written again at most so often.
_ROUNDS = 12


@dataclass
class _Cached(Generic[R]):
    record: R
    etag: str | None


class RecordStore:
    """The records of one environment. Safe to use from several threads of one process.

    With `account` S3 refuses to read from, and to write into, a bucket of that name that another account owns.
    """

    def __init__(self, s3: Any, bucket: str, environment: str, account: str | None = None) -> None:
        self._s3, self._bucket, self.environment_name = s3, bucket, environment
        self._named = {"Bucket": bucket, **({"ExpectedBucketOwner": account} if account else {})}
        self._lock = threading.RLock()
        self._cache: dict[str, _Cached[Any]] = {}

    @property
    def newest(self) -> EnvironmentRecord:
        """The environment's record as this process read or wrote it last; an empty one before its first look.

        There is no other copy: the heartbeat's thread and the run read the same one.
        """
        with self._lock:
            known = self._cache.get(self._environment_key)
            return known.record if known else self._empty_environment()

    def environment(self) -> EnvironmentRecord:
        """Return what is live and who holds it, read now; an empty record where there is none yet."""
        with self._lock:
            return self._read(self._environment_key, self._empty_environment).record

    def change_environment(self, change: Callable[[EnvironmentRecord], EnvironmentRecord]) -> EnvironmentRecord:
        """Apply `change` to the record and write it; `change` runs again on the newer record after a lost race.

        Raises `UnknownOutcome` if S3 stays silent, and whatever `change` raises.
        """
        return self._change(self._environment_key, self._empty_environment, change)

    def version(self, version: str) -> VersionRecord | None:
        """Return a version's history, read now, or None if it was never attempted here."""
        with self._lock:
            found = self._read(self._version_key(version), lambda: self._empty_version(version, ""))
            return found.record if found.etag else None

    def change_version(
        self, version: str, commit: str, change: Callable[[VersionRecord], VersionRecord]
    ) -> VersionRecord:
        """Apply `change` to a version's history, begun with `commit` if there is none, and write it."""
        return self._change(self._version_key(version), lambda: self._empty_version(version, commit), change)

    @property
    def _environment_key(self) -> str:
        return f"releases/{self.environment_name}/environment.json"

    def _version_key(self, version: str) -> str:
        return f"releases/{self.environment_name}/{version}.json"

    def _empty_environment(self) -> EnvironmentRecord:
        return EnvironmentRecord(environment=self.environment_name)

    def _empty_version(self, version: str, commit: str) -> VersionRecord:
        return VersionRecord(environment=self.environment_name, version=version, commit=commit)

    def _read(self, key: str, empty: Callable[[], R]) -> _Cached[R]:
        try:
            with aws_errors(f"reading s3://{self._bucket}/{key}"):
                answer = self._s3.get_object(**self._named, Key=key)
                body = answer["Body"].read()
        except Permanent as error:
            if has_code(error, "NoSuchKey"):
                cached = _Cached(empty(), None)
                self._cache[key] = cached
                return cached
            raise
        try:
            record = type(empty()).model_validate(upgrade(body))
        except (ValidationError, ValueError) as error:
            raise Refused(
                f"The record s3://{self._bucket}/{key} cannot be read",
                why=f"it was written by another version of Pointsman, or by hand: {_first_line(error)}",
                do="Use the Pointsman that wrote it, or restore the object's last good version in S3.",
            ) from error
        cached = _Cached(record, answer["ETag"])
        self._cache[key] = cached
        return cached

    def _change(self, key: str, empty: Callable[[], R], change: Callable[[R], R]) -> R:
        with self._lock:
            current: _Cached[R] = self._cache.get(key) or self._read(key, empty)
            failure: Exception | None = None
            nonces: set[str] = set()
            for round_ in range(_ROUNDS):
                wanted = change(current.record)
                if wanted == current.record:
                    return wanted
                nonce = uuid.uuid4().hex
                nonces.add(nonce)
                wanted, body = self._readable(key, wanted, nonce)
                try:
                    etag = self._put(key, body, current.etag)
                except (ClientError, BotoCoreError) as error:
                    failure = error
                    if not _worth_another_look(error, conditional=current.etag is not None):
                        raise classify(error, f"writing s3://{self._bucket}/{key}", writes=True) from error
                    time.sleep(min(1.0, 0.02 * 2**round_) * random.random())
                    try:
                        current = self._read(key, empty)
                    except (Transient, UnknownOutcome):
                        continue
                    # Our write arrived although its answer did not, or a repeat of it met the first.
                    if current.record.nonce in nonces:
                        return current.record
                    continue
                self._cache[key] = _Cached(wanted, etag)
                return wanted
            raise UnknownOutcome(
                f"The record s3://{self._bucket}/{key} could not be written",
                why=str(failure),
                do="The last write may or may not have arrived; `status` shows the current state.",
            ) from failure

    def _readable(self, key: str, record: R, nonce: str) -> tuple[R, bytes]:
        """Return a record under the name of this write, and its JSON, seen to be one that can be read again."""
        try:
            named = record.with_nonce(nonce)
            body = named.model_dump_json(by_alias=True, indent=1)
            type(record).model_validate(upgrade(body))
        except ValidationError as error:
            # Nobody could read the environment any more, which is worse than any write that is missing.
            raise Permanent(
                f"The record s3://{self._bucket}/{key} was not written",
                why=f"it could not be read: {_first_line(error)}",
            ) from error
        return named, body.encode()

    def _put(self, key: str, body: bytes, etag: str | None) -> str:
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        answer = self._s3.put_object(
            **self._named,
            Key=key,
            Body=body,
            ContentType="application/json",
            **condition,
        )
        return str(answer["ETag"])


def _first_line(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def _worth_another_look(error: Exception, *, conditional: bool) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        # 412: the object is another; 409: another conditional write is under way; 404 to If-Match: it was deleted
        deleted = conditional and error.response.get("Error", {}).get("Code") == "NoSuchKey"
        return deleted or status in (409, 412, 429) or status >= 500
    return True


@dataclass(frozen=True)
class StateBucket:
    """The bucket of state and records, and whose it must be."""

    name: str
    region: str
    account: str

    @property
    def named(self) -> dict[str, str]:
        """What every call names it by; S3 refuses the call if another account owns it."""
        return {"Bucket": self.name, "ExpectedBucketOwner": self.account}


# The record of an environment is written every few seconds while somebody works, and each write leaves a version.
# Old versions are kept for so long, and the newest of each object for ever: a lost state is restored from them.
_KEPT_DAYS, _KEPT_VERSIONS = 90, 20
_EXPIRY = {
    "Rules": [
        {
            "ID": f"pointsman-old-versions-of-{prefix.rstrip('/')}",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "NoncurrentVersionExpiration": {"NoncurrentDays": _KEPT_DAYS, "NewerNoncurrentVersions": _KEPT_VERSIONS},
        }
        for prefix in ("releases/", "terraform/")
    ]
}

_CLOSED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


def ensure_state_bucket(s3: Any, bucket: StateBucket) -> bool:
    """Make the state bucket, versioned, encrypted and closed to the public; return whether it was made.

    Old versions of records and states expire there. One that exists is taken as it is.
    Raises `Refused` if it is not versioned or not closed.
    """
    with aws_errors(f"looking at the state bucket {bucket.name}"):
        exists = bucket.name in {b["Name"] for b in s3.list_buckets()["Buckets"]}
        if exists and not _is_left_behind(s3, bucket):
            _refuse_unsafe(s3, bucket)
            return False
    with aws_errors(f"setting up the state bucket {bucket.name}", writes=True):
        if not exists:
            _create(s3, bucket)
        s3.put_public_access_block(**bucket.named, PublicAccessBlockConfiguration=_CLOSED)
        s3.put_bucket_encryption(
            **bucket.named,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        s3.put_bucket_lifecycle_configuration(**bucket.named, LifecycleConfiguration=_EXPIRY)
        # Last: a versioned bucket is one that is finished.
        s3.put_bucket_versioning(**bucket.named, VersioningConfiguration={"Status": "Enabled"})
    return True


def _create(s3: Any, bucket: StateBucket) -> None:
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": bucket.region}}
    s3.create_bucket(Bucket=bucket.name, **({} if bucket.region == "us-east-1" else elsewhere))


def _is_left_behind(s3: Any, bucket: StateBucket) -> bool:
    """Whether an earlier run ended between making the bucket and finishing it: never versioned, and empty."""
    versioning = s3.get_bucket_versioning(**bucket.named).get("Status")
    return versioning is None and not s3.list_objects_v2(**bucket.named, MaxKeys=1).get("KeyCount")


def _refuse_unsafe(s3: Any, bucket: StateBucket) -> None:
    faults = bucket_faults(s3, bucket)
    if faults:
        raise Refused(
            f"The state bucket {bucket.name} is not safe",
            why="; ".join(faults),
            do="Fix it as docs/production.md describes; `provision` does not change an existing bucket.",
        )


def bucket_faults(s3: Any, bucket: StateBucket) -> list[str]:
    """Return what speaks against keeping state and records in an existing bucket."""
    faults = []
    if s3.get_bucket_versioning(**bucket.named).get("Status") != "Enabled":
        faults.append("it is not versioned, so a lost state or record could not be recovered")
    if not _is_closed(s3, bucket):
        faults.append("its public access block does not have all four settings turned on")
    return faults


def _is_closed(s3: Any, bucket: StateBucket) -> bool:
    try:
        found = s3.get_public_access_block(**bucket.named)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchPublicAccessBlockConfiguration":
            return False
        raise
    return all(found.get(point) for point in _CLOSED)
