"""Judgements of the state bucket, the record in it, and the locks of Terraform's states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.preflight.judgement import Judgement, failed, passed

__all__ = ["LockSeen", "judge_expiry", "judge_locks", "judge_privacy", "judge_versioning"]

PREFIXES = ("releases/", "terraform/")
LEAST_DAYS = 30


def judge_versioning(status: str | None) -> Judgement:
    """Judge a bucket's versioning: None for one that never had any."""
    return passed("enabled") if status == "Enabled" else failed((status or "never enabled").lower())


def judge_privacy(block: Mapping[str, bool] | None) -> Judgement:
    """Judge the public access block; None where there is none."""
    if block is None:
        return failed("no public access block")
    off = sorted(name for name, on in block.items() if not on)
    return failed(f"{', '.join(off)} off") if off or len(block) < 4 else passed("closed")


def judge_expiry(rules: Iterable[Mapping[str, Any]]) -> Judgement:
    """Judge lifecycle rules, as S3 returns them: old versions end some day, and what is current never does.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
    """
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
    faults = []
    for prefix in PREFIXES:
        covering = [rule for rule in enabled if _overlaps(rule, prefix)]
        ending = [rule for rule in covering if {"Days", "Date"} & set(rule.get("Expiration", {}))]
        old = [rule["NoncurrentVersionExpiration"] for rule in covering if "NoncurrentVersionExpiration" in rule]
        days = min((int(rule.get("NoncurrentDays", 0)) for rule in old), default=None)
        if ending:
            faults.append(f"the rule {ending[0].get('ID', '?')} ends current objects of {prefix}")
        elif days is None:
            faults.append(f"no rule ends old versions of {prefix}")
        elif days < LEAST_DAYS:
            faults.append(f"old versions of {prefix} end after {days} days")
    return failed("; ".join(faults)) if faults else passed(f"old versions of {' and '.join(PREFIXES)} end some day")


def _overlaps(rule: Mapping[str, Any], prefix: str) -> bool:
    condition = rule.get("Filter", {})
    given = rule.get("Prefix") or condition.get("Prefix") or condition.get("And", {}).get("Prefix") or ""
    return prefix.startswith(given) or str(given).startswith(prefix)


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
