"""How a rollback is completed once its intent is on record: by its own run, or by whoever finds that run dead."""

from __future__ import annotations

from core.colour import Colour
from core.record import Live, RollbackIntent
from tasks.ecs import read_service, runs_release, start_candidate, vacate_slot, wanted_count
from tasks.health_check import set_health_check
from tasks.load_balancer import read_target_health
from tasks.operation import Operation
from tasks.smoke import confirm_release, smoke_test
from tasks.terraform import apply_plan, check_plan, init_slot, plan_slot
from tasks.traffic import finish_rollback, return_traffic

__all__ = ["complete_rollback", "is_warm"]


def complete_rollback(operation: Operation, intent: RollbackIntent) -> str:
    """Take traffic to the target of a rollback whose intent stands in the record; return the closing sentence."""
    target = intent.target
    colour = intent.leaving.colour.other
    operation.begin_rollback(target.release, colour)
    warm = operation.keeps_slot = is_warm(operation, target, colour)
    if not warm and not _is_live(operation, target):
        start_cold(operation)
    return_traffic(operation)
    confirm_release(operation)
    finish_rollback(operation, intent)
    kind = "warm" if warm else "cold"
    left = intent.leaving.release.version
    return f"{operation.environment} is back on {target.release.version} ({colour}, {kind}), away from {left}."


def start_cold(operation: Operation) -> None:
    """Put the target's recorded release into the empty slot and prove it; the database is left as it is."""
    plan = plan_slot(operation, init_slot(operation))
    check_plan(operation, plan)
    vacate_slot(operation)
    set_health_check(operation)
    apply_plan(operation, plan)
    start_candidate(operation)
    smoke_test(operation)


def is_warm(operation: Operation, target: Live, colour: Colour) -> bool:
    """Whether the slot runs that very release with enough healthy targets."""
    service = read_service(operation, colour)
    if service is None or service.running == 0 or not runs_release(operation, service, target.release):
        return False
    healthy = read_target_health(operation.aws, operation.infrastructure, colour).healthy
    return healthy >= wanted_count(operation)


def _is_live(operation: Operation, target: Live) -> bool:
    """Whether the record names it live already: then only histories are behind, and its slot carries the traffic."""
    live = operation.last_seen.live
    return live is not None and live.release.revision == target.release.revision
