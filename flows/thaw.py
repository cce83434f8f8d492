"""`thaw`: a human's answer to a listener weight that Pointsman did not write."""

from __future__ import annotations

from typing import Any

from prefect import flow

from core.colour import Colour, Weights
from core.errors import Refused
from core.record import EnvironmentRecord, Live
from flows.boundary import Outcome, conduct
from tasks.ecs import empty_slot, read_service, release_of
from tasks.hold import now
from tasks.load_balancer import move_weights, read_target_health, read_weights
from tasks.operation import Operation, step_task

__all__ = ["thaw"]


@flow(name="thaw", flow_run_name="thaw {environment}")
def thaw(environment: str, keep: Colour) -> Outcome:
    """End a freeze: all traffic goes to the colour that the human names, and what runs there is live.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
        keep: The colour that shall carry all traffic.
    """
    return conduct("thaw", environment, lambda op: thaw_environment(op, keep))


def thaw_environment(operation: Operation, keep: Colour) -> str:
    """Give all traffic to `keep` and end the freeze; return the sentence of the good end."""
    operation.take_if_free(even_frozen=True)
    choose_colour(operation, keep)
    operation.free()
    return f"{operation.environment} is thawed; {keep} carries all traffic."


@step_task("thaw")
def choose_colour(operation: Operation, keep: Colour) -> None:
    """Make the human's choice the record's and the listener's."""
    with operation.step("thaw", f"give all traffic to {keep}, as a human chose") as step:
        record = operation.last_seen
        if record.frozen is None:
            raise Refused(f"{operation.environment} is not frozen", do="There is nothing to thaw.")
        health = read_target_health(operation.aws, operation.infrastructure, keep)
        if health.healthy == 0:
            raise Refused(f"{keep} has no healthy target", why=str(health), do="Choose the other colour.")
        live = record.live if record.live and record.live.colour is keep else _release_in(operation, keep)
        observed = read_weights(operation.aws, operation.infrastructure)
        facts: dict[str, Any] = {"frozen": None, "weights": observed, "weights_intent": None}

        def answer(r: EnvironmentRecord) -> EnvironmentRecord:
            gone = r if live is None or live == r.live else r.gone_live(live)
            return gone.model_copy(update=facts)

        operation.last_seen = operation.store.change_environment(answer)
        move_weights(operation, Weights.all_on(keep))
        _empty_unproven(operation, keep.other)
        step.done(f"{live.release.version if live else 'nothing known'} in {keep} carries all traffic")


def _empty_unproven(operation: Operation, colour: Colour) -> None:
    """Stop what runs in the other slot, unless it was healthy and so is what a rollback returns to."""
    service = read_service(operation, colour)
    named = release_of(operation, service) if service and service.running else None
    healthy = {h.release.revision for h in operation.last_seen.healthy}
    if named is not None and named.revision not in healthy:
        empty_slot(operation, colour)


def _release_in(operation: Operation, colour: Colour) -> Live | None:
    """Return what runs in a slot, out of its version's record."""
    service = read_service(operation, colour)
    named = release_of(operation, service) if service else None
    history = operation.store.version(named.version) if named else None
    attempts = reversed(history.attempts) if history else ()
    found = next((a for a in attempts if a.release and named and a.release.revision == named.revision), None)
    if found is None or found.release is None:
        if operation.last_seen.live is None:
            return None
        raise Refused(
            f"What runs in {colour} is not known to Pointsman",
            why="no record has the release that its task definition names",
            do="Choose the live colour, then release the version that you want.",
        )
    return Live(release=found.release, colour=colour, since=now(), migrations=found.migrations)
