"""How a rollback is completed once its intent is on record: by its own run, or by whoever finds that run dead."""

from __future__ import annotations

import time

from core.colour import Colour
from core.errors import Permanent
from core.record import Live, RollbackIntent
from core.warm import SlotFacts, Warmth, judge_slot
from systems.load_balancer import read_target_health, read_weights
from tasks.ecs import read_service, runs_target, start_candidate, vacate_slot
from tasks.foreign import refuse_foreign_hands
from tasks.health_check import set_health_check
from tasks.operation import Operation, run_logger
from tasks.scaling import fill_slot
from tasks.smoke import confirm_release, smoke_test
from tasks.terraform import apply_plan, check_plan, init_slot, plan_slot
from tasks.traffic import finish_rollback, return_traffic

__all__ = ["complete_rollback", "warmth_of"]


def complete_rollback(operation: Operation, intent: RollbackIntent, *, insists: bool = False) -> str:
    """Take traffic to the target of a rollback whose intent stands in the record; return the closing sentence.

    A rollback is never undone by a probe: one that fails leaves the traffic with the target, and fails the run. Who
    completes a dead run's rollback `insists`: then the record is closed, and the sentence says what is not confirmed.
    """
    target = intent.target_as_started
    colour = intent.leaving.colour.other
    operation.begin_rollback(target.release, colour)
    if target.slot is not None:
        operation.note(slot=target.slot)
    refuse_foreign_hands(operation)
    warmth = warmth_of(operation, target, colour)
    operation.keeps_slot = warmth is not Warmth.COLD
    if not _is_live(operation, target):
        if warmth is Warmth.COLD:
            start_cold(operation)
        elif warmth is Warmth.SHORT:
            fill_slot(operation, colour)
    return_traffic(operation)
    unconfirmed = _confirm(operation, insists=insists)
    finish_rollback(operation, intent)
    kind = "cold" if warmth is Warmth.COLD else "warm"
    left = intent.leaving.release.version
    said = f"{operation.environment} is back on {target.release.version} ({colour}, {kind}), away from {left}."
    return f"{said} Not confirmed: {unconfirmed}" if unconfirmed else said


def _confirm(operation: Operation, *, insists: bool) -> str:
    """Return in words what is not confirmed, where that ends nothing."""
    try:
        confirm_release(operation)
    except Permanent as error:
        if not insists:
            raise
        run_logger().warning("The rollback is completed all the same: %s", error)
        return str(error)
    return ""


def start_cold(operation: Operation) -> None:
    """Put the target's recorded release into the empty slot and prove it; the database is left as it is."""
    plan = plan_slot(operation, init_slot(operation))
    check_plan(operation, plan)
    vacate_slot(operation)
    set_health_check(operation)
    apply_plan(operation, plan)
    slot = operation.attempt.slot
    if slot is not None:
        # Whoever completes this finds the target by the definition that was just registered for it.
        operation.last_seen = operation.store.change_environment(lambda r: r.starting_target(slot))
    start_candidate(operation)
    smoke_test(operation)


def warmth_of(operation: Operation, target: Live, colour: Colour) -> Warmth:
    """Return what the slot is good for; that it is cold is read again, since a read may lag."""
    facts = _slot_facts(operation, target, colour)
    if judge_slot(facts) is Warmth.COLD:
        time.sleep(operation.settings.timing.consistency)
        facts = _slot_facts(operation, target, colour)
    return judge_slot(facts)


def _slot_facts(operation: Operation, target: Live, colour: Colour) -> SlotFacts:
    service = read_service(operation, colour)
    return SlotFacts(
        runs_target=service is not None and runs_target(operation, service, target),
        desired=service.desired if service else 0,
        healthy=read_target_health(operation.aws, operation.infrastructure, colour).healthy,
        wanted=operation.settings.service.desired_count,
        carries=read_weights(operation.aws, operation.infrastructure).of(colour) > 0,
    )


def _is_live(operation: Operation, target: Live) -> bool:
    """Whether the record names it live already: then only histories are behind, and its slot carries the traffic."""
    live = operation.last_seen.live
    return live is not None and live.release.revision == target.release.revision
