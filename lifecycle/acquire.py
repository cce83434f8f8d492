"""The one way to the lease: read, decide (`core.next_move`), move, and read again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from prefect.states import Cancelled, Completed

from core import lease as leases
from core.admission import refuse_if_destroying, refuse_if_frozen
from core.errors import PointsmanError, Transient
from core.lease import refuse_held
from core.next_move import AT_ONCE, TO_TAKE, Move, Policy, next_move
from core.record import EnvironmentRecord, LeaseRecord
from lifecycle.outcome import Outcome
from lifecycle.takeover import take_over
from operation.operation import Operation
from operation.step import Done, done, skipped, step

__all__ = ["Ended", "Request", "acquire", "held_at_once", "take_at_once"]


@dataclass(frozen=True)
class Ended:
    """Why a run ends before it held the environment, and as which state in Prefect."""

    message: str
    superseded: bool = False

    def outcome(self) -> Outcome:
        """Return the flow run's final state."""
        return (
            Cancelled(message=self.message, name="Superseded") if self.superseded else Completed(message=self.message)
        )


class Request(Protocol):
    """What somebody wants an environment for, and how it deals with one that is not free."""

    @property
    def version(self) -> str | None:
        """The version that the lease is about."""

    @property
    def successor(self) -> str | None:
        """The version that takes the place of one that waits for its approval, if it is a version."""

    def examine(self, record: EnvironmentRecord) -> Ended | None:
        """Return an end where there is nothing to do; raise `Refused` where it may not be done.

        Asked on each look, and once more on the very record that the lease is written into.
        """

    def policy(self, record: EnvironmentRecord) -> Policy:
        """Return how to deal with the lease on a record."""

    def interrupt(self, lease: LeaseRecord) -> None:
        """Ask the holder to stop; raise `Refused` where it may not be asked."""

    def wait(self, record: EnvironmentRecord) -> None:
        """Do what is to be done on each look that finds no place; then sleep."""

    def stop(self, record: EnvironmentRecord) -> Ended:
        """Return the end of who does not get the environment; or raise `Refused`."""

    def taken(self, record: EnvironmentRecord) -> None:
        """Hear that the environment is ours."""


@step("queue", "wait until {operation.environment} is free", writes=False)
def acquire(operation: Operation, request: Request) -> Done[Ended | None]:
    """Lease the environment; return None once it is ours, or the end of who did not get it.

    Raises what `request` raises.
    """
    began = time.monotonic()
    waited_for = ""
    try:
        while True:
            # Whatever the last move was, others moved as well: nothing is decided by a record that was read before it.
            record = operation.records.environment()
            ended = request.examine(record)
            if ended is not None:
                return skipped(ended.message, ended)
            move = next_move(operation.lease.judge(record), request.policy(record))
            if move is Move.STOP:
                ended = request.stop(record)
                return skipped(ended.message, ended)
            if move is Move.TAKE:
                if _take(operation, request):
                    break
            elif move is Move.TAKE_OVER:
                take_over(operation, even_parked=request.policy(record).takes_over_parked, successor=request.successor)
            elif move is Move.INTERRUPT:
                assert record.lease is not None  # what is not free is leased
                request.interrupt(record.lease)
            else:
                waited_for = holder_of(record)
                request.wait(record)
    finally:
        if not operation.lease.held:
            with suppress(PointsmanError):
                operation.records.change_environment(lambda r: leases.leave_queue(r, operation.owner.flow_run_id))
    if not waited_for:
        return skipped("it was free", None)
    return done(f"waited {time.monotonic() - began:.0f} s for {waited_for}", None)


def _take(operation: Operation, request: Request) -> bool:
    """Lease the environment if it still is to be had; return whether it is ours."""

    def judged(record: EnvironmentRecord) -> None:
        if operation.lease.judge(record) not in TO_TAKE:
            raise Transient("Another run has just taken the environment")
        if request.examine(record) is not None:
            raise Transient("There is nothing left to do")

    try:
        record = operation.lease.take(request.version, judged)
    except Transient:
        return False
    request.taken(record)
    return True


def holder_of(record: EnvironmentRecord) -> str:
    """Return in words who is in the way."""
    if record.lease is None:
        return "an earlier release"
    return record.lease.version or record.lease.owner.flow


def take_at_once(
    operation: Operation, *, even_frozen: bool = False, even_destroying: bool = False
) -> EnvironmentRecord:
    """Lease the environment if nobody holds it, and it is neither frozen nor being destroyed; raise `Refused` else."""

    def judged(record: EnvironmentRecord) -> None:
        if not even_frozen:
            refuse_if_frozen(record)
        if not even_destroying:
            refuse_if_destroying(record)
        if next_move(operation.lease.judge(record), AT_ONCE) is not Move.TAKE and record.lease is not None:
            raise refuse_held(record, record.lease)

    return operation.lease.take(None, judged)


@contextmanager
def held_at_once(operation: Operation, *, even_frozen: bool = False) -> Iterator[EnvironmentRecord]:
    """Hold the environment for infrastructure, which may be half destroyed; give it back where that went well.

    Where it did not, whoever ends the run aborts what was begun, and gives it back then.
    """
    yield take_at_once(operation, even_frozen=even_frozen, even_destroying=True)
    operation.lease.drop()
