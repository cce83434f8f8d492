"""`retire`: the old colour stays warm for the rollback window; then its tasks are stopped."""

from __future__ import annotations

from prefect import flow

from core.errors import Refused
from core.retirement import reason_to_skip
from core.words import counted
from lifecycle.acquire import take_at_once
from lifecycle.run import Outcome, run_operation
from operation.lease import now
from operation.operation import Operation
from tasks.retirement import empty_old_slot

__all__ = ["retire"]


@flow(name="retire", flow_run_name="retire {environment}")
def retire(environment: str, at_once: bool = False) -> Outcome:
    """Stop the tasks of the colour that is not live, once the rollback window has passed.

    A later rollback is then a cold one. Never touches the live colour, and never runs beside a release: while somebody
    is at work, or the environment is frozen, there is nothing to do.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        at_once: Do not wait for the rollback window to pass; fail where the environment cannot be had now.
    """
    return run_operation("retire", environment, lambda op: retire_old_colour(op, at_once))


def retire_old_colour(operation: Operation, at_once: bool) -> str:
    """Stop the old colour's tasks if their time has come; return what was done, or why nothing was, in a sentence."""
    skipped = _reason_to_skip(operation, at_once)
    if skipped is not None:
        return skipped
    try:
        live = take_at_once(operation).live
    except Refused:
        # Somebody came between the look and the taking.
        skipped = _reason_to_skip(operation, at_once)
        if skipped is None:
            raise
        return skipped
    if live is None:
        raise Refused(f"Nothing is live in {operation.environment} any more")
    stopped = empty_old_slot(operation, live.colour.other)
    operation.lease.drop()
    return (
        f"{live.colour.other} is empty; {counted(stopped, 'task')} stopped."
        if stopped
        else f"{live.colour.other} was already empty."
    )


def _reason_to_skip(operation: Operation, at_once: bool) -> str | None:
    record = operation.records.environment()
    return reason_to_skip(record, now(), window=operation.settings.timing.rollback_window, at_once=at_once)
