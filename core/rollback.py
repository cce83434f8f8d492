"""Where a rollback may go."""

from __future__ import annotations

from core.admission import refuse_if_destroying, refuse_if_frozen
from core.errors import Refused
from core.history import State
from core.record import EnvironmentRecord, LeaseRecord, Live
from core.version import Version

__all__ = ["choose_target", "may_interrupt", "versions_left"]


def choose_target(record: EnvironmentRecord, to_version: str | None) -> Live:
    """Return the healthy release to go back to: the last one, or the newest of `to_version`.

    Raises `Refused` for no healthy predecessor, a version that never was healthy here or is live, and a target below
    the rollback floor. A version that was rolled back from is a target only when named.
    """
    refuse_if_frozen(record)
    refuse_if_destroying(record)
    environment = record.environment
    if record.live is None:
        raise Refused(
            f"Nothing is live in {environment}", why="no release has ever been healthy", do="Release a version."
        )
    newest_first = tuple(reversed(record.healthy))
    known = ", ".join(dict.fromkeys(h.release.version for h in newest_first)) or "none"
    if to_version is not None:
        wanted = Version.parse(to_version)
        if wanted.tag == record.live.release.version:
            raise Refused(f"{wanted} is already live in {environment}", do="Nothing needs to be rolled back.")
        target = next((h for h in newest_first if h.release.version == wanted.tag), None)
        if target is None:
            raise Refused(
                f"{wanted} was never healthy in {environment}",
                why=f"only a release that was healthy can be rolled back to: {known}",
                do="Name one of these, or release the version.",
            )
    else:
        target = next((h for h in newest_first if h.release.revision not in record.rolled_back), None)
        if target is None:
            raise Refused(
                f"{environment} has no healthy predecessor of {record.live.release.version}",
                why=f"healthy before: {known}; rolled back from: {', '.join(versions_left(record)) or 'none'}",
                do="Name a version with to_version, or release one.",
            )
    if record.rollback_floor is not None and target.release.semver < Version.parse(record.rollback_floor):
        raise Refused(
            f"{target.release.version} is below the rollback floor {record.rollback_floor}",
            why="the database's schema no longer serves versions below it, and it is never migrated down",
            do="Release a version that works with this schema.",
        )
    return target


def versions_left(record: EnvironmentRecord) -> tuple[str, ...]:
    """Return the versions that were rolled back from."""
    return tuple(h.release.version for h in record.healthy if h.release.revision in record.rolled_back)


def may_interrupt(environment: str, lease: LeaseRecord, state: State | None, abort_in_flight: bool | None) -> None:
    """Raise `Refused` unless the holder may be asked to stop for a rollback.

    By default a release is interrupted while it shifts or bakes, when traffic is at stake, and not before.
    Another rollback, and a `provision`, are never interrupted.
    """
    holder = f"{lease.owner.flow} {lease.version or ''}".strip()
    if lease.owner.flow != "release":
        raise Refused(
            f"{environment} is held by {holder}",
            why=f"it is at {lease.step}",
            do="Wait until it ends, then try again.",
        )
    shifting = state in (State.SHIFTING, State.BAKING)
    if abort_in_flight is False or (abort_in_flight is None and not shifting):
        raise Refused(
            f"{lease.version} is in flight in {environment}",
            why=f"it is at {lease.step}, and the live version has all traffic",
            do="Wait until it ends, or set abort_in_flight to stop it.",
        )
