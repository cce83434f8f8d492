"""Everybody's way to the lease: one table."""

from __future__ import annotations

import pytest

from core.admission import Turn
from core.lease import LeaseVerdict as V
from core.next_move import AT_ONCE, CLEAN_UP, Move, Policy, next_move

RELEASE = Policy(takes_over=True, waits=True)
NEWER = Policy(takes_over=True, takes_over_parked=True, waits=True)
WAITING = Policy(turn=Turn.WAIT, takes_over=True, waits=True)
SUPERSEDED = Policy(turn=Turn.SUPERSEDED, takes_over=True, takes_over_parked=True, waits=True)
ROLLBACK = Policy(takes_over=True, takes_over_parked=True, interrupts=True, waits=True)
ASKED = Policy(takes_over=True, takes_over_parked=True, waits=True)
LATE = Policy(takes_over=True, takes_over_parked=True)

MOVES = {
    # verdict: what each does, in the order of WHO
    V.FREE: [Move.TAKE, Move.TAKE, Move.WAIT, Move.STOP, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE],
    V.OURS: [Move.TAKE, Move.TAKE, Move.WAIT, Move.STOP, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE],
    V.RESUMED: [Move.TAKE, Move.TAKE, Move.WAIT, Move.STOP, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE, Move.TAKE],
    V.PARKED: [
        Move.WAIT,
        Move.TAKE_OVER,
        Move.WAIT,
        Move.STOP,
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.STOP,
        Move.STOP,
    ],
    V.HELD: [
        Move.WAIT,
        Move.WAIT,
        Move.WAIT,
        Move.STOP,
        Move.INTERRUPT,
        Move.WAIT,
        Move.STOP,
        Move.STOP,
        Move.STOP,
    ],
    V.ABANDONED: [
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.STOP,
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.TAKE_OVER,
        Move.STOP,
        Move.TAKE_OVER,
    ],
}
WHO = {
    "a release": RELEASE,
    "one that is newer than what waits for approval": NEWER,
    "one whose turn it is not": WAITING,
    "one that is superseded": SUPERSEDED,
    "a rollback": ROLLBACK,
    "a rollback that asked the holder to stop": ASKED,
    "a rollback whose time is up": LATE,
    "a human's command": AT_ONCE,
    "reconcile": CLEAN_UP,
}


@pytest.mark.parametrize(
    ("verdict", "who", "move"),
    [(verdict, who, move) for verdict, moves in MOVES.items() for who, move in zip(WHO, moves, strict=True)],
)
def test_what_somebody_does_about_a_lease(verdict: V, who: str, move: Move) -> None:
    assert next_move(verdict, WHO[who]) is move


def test_the_table_is_whole() -> None:
    assert set(MOVES) == set(V)
