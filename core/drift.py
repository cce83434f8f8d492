"""What drift is: differences and whose hand made them, what may be looked at, and what is told of it.

Facts come from Terraform (`core.drift_plan`) and from the release record (`core.drift_traffic`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.colour import Colour
from core.errors import PointsmanError, cut
from core.markdown import code, table
from core.record import EnvironmentRecord, LeaseRecord
from core.words import counted

__all__ = [
    "ACCOUNT",
    "CANNOT_TELL",
    "ENVIRONMENT",
    "MISSING",
    "NOTHING",
    "SLOTS",
    "TRAFFIC",
    "Difference",
    "Hand",
    "Report",
    "Scope",
    "TrailEvent",
    "began_meanwhile",
    "hand_of",
    "scope_of",
    "why_unseen",
]

ACCOUNT, ENVIRONMENT, TRAFFIC = "account", "environment", "traffic"
SLOTS = {colour: f"{colour} slot" for colour in Colour}
MISSING, NOTHING = "missing", "nothing"
CANNOT_TELL = "CloudTrail can't tell"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was left."""

    area: str
    """`account`, `environment`, a slot, or `traffic`."""
    address: str
    attribute: str
    """Empty for the thing as a whole."""
    recorded: str
    found: str
    names: tuple[str, ...] = field(default=(), compare=False)
    """How CloudTrail may know it."""
    service: str = field(default="", compare=False)
    """The service whose calls change it, as CloudTrail's sources begin."""
    calls: tuple[str, ...] = field(default=(), compare=False)
    """The calls that make such a change, where others change the same thing otherwise."""

    def __str__(self) -> str:
        subject = f"{self.address} {self.attribute}".strip()
        return f"{self.area}: {subject}: recorded {self.recorded}, found {self.found}"


@dataclass(frozen=True)
class Scope:
    """What may be looked at now; `why` the rest may not."""

    infrastructure: bool
    releases: bool
    why: str = ""


def scope_of(record: EnvironmentRecord) -> Scope:
    """Return what can be compared with what was written: nothing that a holder of the lease is writing just now."""
    lease = record.lease
    if lease is None:
        return Scope(infrastructure=True, releases=True)
    return Scope(infrastructure=not _makes_infrastructure(lease), releases=False, why=f"{_holder(lease)} is at work")


def began_meanwhile(before: EnvironmentRecord, after: EnvironmentRecord) -> Scope:
    """Return of what was looked at between two reads of the record is worth anything."""
    lease = after.lease
    if lease is None and before.fencing_token == after.fencing_token:
        return Scope(infrastructure=True, releases=True)
    if lease is None:
        return Scope(infrastructure=False, releases=False, why="somebody worked on it during the look")
    return Scope(
        infrastructure=not _makes_infrastructure(lease), releases=False, why=f"{_holder(lease)} began meanwhile"
    )


def _makes_infrastructure(lease: LeaseRecord) -> bool:
    return lease.owner.flow not in ("release", "rollback", "retire", "reconcile", "unfreeze")


def _holder(lease: LeaseRecord) -> str:
    return f"{lease.owner.flow} {lease.version or ''}".strip() + f" (at {lease.step})"


@dataclass(frozen=True)
class TrailEvent:
    """One call that CloudTrail kept."""

    name: str
    who: str
    at: datetime
    error: str = ""


@dataclass(frozen=True)
class Hand:
    """Who made a change, by which call, and when."""

    who: str
    call: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.who}, {self.call}, {self.at:%Y-%m-%d %H:%M:%S %Z}"


def hand_of(
    difference: Difference, events: Iterable[TrailEvent], since: datetime | None, ours: str | None = None
) -> Hand | None:
    """Return the newest write that succeeded after `since`, when Pointsman wrote last; None if CloudTrail has none.

    `ours` is the ARN of the role that releases act as: its own sessions are no foreign hand.
    """
    late = [e for e in events if not e.error and (since is None or e.at >= since) and not _is_ours(e.who, ours)]
    fitting = [e for e in late if e.name in difference.calls] or late
    newest = max(fitting, key=lambda e: e.at, default=None)
    return Hand(newest.who, newest.name, newest.at) if newest else None


