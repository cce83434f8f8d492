"""`retire`: the old colour stays warm for the rollback window; then its tasks are stopped."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow

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

    A later rollback is then a cold one. Never touches the live colour, and never runs beside a release.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
        at_once: Do not wait for the rollback window to pass.
    """
    return run_operation("retire", environment, lambda op: retire_old_colour(op, at_once))


def retire_old_colour(operation: Operation, at_once: bool) -> str:
    """Stop the old colour's tasks if their time has come; return what was done, in a sentence."""
    record = operation.records.environment()
    live = record.live
    if live is None:
        return f"Nothing is live in {operation.environment}, so nothing is old."
    due = live.since + timedelta(seconds=operation.settings.timing.rollback_window)
    if not at_once and now() < due:
        return f"{live.colour.other} stays warm until {due:%Y-%m-%d %H:%M:%S %Z}."
    take_at_once(operation)
    stopped = empty_old_slot(operation, live.colour.other)
    operation.lease.drop()
    return (
        f"{live.colour.other} is empty; {counted(stopped, 'task')} stopped."
        if stopped
        else f"{live.colour.other} was empty."
    )
