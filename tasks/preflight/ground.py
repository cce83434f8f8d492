"""What the looks of one preflight share: the run, who may read more than it, and what was read already."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from core.errors import PointsmanError, Refused
from core.preflight.judgement import Judgement
from core.record import EnvironmentRecord, Infrastructure
from core.settings import EnvironmentSettings
from operation.operation import Operation
from systems.aws import AwsClients
from systems.identity import Caller, read_caller
from systems.records import StateBucket
from systems.state_bucket import bucket_region, read_outputs

__all__ = ["Ground", "Look"]

T = TypeVar("T")

Look = Callable[["Ground"], Judgement]


@dataclass
class Ground:
    """One preflight's ground. Safe to use from several threads: what two looks need is read once."""

    operation: Operation
    checkout: Path | None = None
    """The source's files, where they are at hand."""
    by_a_person: bool = False
    """Whether a person's own credentials look, and not those of the releases."""
    _known: dict[str, tuple[object, Exception | None]] = field(default_factory=dict, repr=False)
    _locks: dict[str, threading.Lock] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def settings(self) -> EnvironmentSettings:
        """The environment's settings."""
        return self.operation.settings

    @property
    def releases(self) -> AwsClients:
        """The clients of the releases."""
        return self.operation.aws

    @property
    def reader(self) -> AwsClients:
        """The clients of `provision`, who may read what no release may; those of the releases where it has none."""

        def provisioner() -> AwsClients:
            with suppress(Refused):
                return AwsClients(self.operation.block.provisioner())
            return self.releases

        return self.releases if self.by_a_person else self.once("reader", provisioner)

    @property
    def bucket(self) -> StateBucket:
        """The state bucket."""
        return StateBucket(self.settings.state_bucket, self.settings.region, self.settings.aws_account_number)

    def caller(self) -> Caller:
        """Return who the releases are to AWS."""
        return self.once("caller", lambda: read_caller(self.releases("sts")))

    def record(self) -> EnvironmentRecord:
        """Return the environment's record."""
        return self.once("record", self.operation.records.environment)

    def infrastructure(self) -> Infrastructure | None:
        """Return what `provision` made; None before it did."""
        return self.operation.infrastructure if self.record().infrastructure is not None else None

    def outputs(self) -> dict[str, Any]:
        """Return what the root `environment` put out."""
        return self.once("outputs", lambda: read_outputs(self.releases("s3"), self.bucket, self.settings.stage))

    def bucket_region(self) -> str | None:
        """Return the state bucket's region; None where S3 does not say."""
        return self.once("bucket region", lambda: bucket_region(self.releases("s3"), self.settings.state_bucket))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time, or raise what it raised."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._known:
                try:
                    self._known[name] = (make(), None)
                except PointsmanError as error:
                    self._known[name] = (None, error)
            value, error_before = self._known[name]
        if error_before is not None:
            raise error_before
        return cast(T, value)
