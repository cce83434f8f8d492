"""The candidate's slot as steps of a run: emptied, started, filled up; and the live service's count."""

from __future__ import annotations

from core.errors import Permanent, Refused
from core.history import State
from core.record import Live, NamedRelease
from core.slot import Service
from core.warm import enough_to_move
from core.words import counted
from operation.foreign_hands import refuse_foreign_hands
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from operation.weights import refuse_weighted, see_winner_if_recent
from systems.ecs import Scale, SlotService, Start
from systems.log import run_logger
from systems.polling import patient, polls, read_twice

__all__ = [
    "fill_slot",
    "refuse_another_definition",
    "restore_definition",
    "scale_live",
    "set_health_check",
    "start_candidate",
    "start_live",
    "vacate_slot",
    "wrong_count",
]


@step("vacate", "empty the {operation.candidate}")
def vacate_slot(operation: Operation) -> Done[None]:
    """Make the candidate's slot empty: weight 0 seen, nothing desired, nothing running."""
    slot = operation.candidate
    # What would carry the traffic meanwhile is looked at before the fallback is given up.
    refuse_foreign_hands(operation)
    refuse_weighted(operation, slot.colour)
    see_winner_if_recent(operation, slot.colour.other)
    stopped = [operation.ecs.scale_to_zero(service) for service in slot.services]
    if all(count is None for count in stopped):
        return skipped(f"the {slot} was already empty")
    return done(f"stopped {counted(sum(count or 0 for count in stopped), 'task')} in {slot.colour}")


@step("health check", "set the health check of the {operation.candidate}")
def set_health_check(operation: Operation) -> Done[None]:
    """Have the candidate's target group, which nobody uses yet, ask what this release answers to.

    The live colour's group keeps the health check that its own release was healthy with.
    """
    slot, configured = operation.candidate, operation.release.configuration
    seen = operation.load_balancer.health_check(slot.service)
    wanted = configured.health_check(path_if_unknown=seen.path)
    if wanted == seen:
        return skipped(f"{slot.colour} is already checked at {seen}")
    operation.load_balancer.set_health_check(slot.service, wanted)
    return done(f"{slot.colour} is now checked at {wanted} (before: {seen})")


@step("start", "start {operation.release} in the {operation.candidate}")
def start_candidate(operation: Operation) -> Done[None]:
    """Start the candidate and wait for healthy targets; tell each stopped task's reason."""
    slot, release = operation.candidate, operation.release
    wanted = operation.settings.service.desired_count
    found = operation.ecs.read(slot.service)
    healthy = operation.load_balancer.health(slot.service).healthy
    if found and found.desired == wanted <= healthy and _runs_candidate(operation, found):
        ended = skipped(f"{counted(healthy, 'healthy task')} of {release} are already running")
    else:
        start = Start(release.version, wanted, operation.settings.timing.start)
        healthy = _start(operation, slot.service, start)
        ended = done(f"{counted(healthy, 'healthy target')} in {slot.colour}")
    operation.journal.change(lambda a: a.started(wanted))
    operation.journal.advance(State.RUNNING)
    return ended


def _start(operation: Operation, service: Service, start: Start) -> int:
    return operation.ecs.start(service, start, lambda: operation.load_balancer.health(service))


def start_live(operation: Operation, live: Live) -> None:
    """Start what is live, which has no healthy target, so that traffic may return to it."""
    start = Start(
        subject=live.release.version,
        wanted=operation.settings.service.desired_count,
        within=operation.settings.timing.return_to_live,
        do="Check its tasks in ECS.",
        tolerate_unwritten_record=True,
    )
    _start(operation, operation.slot(live.colour).service, start)


def restore_definition(operation: Operation, live: Live) -> None:
    """Deploy the definition that the record knows a release by, in place of a foreign one."""
    if live.definition is None:
        raise Refused(
            f"The record has no task definition of {live.release.version}",
            why="it was released before definitions were recorded",
            do=f"Keep what runs (`--keep {live.colour}` without `--restore`), then release the version again.",
        )
    start = Start(
        subject=live.release.version,
        wanted=operation.settings.service.desired_count,
        within=operation.settings.timing.start,
        do="Check the service's tasks in ECS; the environment stays frozen.",
        task_definition=live.definition,
    )
    _start(operation, operation.slot(live.colour).service, start)


