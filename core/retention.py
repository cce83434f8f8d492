"""How long old versions of states and records stay in the bucket, and what an existing bucket's rules would take away.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html: a noncurrent version expires once it
has been noncurrent for longer than `NoncurrentDays` and more than `NewerNoncurrentVersions` newer ones are so too; a
rule without a status `Enabled` does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.words import counted

__all__ = ["PREFIXES", "Noncurrent", "dangers", "expiry_rules", "kept", "missing_prefixes"]

PREFIXES = ("releases/", "terraform/")

DAYS, VERSIONS = 90, 20
"""The record of an environment is written every few seconds while somebody works, and each write leaves a version; an
apply writes a state up to three times. So many days cover each rollback window (a day at most), and so many versions
the last applies of a slot that nobody has released to for longer."""

LEAST_DAYS = 30
"""How long a rule of somebody else's must leave an old version: so late may a lost state be noticed."""


@dataclass(frozen=True)
class Noncurrent:
    """A version that is no longer the newest."""

    id: str
    since: datetime
    """When the next one was written."""


def expiry_rules() -> list[dict[str, Any]]:
    """Return the lifecycle rules of the state bucket: what is current never expires, what is old does late."""
    return [
        {
            "ID": f"pointsman-old-versions-of-{prefix.rstrip('/')}",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "NoncurrentVersionExpiration": {"NoncurrentDays": DAYS, "NewerNoncurrentVersions": VERSIONS},
        }
        for prefix in PREFIXES
    ]


def kept(rule: Mapping[str, Any], versions: Sequence[Noncurrent], now: datetime) -> tuple[Noncurrent, ...]:
    """Return those of an object's noncurrent versions, newest first, that a rule leaves."""
    expiration = rule.get("NoncurrentVersionExpiration", {})
    days, newer = expiration.get("NoncurrentDays"), int(expiration.get("NewerNoncurrentVersions", 0))
    if days is None or rule.get("Status") != "Enabled":
        return tuple(versions)
    old = now - timedelta(days=int(days))
    return tuple(version for place, version in enumerate(versions) if place < newer or version.since > old)


def missing_prefixes(rules: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the prefixes whose old versions no rule ever expires."""
    expiring = [rule for rule in rules if "NoncurrentVersionExpiration" in rule and rule.get("Status") == "Enabled"]
    return tuple(prefix for prefix in PREFIXES if not any(prefix.startswith(_prefix(rule)) for rule in expiring))


def dangers(rules: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return in words what rules take away that a release or a restore needs: what is current, or what was just now."""
    return tuple(danger for rule in rules if rule.get("Status") == "Enabled" for danger in _dangers(rule))


def _dangers(rule: Mapping[str, Any]) -> Iterator[str]:
    prefix = _prefix(rule)
    if not any(ours.startswith(prefix) or prefix.startswith(ours) for ours in PREFIXES):
        return
    name = f"its lifecycle rule {rule.get('ID', prefix)!r}"
    if {"Days", "Date"} & rule.get("Expiration", {}).keys():
        yield f"{name} deletes current states and records"
    days = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    newer = rule.get("NoncurrentVersionExpiration", {}).get("NewerNoncurrentVersions", 0)
    if days is not None and int(days) < LEAST_DAYS and int(newer) < VERSIONS:
        yield f"{name} deletes old versions after {counted(int(days), 'day')}, with which a lost state is restored"
    if rule.get("Transitions") or rule.get("NoncurrentVersionTransitions"):
        yield f"{name} moves states or records to a storage class that may not be readable at once"


def _prefix(rule: Mapping[str, Any]) -> str:
    """Return what a rule's objects begin with; the old form has it outside of the filter, and tags narrow it further.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRuleFilter.html
    """
    found = rule.get("Filter") or {}
    return str(found.get("Prefix") or found.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
