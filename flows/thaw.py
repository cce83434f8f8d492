"""`thaw`: a human's answer to what Pointsman did not write, on the listener or on the live service."""

from __future__ import annotations

from prefect import flow

from core.colour import Colour, Weights
from core.errors import Refused
from core.foreign import Definition, runs
from core.listener import ListenerView
from core.record import EnvironmentRecord, Live
from flows.boundary import Outcome, conduct
from systems.ecs import SlotService, read_names
from systems.load_balancer import read_listener, read_target_health
from tasks.ecs import empty_slot, read_service, runs_target
from tasks.hold import now
from tasks.load_balancer import move_weights
from tasks.operation import Operation, step_task
from tasks.scaling import restore_definition
from tasks.winner import see_winner

__all__ = ["thaw"]


@flow(name="thaw", flow_run_name="thaw {environment}")
def thaw(environment: str, keep: Colour, restore: bool = False) -> Outcome:
    """End a freeze: all traffic goes to the colour that the human names, and what runs there is live.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
        keep: The colour that shall carry all traffic.
        restore: Deploy the recorded task definition again where another one runs, instead of keeping what runs.
    """
    return conduct("thaw", environment, lambda op: thaw_environment(op, keep, restore=restore))


def thaw_environment(operation: Operation, keep: Colour, *, restore: bool = False) -> str:
    """Give all traffic to `keep` and end the freeze; return the sentence of the good end."""
    operation.take_if_free(even_frozen=True)
    runs_there = choose_colour(operation, keep, restore)
    operation.free()
    return f"{operation.environment} is thawed; {keep} carries all traffic: {runs_there}."


@step_task("thaw")
def choose_colour(operation: Operation, keep: Colour, restore: bool) -> str:
    """Make the human's choice the record's and the listener's; return what is live then."""
    with operation.step("thaw", f"give all traffic to {keep}, as a human chose") as step:
        if operation.last_seen.frozen is None:
            raise Refused(f"{operation.environment} is not frozen", do="There is nothing to thaw.")
        _refuse_rules(operation)
        if restore:
            _restore(operation, keep)
        health = read_target_health(operation.aws, operation.infrastructure, keep)
        if health.healthy == 0:
            raise Refused(f"{keep} has no healthy target", why=str(health), do="Choose the other colour.")
        live = _release_in(operation, keep)
        # What is overruled is what is there at this moment: a hand that moves later freezes again.
        observed = read_listener(operation.aws, operation.infrastructure, rules=False)

        def answer(r: EnvironmentRecord) -> EnvironmentRecord:
            return r.thawed(observed.weights, live)

        operation.last_seen = operation.store.change_environment(answer)
        move_weights(operation, Weights.all_on(keep), answered=observed)
        _empty_unproven(operation, keep.other)
        said = _in_words(live)
        step.done(f"{said} in {keep} carries all traffic")
        return said


def _in_words(live: Live | None) -> str:
    if live is None:
        return "nothing known"
    foreign = f", in whose place {Definition(live.adopted)} was kept" if live.adopted else ""
    return f"{live.release.version}{foreign}"


def _refuse_rules(operation: Operation) -> None:
    """Rules are not ours to delete, and one that names our groups would freeze the environment again at once."""
    without = read_listener(operation.aws, operation.infrastructure, rules=False)
    seen = read_listener(operation.aws, operation.infrastructure)
    if seen != without:
        raise Refused(
            f"{operation.environment} cannot be thawed yet",
            why=f"the production listener {_more(seen, without)}",
            do="Delete the rule, then thaw again.",
        )


def _more(seen: ListenerView, without: ListenerView) -> str:
    return seen.strange.removeprefix(without.strange).removeprefix(" and ")


def _restore(operation: Operation, keep: Colour) -> None:
    live = operation.last_seen.live
    if live is None or live.colour is not keep:
        raise Refused(
            f"{keep} is not live by the record",
            why="only the live service has a recorded task definition to go back to",
            do="Name the live colour, or leave out `--restore`.",
        )
    service = read_service(operation, keep)
    if service is None or not runs_target(operation, service, live):
        restore_definition(operation, live)


def _empty_unproven(operation: Operation, colour: Colour) -> None:
    """Stop what runs in the other slot, unless it was healthy and so is what a rollback returns to."""
    service = read_service(operation, colour)
    if service is None or not service.running:
        return
    if not any(runs_target(operation, service, h) for h in operation.last_seen.healthy):
        see_winner(operation, colour.other)
        empty_slot(operation, colour)


def _release_in(operation: Operation, colour: Colour) -> Live | None:
    """Return what runs in a slot: the live release, one of a version's record, or a foreign definition in its place."""
    live = operation.last_seen.live
    service = read_service(operation, colour)
    if service is None:
        return live if live is not None and live.colour is colour else None
    if live is not None and live.colour is colour:
        return live if runs_target(operation, service, live) else live.adopting(service.task_definition)
    found = _recorded_in(operation, service, colour)
    if found is None and live is not None:
        raise Refused(
            f"What runs in {colour} is not known to Pointsman",
            why="no record has the release that its task definition names",
            do="Choose the live colour, then release the version that you want.",
        )
    return found


def _recorded_in(operation: Operation, service: SlotService, colour: Colour) -> Live | None:
    """Return the release that a slot's definition is of, out of its version's record."""
    named = read_names(operation.aws, service.task_definition)
    history = operation.store.version(named.version) if named.version else None
    for attempt in reversed(history.attempts if history else ()):
        if attempt.release is None or attempt.release.revision != named.revision:
            continue
        found = Live(
            release=attempt.release, colour=colour, since=now(), migrations=attempt.migrations, slot=attempt.slot
        )
        if runs(found, Definition(service.task_definition, named)):
            return found
    return None
