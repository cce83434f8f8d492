"""Whose hand it was: what the load balancer and ECS show, held against what Pointsman wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.colour import Colour
from core.listener import ListenerView
from core.record import EnvironmentRecord, Frozen, Live, NamedRelease

__all__ = ["Definition", "Seen", "foreign_hand", "freeze", "runs"]


@dataclass(frozen=True)
class Definition:
    """The task definition that a service has; what it names is read only where the record knows no ARN."""

    arn: str
    named: NamedRelease | None = None

    def __str__(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True)
class Seen:
    """One look at the production listener and at the service of the colour that is live by the record."""

    listener: ListenerView
    colour: Colour | None = None
    definition: Definition | None = None


def runs(live: Live, definition: Definition) -> bool:
    """Whether a task definition is that of a release: the one that its apply registered, or that a human adopted."""
    if live.definition is not None:
        return definition.arn == live.definition
    return definition.named is None or live.is_named(definition.named)


def foreign_hand(record: EnvironmentRecord, seen: Seen) -> str | None:
    """Return in words what was seen that Pointsman did not write, or None where all of it is ours."""
    if seen.listener.strange:
        return f"the production listener {seen.listener.strange}, which Pointsman did not set up"
    if not record.ours(seen.listener.weights):
        return (
            f"the production listener has the weights {seen.listener.weights}, which Pointsman did not set "
            f"(it set {record.weights})"
        )
    live, definition = record.live, seen.definition
    if live is None or definition is None or live.colour is not seen.colour or runs(live, definition):
        return None
    deployed = (live.definition or live.release.version).rpartition("/")[2]
    return (
        f"the live {live.colour} service runs the task definition {definition}, which Pointsman did not deploy "
        f"(it deployed {deployed})"
    )


def freeze(record: EnvironmentRecord, seen: Seen, at: datetime) -> EnvironmentRecord:
    """Return the record frozen if what was seen is foreign to it; an existing freeze stays."""
    reason = None if record.frozen else foreign_hand(record, seen)
    if reason is None:
        return record
    of_weights = bool(seen.listener.strange) or not record.ours(seen.listener.weights)
    frozen = Frozen(
        reason=reason,
        observed=seen.listener.weights,
        expected=record.weights,
        at=at,
        seen=seen.listener.strange,
        definition=None if of_weights or seen.definition is None else seen.definition.arn,
    )
    return record.frozen_by(frozen)
