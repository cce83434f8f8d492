"""May this tag be released here, now? Facts in, a decision out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.colour import Colour, Weights
from core.errors import Refused
from core.history import State, VersionRecord
from core.record import EnvironmentRecord, QueuedRelease
from core.version import Version

__all__ = [
    "Admission",
    "Turn",
    "WantedRelease",
    "admit",
    "candidate_colour",
    "newer_than_parked",
    "refuse_if_destroying",
    "refuse_if_frozen",
    "refuse_prerelease",
    "whose_turn",
]


@dataclass(frozen=True)
class WantedRelease:
    """What a release run asks for."""

    version: Version
    commit: str
    configuration_digest: str
    flow_run_id: str
    allow_downgrade: bool = False
    announced: bool = False
    """Whether a delivery asked for it, and no human by hand."""


class Admission(StrEnum):
    """What to do with the wish."""

    PROCEED = "proceed"
    ALREADY_LIVE = "already live"


class Turn(StrEnum):
    """A waiting release's place."""

    GO = "go"
    WAIT = "wait"
    SUPERSEDED = "superseded"


def admit(record: EnvironmentRecord, history: VersionRecord | None, wanted: WantedRelease) -> Admission:
    """Return whether to proceed, or that the release is already live.

    Raises `Refused` for a frozen or unprovisioned environment, a tag that moved to another commit, a version older
    than the live one (unless `allow_downgrade`), a run whose version was superseded, and an old announcement of a
    version that was rolled back from.
    """
    refuse_if_frozen(record)
    refuse_if_destroying(record)
    if record.infrastructure is None:
        raise Refused(
            f"{record.environment} has no infrastructure yet",
            why="its record has none",
            do=f"Run `prefect deployment run provision/{record.environment}` first.",
        )
    known = [history.commit] if history else []
    if record.live is not None and record.live.release.version == wanted.version.tag:
        known.append(record.live.release.commit)
    first = next((commit for commit in known if commit not in ("", wanted.commit)), None)
    if first is not None:
        raise Refused(
            f"The tag {wanted.version} moved",
            why=f"it was first seen at {first[:12]} and now points to {wanted.commit[:12]}",
            do="A version never changes: give the new commit a new tag.",
        )
    if history is not None and any(
        a.flow_run_id == wanted.flow_run_id and a.state is State.SUPERSEDED for a in history.attempts
    ):
        raise Refused(
            f"{wanted.version} was superseded",
            why="a newer version took its place while it waited",
            do="Push a newer tag, or start a new run with allow_downgrade if you really want this version.",
        )
    _refuse_replay(record, history, wanted)
    if record.rollback_floor is not None and wanted.version < Version.parse(record.rollback_floor):
        raise Refused(
            f"{wanted.version} is below the rollback floor {record.rollback_floor}",
            why="the database's schema no longer serves versions below it",
            do="Release a version that works with this schema.",
        )
    if record.live is None:
        return Admission.PROCEED
    live = record.live.release
    if live.version == wanted.version.tag:
        same = (
            not record.live.adopted
            and live.commit == wanted.commit
            and live.configuration.digest == wanted.configuration_digest
        )
        return Admission.ALREADY_LIVE if same else Admission.PROCEED
    if wanted.version < live.semver and not wanted.allow_downgrade:
        raise Refused(
            f"{wanted.version} is older than the live {live.version}",
            why="releasing it would move traffic to an older version",
            do=f"Use `prefect deployment run rollback/{record.environment}`, or set allow_downgrade.",
        )
    return Admission.PROCEED


def _refuse_replay(record: EnvironmentRecord, history: VersionRecord | None, wanted: WantedRelease) -> None:
    """Refuse a repeated announcement of a version that was rolled back from.

    Prefect tells a repeated delivery by its key, until it forgets the run: after that, the record does. The very run
    that released the version may be retried, which only a human does.
    """
    if history is None or not wanted.announced:
        return
    if any(attempt.flow_run_id == wanted.flow_run_id for attempt in history.attempts):
        return
    if any(a.release is not None and a.release.revision in record.rolled_back for a in history.attempts):
        by_hand = f"prefect deployment run release/{record.environment} --param tag={wanted.version}"
        raise Refused(
            f"{wanted.version} was rolled back from",
            why="a webhook delivery announced it again, and only a person may bring back such a version",
            do=f"To bring it back, run `{by_hand}`.",
        )


def candidate_colour(record: EnvironmentRecord) -> Colour:
    """Return the slot that a release may touch: not the live one; before the first release, the one at weight 0."""
    if record.live is not None:
        return record.live.colour.other
    return Colour.BLUE if record.weights == Weights.all_on(Colour.GREEN) else Colour.GREEN


def newer_than_parked(version: Version, record: EnvironmentRecord) -> bool:
    """Whether a release of an older version holds the environment while it waits for its approval."""
    parked = record.lease.version if record.lease and record.lease.parked_until else None
    return parked is not None and Version.parse(parked) < version


def refuse_prerelease(version: Version, environment: str, *, allowed: bool) -> None:
    """Raise `Refused` for a version such as v2.0.0-rc.1 where the environment accepts none."""
    if version.is_prerelease and not allowed:
        raise Refused(
            f"{version} is a pre-release",
            why=f"{environment} does not accept pre-releases",
            do=f"Release it to another environment, or set prereleases = true in environments/{environment}.toml.",
        )


def refuse_if_destroying(record: EnvironmentRecord) -> None:
    """Raise `Refused` while an environment's infrastructure is being destroyed, or a run of that ended halfway."""
    if record.destroying:
        raise Refused(
            f"{record.environment} is being destroyed",
            why=f"`destroy` began at {record.destroying:%Y-%m-%d %H:%M:%S %Z} and has not removed everything yet",
            do=f"Run `prefect deployment run destroy/{record.environment}` again to finish, or `provision` to rebuild.",
        )


def refuse_if_frozen(record: EnvironmentRecord) -> None:
    """Raise `Refused` while something that we did not write waits for a human."""
    if record.frozen:
        raise Refused(
            f"{record.environment} is frozen",
            why=record.frozen.reason,
            do=f"Decide with `python -m flows unfreeze {record.environment} --keep blue|green`.",
        )


def whose_turn(queue: Iterable[QueuedRelease], me: QueuedRelease, *, in_order: bool) -> Turn:
    """Return what a waiting release does when the environment is free.

    By default only the newest of those that wait is released; `in_order` releases each as it came.
    """
    others = [w for w in queue if w.flow_run_id != me.flow_run_id]
    if in_order:
        return Turn.WAIT if any(w.queued_at < me.queued_at for w in others) else Turn.GO
    return Turn.SUPERSEDED if any(_newer(w, me) for w in others) else Turn.GO


def _newer(other: QueuedRelease, me: QueuedRelease) -> bool:
    its, mine = Version.parse(other.version), Version.parse(me.version)
    if its > mine or its < mine:
        return its > mine
    return (other.queued_at, other.flow_run_id) > (me.queued_at, me.flow_run_id)
