"""What somebody who wants an environment does next: facts in, one move out. Every flow's way to the lease."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.admission import Turn
from core.lease import LeaseVerdict

__all__ = ["AT_ONCE", "CLEAN_UP", "TO_TAKE", "Move", "Policy", "next_move"]

TO_TAKE = frozenset({LeaseVerdict.FREE, LeaseVerdict.OURS, LeaseVerdict.RESUMED})
"""The verdicts by which the lease is ours to take."""


class Move(StrEnum):
    """What to do now; after all but TAKE and STOP the record is read again."""

    TAKE = "take"  # lease it in one conditional write
    WAIT = "wait"
    INTERRUPT = "interrupt"  # ask the holder to stop
    TAKE_OVER = "take over"  # clean up what a dead or parked run left
    STOP = "stop"


@dataclass(frozen=True)
class Policy:
    """How somebody deals with an environment that is not free, at this moment."""

    turn: Turn = Turn.GO
    takes_over: bool = False
    """Whether it cleans up after a dead holder."""
    takes_over_parked: bool = False
    """Whether it takes the place of a release that waits for its approval."""
    interrupts: bool = False
    """Whether it asks whoever works to stop."""
    waits: bool = False


AT_ONCE = Policy()
"""Now or not at all: what a human starts by hand, and what comes again by a schedule."""

CLEAN_UP = Policy(takes_over=True)
"""After the dead only."""


def next_move(verdict: LeaseVerdict, policy: Policy) -> Move:
    """Return what to do about a lease that was judged so."""
    if policy.turn is Turn.SUPERSEDED:
        return Move.STOP
    if verdict in TO_TAKE:
        return Move.TAKE if policy.turn is Turn.GO else Move.WAIT
    if verdict is LeaseVerdict.ABANDONED and policy.takes_over:
        return Move.TAKE_OVER
    if verdict is LeaseVerdict.PARKED and policy.takes_over_parked:
        return Move.TAKE_OVER
    if verdict is not LeaseVerdict.ABANDONED and policy.interrupts:
        return Move.INTERRUPT
    return Move.WAIT if policy.waits else Move.STOP