def _is_ours(who: str, role: str | None) -> bool:
    """Whether a session of the releases' role bears the name that Pointsman gives its own (`blocks.aws`)."""
    return role is not None and f":assumed-role/{role.rpartition('/')[2]}/pointsman-" in who


# ---- What is told

# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_DENIED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_WHY_SHOWN = 500


def why_unseen(error: PointsmanError) -> str:
    """Return why something could not be looked at: the actions that the role lacks, where that is why."""
    denied = sorted(set(_DENIED.findall(error.why)))
    if denied:
        return f"{error.what}: the role lacks {', '.join(denied)}"
    return cut(f"{error.what}: {error.why}" if error.why else error.what, _WHY_SHOWN)


_SHOWN_IN_MESSAGE = 3


@dataclass(frozen=True)
class Report:
    """One look at an environment: what differs, by whose hand, and what was not looked at."""

    environment: str
    differences: tuple[Difference, ...]
    hands: Mapping[Difference, str] = field(default_factory=dict)
    """Who and when, by CloudTrail, or why it can't tell."""
    pending: tuple[str, ...] = ()
    """Addresses that `provision` would change although nobody touched them."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Why an area was not looked at."""

    @property
    def message(self) -> str:
        """The report in one line: what was found first, since lists show no more."""
        rest = f" Not looked at: {', '.join(self.unseen)}." if self.unseen else ""
        if self.pending:
            waits = "waits" if len(self.pending) == 1 else "wait"
            rest += f" {counted(len(self.pending), 'change')} of the settings {waits} for `provision`."
        if not self.differences:
            seen = "in what could be looked at" if self.unseen else "from Terraform's state and the release record"
            return f"No drift in {self.environment} {seen}.{rest}"
        listed = "; ".join(f"{d} ({self.hands.get(d, CANNOT_TELL)})" for d in self.differences[:_SHOWN_IN_MESSAGE])
        more = len(self.differences) - _SHOWN_IN_MESSAGE
        listed += f"; and {more} more" if more > 0 else ""
        return f"Drift in {self.environment}: {counted(len(self.differences), 'difference')}: {listed}.{rest}"

    @property
    def markdown(self) -> str:
        """The report for a person in Prefect's UI."""
        text = f"# Drift in {self.environment}\n\n"
        rows = [
            (d.area, code(d.address), code(d.attribute), d.recorded, d.found, self.hands.get(d, CANNOT_TELL))
            for d in self.differences
        ]
        head = ("where", "what", "attribute", "recorded", "found", "who and when")
        text += f"{table(rows, head)}\n" if rows else "Nothing differs in what was looked at.\n\n"
        areas = dict.fromkeys(d.area for d in self.differences)
        if areas:
            text += "## What to do\n\n" + "".join(f"- {_advice(area, self.environment)}\n" for area in areas) + "\n"
        if self.unseen:
            text += f"## Not looked at\n\n{table(self.unseen.items(), ('where', 'why'))}\n"
        if self.pending:
            text += "## Newer in the settings than in AWS\n\nNobody touched these; `provision` changes them.\n\n"
            text += "".join(f"- {code(address)}\n" for address in self.pending)
        return text


def _advice(area: str, environment: str) -> str:
    if area == TRAFFIC:
        return (
            f"{area}: `python -m flows status {environment}` shows whether it is frozen, and "
            f"`python -m flows unfreeze {environment} --keep blue|green` ends that. Delete foreign rules by hand."
        )
    if area in SLOTS.values():
        return f"{area}: the next release of that colour writes it anew; one of the live colour needs a release now."
    return (
        f"{area}: to undo it, run `python -m flows provision {environment}`, and delete by hand what was added; "
        "to keep it, put it into the settings first."
    )
