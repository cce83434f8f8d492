"""A slot that runs the right release gets another number of tasks, or its recorded definition back."""

from __future__ import annotations

import time

from core.colour import Colour
from core.errors import Permanent, Refused
from core.record import Live
from core.warm import enough_to_move
from systems.ecs import SlotService
from systems.load_balancer import read_target_health
from tasks.ecs import Scale, Start, patient, read_service, scale_service, start_slot
from tasks.operation import Operation, run_logger, step_task

__all__ = ["fill_slot", "restore_definition", "scale_live", "wrong_count"]


def wrong_count(operation: Operation, live: Live) -> SlotService | None:
    """Return the live service if its count is not the configured one, read twice; None if it is."""
    for last in (False, True):
        service = read_service(operation, live.colour)
        if service is None or service.desired == operation.settings.service.desired_count:
            return None
        if last:
            return service
        time.sleep(operation.settings.timing.consistency)
    raise AssertionError("unreachable")


@step_task("scale")
def scale_live(operation: Operation, live: Live, was: int) -> str:
    """Give the live service the configured number of tasks; return what came of it, once ECS and targets say so."""
    wanted = operation.settings.service.desired_count
    with operation.step("scale", f"scale {live.release.version} from {was} to {wanted}") as step:
        scale_service(operation, live.colour, Scale(wanted))
        end = time.monotonic() + operation.settings.timing.start
        while not _has_count(operation, live.colour, wanted):
            operation.check()
            if time.monotonic() > end:
                raise Permanent(
                    f"{live.release.version} was not seen to run {wanted} tasks",
                    why=_counts(operation, live.colour),
                    do="Look at the service's events in ECS, then press Retry.",
                )
            time.sleep(operation.settings.timing.poll)
        step.done(f"scaled from {was} to {wanted}")
    return f"scaled from {was} to {wanted}"


def _has_count(operation: Operation, colour: Colour, wanted: int) -> bool:
    service = patient(lambda: read_service(operation, colour))
    health = patient(lambda: read_target_health(operation.aws, operation.infrastructure, colour))
    return bool(service and health and service.desired == service.running == wanted == health.healthy)


def _counts(operation: Operation, colour: Colour) -> str:
    service = patient(lambda: read_service(operation, colour))
    health = patient(lambda: read_target_health(operation.aws, operation.infrastructure, colour))
    tasks = f"{service.running} of {service.desired} tasks run" if service else "ECS did not answer"
    return f"{tasks}; targets: {health}"


@step_task("fill")
def fill_slot(operation: Operation, colour: Colour) -> None:
    """Add tasks to the slot that a rollback returns to, and stop none, until it may take the traffic.

    It may as soon as it is full, or serves better than what is live; when time is up, with what is healthy.
    """
    wanted = operation.settings.service.desired_count
    with operation.step("fill", f"bring {operation.release} in {colour} to {wanted} tasks") as step:
        service = read_service(operation, colour)
        if service is None or service.desired < wanted:
            scale_service(operation, colour, Scale(wanted))
        end = time.monotonic() + operation.settings.timing.start
        while True:
            operation.check()
            mine = patient(lambda: read_target_health(operation.aws, operation.infrastructure, colour))
            live = patient(lambda: read_target_health(operation.aws, operation.infrastructure, colour.other))
            healthy = mine.healthy if mine else 0
            if mine and live and enough_to_move(healthy=healthy, wanted=wanted, live_healthy=live.healthy):
                break
            if time.monotonic() > end:
                if healthy == 0:
                    raise Permanent(f"{operation.release} has no healthy target in {colour}", why=str(mine))
                run_logger().warning("Only %d of %d tasks in %s are healthy", healthy, wanted, colour)
                break
            time.sleep(operation.settings.timing.poll)
        step.done(f"{healthy} of {wanted} tasks are healthy")


def restore_definition(operation: Operation, live: Live) -> None:
    """Deploy the definition that the record knows a release by, in place of a foreign one."""
    if live.definition is None:
        raise Refused(
            f"The record does not know the task definition of {live.release.version}",
            why="it was released before definitions were recorded",
            do=f"Keep what runs (`--keep {live.colour}` without `--restore`), then release the version again.",
        )
    how = Start(
        subject=live.release.version,
        do="Look at the service's tasks in ECS; the environment stays frozen.",
        task_definition=live.definition,
    )
    start_slot(operation, live.colour, operation.settings.service.desired_count, how)
