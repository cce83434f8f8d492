"""Looks at the state bucket, the record and Terraform's locks."""

from __future__ import annotations

from core.colour import Colour
from core.errors import Permanent, Refused
from core.preflight.judgement import NOT_YET, Judgement, failed, failed_by, passed
from core.preflight.state import (
    LockSeen,
    judge_expiry,
    judge_locks,
    judge_privacy,
    judge_versioning,
)
from systems.aws import has_code
from systems.state_bucket import BucketSettings
from tasks.preflight.ground import Ground, Look

__all__ = ["LOOKS"]


def _bucket(ground: Ground) -> Judgement:
    bucket = ground.settings.state_bucket
    try:
        ground.record()
    except Permanent as error:
        if has_code(error, "NoSuchBucket"):
            return failed(f"{bucket} does not exist")
        return failed_by(error)
    except Refused:
        pass  # it was read, and what it says is another check's
    return passed(f"{bucket} can be read")


def _settings(ground: Ground) -> BucketSettings:
    return BucketSettings(ground.reader("s3"), ground.bucket)


def _record(ground: Ground) -> Judgement:
    try:
        record = ground.record()
        infrastructure = ground.infrastructure()
    except Refused as error:
        return failed_by(error)
    if infrastructure is None:
        return NOT_YET
    return passed(f"{record.live.release if record.live else 'nothing'} is live")


def _locks(ground: Ground) -> Judgement:
    seen, held = _locked(ground), ground.record().lease is not None
    if seen and not held:
        # Somebody may have begun between the two reads, or ended: who locks a state holds the environment meanwhile.
        held = ground.operation.records.environment().lease is not None
        seen = seen if held else _locked(ground)
    return judge_locks(seen, held=held, unlock=f"python -m flows unlock {ground.settings.stage}")


def _locked(ground: Ground) -> list[LockSeen]:
    seen = []
    for state in (*(colour.value for colour in Colour), "environment"):
        lock = ground.operation.state_locks.read(state)
        if lock is not None:
            seen.append(LockSeen(state, lock.who, lock.created))
    return seen


LOOKS: dict[str, Look] = {
    "state bucket": _bucket,
    "bucket versions": lambda ground: judge_versioning(_settings(ground).versioning()),
    "bucket privacy": lambda ground: judge_privacy(_settings(ground).public_access_block()),
    "bucket expiry": lambda ground: judge_expiry(_settings(ground).lifecycle_rules()),
    "record": _record,
    "state lock": _locks,
}
