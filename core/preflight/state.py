"""Judgements of the state bucket, the record in it, and the locks of Terraform's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.preflight.judgement import Judgement, failed, passed
from core.retention import PREFIXES, dangers, missing_prefixes

__all__ = ["LockSeen", "judge_expiry", "judge_locks", "judge_privacy", "judge_versioning"]


def judge_versioning(status: str | None) -> Judgement:
    """Judge a bucket's versioning: None for one that never had any."""
    return passed("enabled") if status == "Enabled" else failed((status or "never enabled").lower())


def judge_privacy(block: Mapping[str, bool] | None) -> Judgement:
    """Judge the public access block; None where there is none."""
    if block is None:
        return failed("no public access block")
    off = sorted(name for name, on in block.items() if not on)
    return failed(f"{', '.join(off)} off") if off or len(block) < 4 else passed("closed")


def judge_expiry(rules: Sequence[Mapping[str, Any]]) -> Judgement:
    """Judge lifecycle rules, as S3 returns them: old versions end some day, and what is current never does."""
    faults = [f"no rule ends old versions of {prefix}" for prefix in missing_prefixes(rules)] + list(dangers(rules))
    return failed("; ".join(faults)) if faults else passed(f"old versions of {' and '.join(PREFIXES)} end some day")


@dataclass(frozen=True)
class LockSeen:
    """A lock object beside a state."""

    state: str
    who: str
    since: datetime


def judge_locks(locks: Sequence[LockSeen], *, held: bool, unlock: str) -> Judgement:
    """Judge the locks that there are; `held` says whether somebody holds the environment, `unlock` is the command."""
    if not locks:
        return passed("no state is locked")
    seen = "; ".join(f"{lock.state} is locked by {lock.who} since {lock.since:%Y-%m-%d %H:%M}" for lock in locks)
    if held:
        return passed(f"{seen}, by the run in flight")
    commands = ", ".join(f"`{unlock} --state {lock.state}`" for lock in locks)
    return failed(seen, f"Make sure that its holder has ended, then run {commands}.")
