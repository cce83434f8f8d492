"""The old colour's end as a step."""

from __future__ import annotations

from core.colour import Colour
from core.errors import Refused
from core.words import counted
from operation.foreign_hands import refuse_foreign_hands
from operation.operation import Operation
from operation.step import Done, done, step
from operation.weights import refuse_weighted, see_winner

__all__ = ["empty_old_slot"]


@step("retire", "stop the tasks in the {colour} slot")
def empty_old_slot(operation: Operation, colour: Colour) -> Done[int]:
    """Scale a slot that carries no weight to zero; return how many tasks ran."""
    refuse_foreign_hands(operation)
    record = operation.record
    if record.live is not None and record.live.colour is colour:
        raise Refused(f"The {colour} slot is live", do="Nothing was stopped.")
    refuse_weighted(operation, colour)
    see_winner(operation, colour.other)
    stopped = sum(operation.ecs.scale_to_zero(service) or 0 for service in operation.slot(colour).services)
    return done(f"{counted(stopped, 'task')} stopped", stopped)
