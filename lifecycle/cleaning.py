"""What `reconcile` does where something is left to do, as steps of its run."""

from __future__ import annotations

from contextlib import suppress

import httpx

from core.lease import leave_queue
from core.record import QueuedRelease
from lifecycle.takeover import take_over
from operation.foreign_hands import refuse_foreign_hands
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.prefect_api import close_run

__all__ = ["clean_up", "drop_from_queue", "watch_hands"]


@step("drop from queue", "remove {queued.version}, whose process is dead, from the queue", writes=False)
def drop_from_queue(operation: Operation, queued: QueuedRelease) -> Done[None]:
    """Take a dead release out of the queue, and give its run a state that says so."""
    operation.records.change_environment(lambda r: leave_queue(r, queued.flow_run_id))
    with suppress(httpx.HTTPError):  # the next look finds it forgotten
        close_run(queued.flow_run_id, f"{queued.version} was waiting for its turn; nothing was changed.")
    return done(f"{queued.version} is no longer waiting")


@step("take over", "clean up after the run that holds {operation.environment}", writes=False)
def clean_up(operation: Operation, even_parked: bool) -> Done[str | None]:
    """Take over what the dead run held, and clean up; return what was done, or None where somebody else did."""
    result = take_over(operation, even_parked=even_parked)
    return done(result, result) if result is not None else skipped("another run did", None)


@step("foreign hands", "compare the listener and the live service with the record", writes=False)
def watch_hands(operation: Operation) -> Done[None]:
    """Freeze the environment if the listener or the live service is not as we wrote it."""
    listener = refuse_foreign_hands(operation)
    return done(f"the listener is ours: {listener}")