def refuse_another_definition(operation: Operation) -> None:
    """Raise `Refused` unless the candidate's service has the very definition, and image, that was proven and approved.

    A read may lag, so what differs is read again after a moment.
    """
    service = operation.candidate.service
    found = read_twice(
        lambda: operation.ecs.read(service),
        believed=lambda seen: seen is not None and _runs_candidate(operation, seen),
        after=operation.settings.timing.consistency,
    )
    if found is None or not _runs_candidate(operation, found):
        definition = found.task_definition.rpartition("/")[2] if found else "no service"
        raise Refused(
            f"The {operation.candidate} no longer runs {operation.release}",
            why=f"its service has {definition}, which is not what was tested",
            do="Find out who deployed it, then press Retry.",
        )


def _runs_candidate(operation: Operation, found: SlotService) -> bool:
    slot, release = operation.journal.attempt.slot, operation.release
    if slot is not None and found.task_definition != slot.task_definition_arn:
        return False
    wanted = NamedRelease(image=release.image, version=release.version, revision=release.revision)
    return operation.ecs.names(found.task_definition) == wanted


@step(
    "fill",
    "scale {operation.release} in the {operation.candidate} up to {operation.settings.service.desired_count} tasks",
)
def fill_slot(operation: Operation) -> Done[None]:
    """Add tasks to the slot that a rollback returns to, and stop none, until it may take the traffic.

    It may as soon as it is full, or serves better than what is live; when time is up, with what is healthy.
    """
    slot, wanted, timing = operation.candidate, operation.settings.service.desired_count, operation.settings.timing
    service, live_service = slot.service, operation.slot(slot.colour.other).service
    found = operation.ecs.read(service)
    if found is None or found.desired < wanted:
        operation.ecs.scale(service, Scale(wanted))
    mine = None
    for _ in polls(every=timing.poll, within=timing.start, check=operation.lease.check):
        mine = patient(lambda: operation.load_balancer.health(service))
        live = patient(lambda: operation.load_balancer.health(live_service))
        if mine and live and enough_to_move(healthy=mine.healthy, wanted=wanted, live_healthy=live.healthy):
            return done(f"{mine.healthy} of {wanted} tasks are healthy")
    if mine is None or mine.healthy == 0:
        raise Permanent(f"{operation.release} has no healthy target in {slot.colour}", why=str(mine))
    run_logger().warning("Only %d of %d tasks in %s are healthy", mine.healthy, wanted, slot.colour)
    return done(f"{mine.healthy} of {wanted} tasks are healthy")


def wrong_count(operation: Operation, live: Live) -> SlotService | None:
    """Return the live service if its count is not the configured one, read twice; None if it is."""
    service, wanted = operation.slot(live.colour).service, operation.settings.service.desired_count

    def is_right(found: SlotService | None) -> bool:
        return found is None or found.desired == wanted

    found = read_twice(
        lambda: operation.ecs.read(service), believed=is_right, after=operation.settings.timing.consistency
    )
    return None if is_right(found) else found


@step("scale", "scale {live.release.version} from {was} to {operation.settings.service.desired_count}")
def scale_live(operation: Operation, live: Live, was: int) -> Done[str]:
    """Give the live service the configured number of tasks; return what came of it, once ECS and targets say so."""
    service, timing = operation.slot(live.colour).service, operation.settings.timing
    wanted = operation.settings.service.desired_count
    operation.ecs.scale(service, Scale(wanted))
    found = health = None
    for _ in polls(every=timing.poll, within=timing.start, check=operation.lease.check):
        found = patient(lambda: operation.ecs.read(service))
        health = patient(lambda: operation.load_balancer.health(service))
        if found and health and found.desired == found.running == wanted == health.healthy:
            scaled = f"scaled from {was} to {wanted}"
            return done(scaled, scaled)
    tasks = f"{found.running} of {found.desired} tasks are running" if found else "ECS did not answer"
    raise Permanent(
        f"{live.release.version} did not reach {wanted} tasks",
        why=f"{tasks}; targets: {health}",
        do="Check the service's events in ECS, then press Retry.",
    )
