"""`desired_count` is the number that runs: released again with another count, the live version is only scaled."""

from __future__ import annotations

from prefect.states import Completed

from core.record import EnvironmentRecord
from core.version import Version
from flows.boundary import Outcome
from tasks.foreign import refuse_foreign_hands
from tasks.operation import Operation
from tasks.scaling import scale_live, wrong_count

__all__ = ["count_is_wrong", "scale_to_settings"]


def count_is_wrong(operation: Operation, record: EnvironmentRecord) -> bool:
    """Whether the live service is to run another number of tasks than it does."""
    operation.last_seen = record
    return record.live is not None and wrong_count(operation, record.live) is not None


def scale_to_settings(operation: Operation, version: Version) -> Outcome:
    """Scale the live service under the hold, wait until ECS and target health say so, and give the hold back."""
    live = operation.take_if_free().live
    said = "nothing was changed"
    if live is not None and live.release.version == version.tag:
        refuse_foreign_hands(operation)
        service = wrong_count(operation, live)
        if service is not None:
            said = scale_live(operation, live, service.desired)
    operation.free()
    return Completed(message=f"{version} is live in {operation.environment} already; {said}.")
