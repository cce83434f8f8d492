"""Which version of a lost or broken environment record to restore: the last one that knew something."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from core.errors import Refused
from core.record import EnvironmentRecord
from core.state_restoration import StoredVersion
from core.upgrade import upgrade

__all__ = ["RecordCandidate", "RecordSurvey", "survey_record"]


@dataclass(frozen=True)
class RecordCandidate:
    """A version of a record, and why it cannot be restored, if so."""

    version: StoredVersion
    record: EnvironmentRecord | None
    faults: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it can be restored."""
        return self.record is not None and not self.faults

    @property
    def rank(self) -> tuple[int, datetime]:
        """What makes it better than another that fits: each lease raises the fencing token."""
        return self.record.fencing_token if self.record else -1, self.version.at

    def __str__(self) -> str:
        return "; ".join([*self.faults, *(_contents(self.record) if self.record else ())])


@dataclass(frozen=True)
class RecordSurvey:
    """The versions of an environment's record, newest first."""

    environment: str
    candidates: tuple[RecordCandidate, ...]

    @property
    def newest(self) -> RecordCandidate | None:
        """The record as it is now."""
        return self.candidates[0] if self.candidates else None

    @property
    def proposed(self) -> RecordCandidate | None:
        """The version that fits best, or None."""
        return max((c for c in self.candidates if c.fits), key=lambda c: c.rank, default=None)

    @property
    def trouble(self) -> str:
        """What is wrong with the record as it is now, in words."""
        newest = self.newest
        if newest is None:
            return "it has no version at all"
        if newest.version.deleted:
            return f"it was deleted at {newest.version.at:%Y-%m-%d %H:%M:%S %Z}"
        if newest.faults:
            return "; ".join(newest.faults)
        return "nothing" if self.proposed is newest else "an older one was put back"

    @property
    def readable(self) -> bool:
        """Whether flows can read it, so that one of them may hold it; a missing one is read as an empty one."""
        return self.newest is None or self.newest.version.deleted or self.newest.record is not None

    @property
    def fencing_token(self) -> int:
        """The highest that any version knows."""
        return max((c.record.fencing_token for c in self.candidates if c.record), default=0)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that differ whenever there is another version."""
        shown = [self.environment, *(c.version.id for c in self.candidates)]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]

    def choose(self, version_id: str | None) -> RecordCandidate | None:
        """Return the version to restore: the one named, else the one that fits best; None where all is well.

        Raises `Refused` for a version that does not fit, and where none does.
        """
        if version_id is None:
            if self.proposed is not None:
                return None if self.proposed is self.newest else self.proposed
            why = "; ".join(f"{c.version.id}: {', '.join(c.faults)}" for c in self.candidates[:5]) or "it has none"
            raise self._refusal(f"no version of it fits: {why}")
        chosen = next((c for c in self.candidates if c.version.id == version_id), None)
        if chosen is None:
            raise self._refusal(f"it has no version {version_id} among its newest {len(self.candidates)}")
        if not chosen.fits:
            raise self._refusal(f"{version_id} does not fit: {'; '.join(chosen.faults)}")
        return None if chosen is self.newest else chosen

    def _refusal(self, why: str) -> Refused:
        best = self.proposed
        do = f"The version that fits best is {best.version.id}." if best else "docs/state.md says what is lost with it."
        return Refused(f"The record of {self.environment} was not restored", why=why, do=do)


def survey_record(environment: str, versions: Sequence[StoredVersion]) -> RecordSurvey:
    """Judge the versions of an environment's record, newest first."""
    return RecordSurvey(environment, tuple(_judge(environment, version) for version in versions))


def _judge(environment: str, version: StoredVersion) -> RecordCandidate:
    if version.content is None:
        return RecordCandidate(version, None, ("it was deleted here",))
    try:
        record = EnvironmentRecord.model_validate(upgrade(version.content))
    except (ValidationError, ValueError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return RecordCandidate(version, None, (f"it cannot be read ({told})",))
    return RecordCandidate(version, record, tuple(_faults(environment, record)))


def _faults(environment: str, record: EnvironmentRecord) -> Iterator[str]:
    if record.environment != environment:
        yield f"it is that of {record.environment}"
    if record.infrastructure is None:
        yield "it knows of no infrastructure"


def _contents(record: EnvironmentRecord) -> Iterator[str]:
    live = record.live
    yield f"{live.release.version} live in {live.colour}" if live else "nothing live"
    if record.frozen:
        yield "frozen"
    if record.lease:
        yield f"held by {record.lease.owner.flow} {record.lease.version or ''}".rstrip()
    yield f"token {record.fencing_token}"
