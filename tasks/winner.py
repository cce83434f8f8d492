"""What lost its weight is stopped only after every node of the load balancer was seen to send its requests elsewhere.

A change of a listener takes some seconds to reach all of them, and a group without targets answers 503.
https://github.com/argoproj/argo-rollouts/issues/4595
"""

from __future__ import annotations

import time

from core.colour import Colour
from core.errors import Permanent
from core.record import Live
from core.smoke import Streak, Verdict
from tasks.hold import now
from tasks.operation import Operation
from tasks.smoke import addresses_of, endpoint_of, identify, pause_between_probes

__all__ = ["see_winner", "see_winner_if_recent"]


def see_winner_if_recent(operation: Operation, winner: Colour) -> None:
    """See the winner answer if the listener was written so short a time ago that not every node may know."""
    since = operation.last_seen.weights_since
    if since is not None and (now() - since).total_seconds() < operation.settings.timing.weights_settle:
        see_winner(operation, winner)


def see_winner(operation: Operation, winner: Colour) -> None:
    """Wait until each address of the production listener answered from `winner` alone for a while.

    Raises `Permanent` if one goes on answering wrongly: then nothing may be stopped. Where nothing is known to be live
    in `winner`, or a human adopted it, there is no release to recognise, and only the time is waited for.
    """
    live = operation.last_seen.live
    if live is None or live.adopted or live.colour is not winner:
        _wait(operation)
    else:
        _see(operation, live)


def _wait(operation: Operation) -> None:
    end = time.monotonic() + operation.settings.timing.weights_settle
    while time.monotonic() < end:
        operation.check()
        pause_between_probes(operation)


def _see(operation: Operation, live: Live) -> None:
    timing = operation.settings.timing
    endpoint = endpoint_of(operation.settings, operation.infrastructure.alb_dns_name, None)
    streaks = {address: Streak(time.monotonic()) for address in addresses_of(endpoint)}
    while True:
        for address, streak in streaks.items():
            operation.check()
            result = identify(operation.settings, endpoint, address, live.release)
            streaks[address] = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
            if streaks[address].right == 0 and streaks[address].wrong_for > timing.confirm:
                raise Permanent(
                    f"The {live.colour.other} slot was left running",
                    why=f"{endpoint} does not answer from {live.release.version} at {address}: {result.got}",
                    do="Find out why, then run `retire`.",
                )
        at = time.monotonic()
        if all(streak.lasted(at) >= timing.weights_settle for streak in streaks.values()):
            return
        pause_between_probes(operation)
