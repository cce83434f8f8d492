"""The versions of an object in the state bucket: listed, read, and one written again as the newest.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core.errors import Permanent, PointsmanError, Refused
from core.lease import HeldLease
from core.state_restoration import StoredVersion
from systems.aws import aws_errors, has_code

__all__ = ["StateVersions"]

_RESTORED_FROM = "pointsman-restored-from"


@dataclass(frozen=True)
class StateVersions:
    """The objects of one state bucket, which `account` must own."""

    s3: Any
    bucket: str
    account: str

    @property
    def _named(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.account}

    def newest(self, key: str) -> StoredVersion | None:
        """Return an object as it is now, or the marker of its deletion; None where it has no version at all."""
        return next(iter(self.read(key, limit=1)), None)

    def read(self, key: str, *, limit: int) -> list[StoredVersion]:
        """Return the newest `limit` versions with their contents, the newest first."""
        return [self._read(entry) for entry in islice(self._entries(key), limit)]

    def write(
        self, key: str, content: bytes, over: StoredVersion | None, *, copy_of: str, lease: HeldLease | None
    ) -> str:
        """Write `content` as the newest version, if `over` still is that; return its version id.

        Without a lease for a record that cannot be read, since then nobody can have one.
        Raises `Refused` where the object changed since `over` was read, and `UnknownOutcome` where S3 stays silent.
        """
        unchanged = {"IfMatch": over.etag} if over is not None and over.etag else {"IfNoneMatch": "*"}
        if lease is not None:
            lease.assert_held()
        try:
            with aws_errors(f"writing s3://{self.bucket}/{key}", writes=True):
                answer = self.s3.put_object(
                    **self._named,
                    Key=key,
                    Body=content,
                    ContentType="application/json",
                    Metadata={_RESTORED_FROM: copy_of},
                    **unchanged,
                )
            return str(answer.get("VersionId", ""))
        except PointsmanError as error:
            # An answer that was lost, or that met the write that it repeats: what is there tells.
            now = self.newest(key)
            if now is not None and now.content == content and now.restored_from == copy_of:
                return now.id
            if has_code(error, "PreconditionFailed") or has_code(error, "NoSuchKey"):
                raise Refused(
                    f"s3://{self.bucket}/{key} was not written",
                    why="it changed since it was looked at",
                    do="Look again at what is there now: run the same command.",
                ) from error
            raise

    def _entries(self, key: str) -> Iterator[dict[str, Any]]:
        """Yield the object's entries, newest first; what only begins with its key, as its lock does, comes after it."""
        place: dict[str, str] = {}
        while True:
            with aws_errors(f"listing the versions of s3://{self.bucket}/{key}"):
                page = self.s3.list_object_versions(**self._named, Prefix=key, **place)
            found = [e for part in ("Versions", "DeleteMarkers") for e in page.get(part, []) if e["Key"] == key]
            yield from sorted(found, key=lambda e: (e.get("IsLatest", False), e["LastModified"]), reverse=True)
            if not page.get("IsTruncated") or page.get("NextKeyMarker") != key:
                return
            place = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _read(self, entry: dict[str, Any]) -> StoredVersion:
        if "ETag" not in entry:
            return StoredVersion(entry["VersionId"], entry["LastModified"], None)
        doing = f"reading version {entry['VersionId']} of s3://{self.bucket}/{entry['Key']}"
        try:
            with aws_errors(doing):
                answer = self.s3.get_object(**self._named, Key=entry["Key"], VersionId=entry["VersionId"])
                content = answer["Body"].read()
        except Permanent as error:
            if not has_code(error, "NoSuchVersion"):
                raise
            return StoredVersion(entry["VersionId"], entry["LastModified"], b"", entry["ETag"])  # it expired just now
        copied = answer.get("Metadata", {}).get(_RESTORED_FROM)
        return StoredVersion(entry["VersionId"], entry["LastModified"], content, answer["ETag"], copied)
