"""`retire`: the old colour stays warm for the rollback window; then its tasks are stopped."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow

from core.colour import Colour
from core.errors import Refused
from core.words import counted
from flows.boundary import Outcome, conduct
from tasks.ecs import empty_slot, refuse_weighted
from tasks.foreign import refuse_foreign_hands
from tasks.hold import now
from tasks.operation import Operation, step_task
from tasks.winner import see_winner

__all__ = ["retire"]


@flow(name="retire", flow_run_name="retire {environment}")
def retire(environment: str, at_once: bool = False) -> Outcome:
    """Stop the tasks of the colour that is not live, once the rollback window has passed.

    A later rollback is then a cold one. Never touches the live colour, and never runs beside a release.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
        at_once: Do not wait for the rollback window to pass.
    """
    return conduct("retire", environment, lambda op: retire_old_colour(op, at_once))


def retire_old_colour(operation: Operation, at_once: bool) -> str:
    """Stop the old colour's tasks if their time has come; return what was done, in a sentence."""
    record = operation.store.environment()
    live = record.live
    if live is None:
        return f"Nothing is live in {operation.environment}, so nothing is old."
    due = live.since + timedelta(seconds=operation.settings.timing.rollback_window)
    if not at_once and now() < due:
        return f"{live.colour.other} stays warm until {due:%Y-%m-%d %H:%M:%S %Z}."
    operation.take_if_free()
    stopped = empty_old_slot(operation, live.colour.other)
    operation.free()
    return (
        f"{live.colour.other} is empty; {counted(stopped, 'task')} stopped."
        if stopped
        else f"{live.colour.other} was empty."
    )


@step_task("retire")
def empty_old_slot(operation: Operation, colour: Colour) -> int:
    """Empty a slot that carries no weight; return how many tasks ran."""
    with operation.step("retire", f"stop the tasks of {colour}") as step:
        refuse_foreign_hands(operation)
        record = operation.last_seen
        if record.live is not None and record.live.colour is colour:
            raise Refused(f"The {colour} slot is live", do="Nothing was stopped.")
        refuse_weighted(operation, colour)
        see_winner(operation, colour.other)
        stopped = empty_slot(operation, colour) or 0
        step.done(f"{counted(stopped, 'task')} stopped")
        return stopped
