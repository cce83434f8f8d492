"""How a rollback is finished once its intent is on record: by its own run, or by whoever finds that run dead."""

from __future__ import annotations

from core.colour import Colour
from core.errors import Permanent
from core.record import Live, RollbackIntent
from core.warm import SlotFacts, Warmth, judge_slot
from operation.foreign_hands import refuse_foreign_hands, refuse_foreign_target
from operation.operation import Operation
from systems.log import run_logger
from systems.polling import read_twice
from tasks.candidate import fill_slot, set_health_check, start_candidate, vacate_slot
from tasks.plan import apply_plan, check_plan, init_slot, plan_slot
from tasks.probes import confirm_release, smoke_test
from tasks.traffic import finish_rollback as record_rollback
from tasks.traffic import return_traffic

__all__ = ["finish_rollback", "warmth_of"]


def finish_rollback(operation: Operation, intent: RollbackIntent, *, insists: bool = False) -> str:
    """Take traffic to the target of a rollback whose intent is in the record; return the success message.

    A rollback is never undone by a probe: one that fails leaves the traffic with the target, and fails the run. Who
    completes a dead run's rollback `insists`: then the record is closed, and the message says what is not confirmed.
    """
    target, colour = intent.target_as_started, intent.leaving.colour.other
    operation.journal.begin_rollback(target.release, colour)
    if target.slot is not None:
        slot = target.slot
        operation.journal.change(lambda a: a.started_as(slot))
    refuse_foreign_hands(operation)
    refuse_foreign_target(operation, target, colour)
    warmth = warmth_of(operation, target, colour)
    if warmth is not Warmth.COLD:
        operation.journal.keep_slot()
    if not operation.record.is_live(target.release):
        if warmth is Warmth.COLD:
            start_cold(operation)
        elif warmth is Warmth.SHORT:
            fill_slot(operation)
    return_traffic(operation)
    unconfirmed = _confirm(operation, insists=insists)
    record_rollback(operation, intent)
    kind = "cold" if warmth is Warmth.COLD else "warm"
    left = intent.leaving.release.version
    message = (
        f"{operation.environment} is back on {target.release.version} ({colour}, {kind}), rolled back from {left}."
    )
    return f"{message} Not confirmed: {unconfirmed}" if unconfirmed else message


def _confirm(operation: Operation, *, insists: bool) -> str:
    """Return in words what is not confirmed, where that ends nothing."""
    try:
        confirm_release(operation)
    except Permanent as error:
        if not insists:
            raise
        run_logger().warning("The rollback is completed anyway: %s", error)
        return str(error)
    return ""


def start_cold(operation: Operation) -> None:
    """Put the target's recorded release into the empty slot and prove it; the database is left as it is."""
    plan = plan_slot(operation, init_slot(operation))
    check_plan(operation, plan)
    vacate_slot(operation)
    set_health_check(operation)
    apply_plan(operation, plan)
    slot = operation.journal.attempt.slot
    if slot is not None:
        # Whoever completes this finds the target by the definition that was just registered for it.
        operation.records.change_environment(lambda r: r.starting_target(slot))
    start_candidate(operation)
    smoke_test(operation)


def warmth_of(operation: Operation, target: Live, colour: Colour) -> Warmth:
    """Return what the slot is good for; that it is cold is read again, since a read may lag."""
    return read_twice(
        lambda: judge_slot(_slot_facts(operation, target, colour)),
        believed=lambda warmth: warmth is not Warmth.COLD,
        after=operation.settings.timing.consistency,
    )


def _slot_facts(operation: Operation, target: Live, colour: Colour) -> SlotFacts:
    service = operation.slot(colour).service
    found = operation.ecs.read(service)
    return SlotFacts(
        runs_target=found is not None and operation.ecs.runs(found, target),
        desired=found.desired if found else 0,
        healthy=operation.load_balancer.health(service).healthy,
        wanted=operation.settings.service.desired_count,
        carries=operation.load_balancer.weights().of(colour) > 0,
    )
