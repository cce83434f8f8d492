"""`unfreeze`: a human's answer to what Pointsman did not write, on the listener or on the live service."""

from __future__ import annotations

from prefect import flow

from core.colour import Colour
from lifecycle.acquire import take_at_once
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from tasks.unfreezing import choose_colour

__all__ = ["unfreeze"]


@flow(name="unfreeze", flow_run_name="unfreeze {environment}")
def unfreeze(environment: str, keep: Colour, restore: bool = False) -> Outcome:
    """End a freeze: give all traffic to the colour that you name; what runs there becomes live.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        keep: The colour that gets all traffic.
        restore: Redeploy the recorded task definition if another one runs there, instead of keeping that one.
    """
    return run_operation("unfreeze", environment, lambda op: unfreeze_environment(op, keep, restore=restore))


def unfreeze_environment(operation: Operation, keep: Colour, *, restore: bool = False) -> str:
    """Give all traffic to `keep` and end the freeze; return the success message."""
    take_at_once(operation, even_frozen=True)
    running = choose_colour(operation, keep, restore)
    operation.lease.drop()
    return f"{operation.environment} is unfrozen; {keep} has all traffic: {running}."
