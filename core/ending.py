"""How an attempt ends that did not become healthy, and what its run was at: facts in, words out."""

from __future__ import annotations

from dataclasses import dataclass

from core.history import Attempt, Failure, State
from core.record import EnvironmentRecord, LeaseRecord

__all__ = ["Ending", "ending_of_the_dead", "failure_line", "went_live"]

_REASON_SHOWN = 300


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    state: State
    step: str
    reason: str

    def failure(self, remains: str = "") -> Failure:
        """Return it as the record keeps it, with what is left in the account."""
        return Failure(step=self.step, reason=self.reason, remains=remains)


def ending_of_the_dead(lease: LeaseRecord, attempt: Attempt | None, successor: str | None) -> Ending:
    """Return how an attempt ended whose process is dead, by the lease that it left.

    `successor` is the version that takes its place while it waits for its approval, if one does.
    """
    # The lease only knows the steps that write; the attempt knows the one that never ended.
    step = (attempt.open_step if attempt else None) or lease.step
    if lease.parked_until is not None and successor is not None:
        return Ending(State.SUPERSEDED, step, f"{successor} took its place while it waited for approval")
    if lease.parked_until is not None:
        return Ending(State.ABORTED, step, "nobody approved it in time, or its run was ended")
    if lease.stop is not None:
        return Ending(State.ABORTED, step, f"{lease.stop.by} asked it to stop: {lease.stop.reason}")
    return Ending(State.FAILED, step, "its process died")


def went_live(record: EnvironmentRecord, attempt: Attempt) -> bool:
    """Whether an attempt is live by the environment's record, whatever became of its process since."""
    return (
        attempt.release is not None
        and attempt.state is State.BAKING
        and record.is_live(attempt.release)
        and record.live is not None
        and record.live.colour is attempt.colour
    )


def failure_line(version: str, ending: Ending) -> str:
    """Return a failure in one line."""
    reason = " ".join(ending.reason.split())
    cut = f"{reason[:_REASON_SHOWN]}…" if len(reason) > _REASON_SHOWN else reason
    return f"{version} {ending.state} at {ending.step}: {cut}"
