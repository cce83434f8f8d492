"""`desired_count` is the number that runs: released again with another count, the live version is only scaled."""

from __future__ import annotations

from core.version import Version
from lifecycle.acquire import Ended
from lifecycle.outcome import Outcome
from operation.foreign_hands import refuse_foreign_hands
from operation.operation import Operation
from tasks.candidate import scale_live, wrong_count

__all__ = ["scale_to_settings"]


def scale_to_settings(operation: Operation, version: Version) -> Outcome:
    """Scale the live service under our lease, wait until ECS and target health say so, and drop the lease."""
    live, result = operation.record.live, "nothing was changed"
    if live is not None and live.release.version == version.tag:
        refuse_foreign_hands(operation)
        found = wrong_count(operation, live)
        if found is not None:
            result = scale_live(operation, live, found.desired)
    operation.lease.drop()
    return Ended(f"{version} is already live in {operation.environment}; {result}.").outcome()
