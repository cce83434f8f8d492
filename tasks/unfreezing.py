"""A human's answer to a freeze as a step: the colour that carries all traffic, and what is live then."""

from __future__ import annotations

from core.colour import Colour, Weights
from core.errors import Refused
from core.foreign import Definition, runs
from core.listener import ListenerView
from core.record import EnvironmentRecord, Live
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, step
from operation.weights import move_weights, see_winner
from systems.ecs import SlotService
from tasks.candidate import restore_definition

__all__ = ["choose_colour"]


@step("unfreeze", "give all traffic to {keep}, as an operator chose")
def choose_colour(operation: Operation, keep: Colour, restore: bool) -> Done[str]:
    """Make the human's choice the record's and the listener's; return what is live then."""
    if operation.record.frozen is None:
        raise Refused(f"{operation.environment} is not frozen", do="There is nothing to unfreeze.")
    _refuse_rules(operation)
    if restore:
        _restore(operation, keep)
    health = operation.load_balancer.health(operation.slot(keep).service)
    if health.healthy == 0:
        raise Refused(f"{keep} has no healthy target", why=str(health), do="Choose the other colour.")
    live = _release_in(operation, keep)
    # Only what was seen is overruled: a later change by somebody else freezes again.
    observed = operation.load_balancer.listener(rules=False)
    operation.records.change_environment(lambda r: r.unfrozen(observed.weights, live))
    move_weights(operation, Weights.all_on(keep), answered=observed)
    _empty_unproven(operation, keep.other)
    running = _describe(live)
    return done(f"{running} in {keep} has all traffic", running)


def _describe(live: Live | None) -> str:
    if live is None:
        return "nothing known"
    foreign = f", in whose place {Definition(live.adopted)} was kept" if live.adopted else ""
    return f"{live.release.version}{foreign}"


def _refuse_rules(operation: Operation) -> None:
    """Rules are not ours to delete, and one that names our groups would freeze the environment again at once."""
    without = operation.load_balancer.listener(rules=False)
    seen = operation.load_balancer.listener()
    if seen != without:
        raise Refused(
            f"{operation.environment} cannot be unfrozen yet",
            why=f"the production listener {_more(seen, without)}",
            do="Delete the rule, then unfreeze again.",
        )


def _more(seen: ListenerView, without: ListenerView) -> str:
    return seen.strange.removeprefix(without.strange).removeprefix(" and ")


def _restore(operation: Operation, keep: Colour) -> None:
    live = _carrier(operation.record, keep)
    if live is None:
        raise Refused(
            f"{keep} is not live according to the record",
            why="only the live service, and that of a rollback's target, have a recorded task definition to go back to",
            do="Name the live colour, or leave out `--restore`.",
        )
    found = operation.ecs.read(operation.slot(keep).service)
    if found is None or not operation.ecs.runs(found, live):
        restore_definition(operation, live)


def _carrier(record: EnvironmentRecord, colour: Colour) -> Live | None:
    """Return the release that a colour carries by the record: the live one, or the target of an open rollback."""
    if record.live is not None and record.live.colour is colour:
        return record.live
    intent = record.rollback
    if intent is None or intent.leaving.colour is colour:
        return None
    return intent.target_as_started.moved_to(colour, now(), None)


def _empty_unproven(operation: Operation, colour: Colour) -> None:
    """Stop what runs in the other slot, unless it was healthy and so is what a rollback returns to."""
    service = operation.slot(colour).service
    found = operation.ecs.read(service)
    if found is None or not found.running:
        return
    if not any(operation.ecs.runs(found, healthy) for healthy in operation.record.healthy):
        see_winner(operation, colour.other)
        operation.ecs.scale_to_zero(service)


def _release_in(operation: Operation, colour: Colour) -> Live | None:
    """Return what runs in a slot: the live release, one of a version's record, or a foreign definition in its place."""
    live = operation.record.live
    service = operation.ecs.read(operation.slot(colour).service)
    if service is None:
        return live if live is not None and live.colour is colour else None
    if live is not None and live.colour is colour:
        return live if operation.ecs.runs(service, live) else live.adopting(service.task_definition)
    target = _carrier(operation.record, colour)
    if target is not None and operation.ecs.runs(service, target):
        return target
    found = _recorded_in(operation, service, colour)
    if found is None and live is not None:
        raise Refused(
            f"Pointsman does not know what runs in {colour}",
            why="no record has the release that its task definition names",
            do="Choose the live colour, then release the version that you want.",
        )
    return found


def _recorded_in(operation: Operation, service: SlotService, colour: Colour) -> Live | None:
    """Return the release that a slot's definition is of, out of its version's record."""
    named = operation.ecs.names(service.task_definition)
    history = operation.records.version(named.version) if named.version else None
    for attempt in reversed(history.attempts if history else ()):
        if attempt.release is None or attempt.release.revision != named.revision:
            continue
        found = Live(
            release=attempt.release, colour=colour, since=now(), migrations=attempt.migrations, slot=attempt.slot
        )
        if runs(found, Definition(service.task_definition, named)):
            return found
    return None
