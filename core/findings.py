"""What the registry's scan says of an image, and whether a release may go live with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from core.errors import Refused

__all__ = ["Finding", "ImageScan", "Severity", "refuse_severe_findings"]

Severity = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL"]
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanStatus.html; ACTIVE is of enhanced scanning,
# which goes on as long as the image is watched.
_FINISHED = frozenset({"COMPLETE", "ACTIVE"})
_UNDER_WAY = frozenset({"IN_PROGRESS", "PENDING"})
_NAMED = 10


@dataclass(frozen=True)
class Finding:
    """One vulnerability by its name, such as CVE-2026-1234, and how severe the scan calls it."""

    name: str
    severity: str


@dataclass(frozen=True)
class ImageScan:
    """A scan of an image as the registry tells it."""

    status: str | None
    """ECR's word for how far it is; None where there is no scan."""
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many findings there are, by severity, of which `findings` may hold the first only."""

    @property
    def finished(self) -> bool:
        """Whether all findings are known."""
        return self.status in _FINISHED

    @property
    def may_finish(self) -> bool:
        """Whether waiting can help; right after a push ECR knows of no scan yet."""
        return self.status is None or self.status in _UNDER_WAY

    def at_least(self, limit: Severity) -> tuple[str, ...]:
        """Return the names of the findings of that severity or above."""
        severe = _from(limit)
        return tuple(dict.fromkeys(finding.name for finding in self.findings if finding.severity in severe))

    def number_at_least(self, limit: Severity) -> int:
        """Return how many findings of that severity or above there are, those that are not named included."""
        named = Counter(finding.severity for finding in self.findings)
        return sum(max(self.counts.get(severity, 0), named[severity]) for severity in _from(limit))

    def __str__(self) -> str:
        if self.status is None:
            return "no scan: scanning is off, or it has not begun"
        if self.status in _UNDER_WAY:
            return "scan not finished"
        if not self.finished:
            return f"scan {self.status.lower().replace('_', ' ')}" + (f": {self.reason}" if self.reason else "")
        known = [s for s in get_args(Severity) if self.counts.get(s)]
        others = sorted(s for s in self.counts if s not in get_args(Severity) and self.counts[s])
        return ", ".join(f"{self.counts[s]} {s.lower()}" for s in [*known, *others]) or "no findings"


def refuse_severe_findings(scan: ImageScan, limit: Severity, version: str) -> None:
    """Raise `Refused` unless the scan is finished and has no finding of severity `limit` or above."""
    if not scan.finished:
        raise Refused(
            f"Nobody knows what is wrong with the image of {version}",
            why=f"ECR answers {scan}, and [image] refuse_findings asks for its result",
            do="Turn scanning on in ECR, or wait until it is finished, then press Retry; or unset refuse_findings.",
        )
    number = scan.number_at_least(limit)
    if number:
        names = scan.at_least(limit)
        shown = ", ".join(names[:_NAMED]) or "ECR names none of them"
        more = f" and {number - _NAMED} more" if names and number > _NAMED else ""
        raise Refused(
            f"The image of {version} has {number} finding{'s' if number > 1 else ''} of severity {limit} or above",
            why=f"{shown}{more} ({scan})",
            do="Update the packages that ECR names and release a new tag, or change [image] refuse_findings.",
        )


def _from(limit: Severity) -> tuple[str, ...]:
    severities: tuple[str, ...] = get_args(Severity)
    return severities[: severities.index(limit) + 1]
