"""`dns`: an operator shares a name out between the old stack's load balancer and ours, forth and back.

It runs with the operator's own credentials and takes no lease: what DNS answers is no promise of a release.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.dns import (
    ALL,
    Balancer,
    LiveSide,
    Move,
    NameState,
    plan_finish,
    plan_move,
    read_name,
    refuse_nothing_live,
    refuse_unready,
)
from core.errors import Refused, UnknownOutcome
from operation.operation import Operation
from systems.existing_stack import BalancerInPlace, find_balancer
from systems.log import run_logger
from systems.route53 import HostedZone, find_zone

__all__ = ["NameToMove", "finish_name", "move_name"]

_OLD = "before-pointsman"


@dataclass(frozen=True)
class NameToMove:
    """A name in a hosted zone, and the DNS name of the load balancer of before where the records do not tell."""

    zone: str
    name: str
    old: str | None = None


def move_name(operation: Operation, asked: NameToMove, weight: int) -> str:
    """Let `weight` of 100 answers for a name lead to the environment's load balancer; return what is true now.

    More than now is refused unless the live release is healthy and nobody changes the environment. Less is refused only
    where the old load balancer has no healthy target: the way back waits for no lease.
    """
    record = operation.records.environment()
    ours = _ours(operation)
    zone = find_zone(operation.aws("route53"), asked.zone, operation.settings.timing)
    state = _read(zone, asked, ours)
    old = _old(operation, asked, state, ours)
    move = plan_move(state, ours, old.called(_OLD), weight)
    if weight > state.ours:
        refuse_nothing_live(record)
        refuse_unready(record, _live_side(operation))
    elif weight < state.ours and old.healthy == 0:
        raise Refused(
            f"The old load balancer {old.name} has no healthy target",
            why=f"{asked.name} would lead {ALL - weight} of {ALL} clients to nobody",
            do="Start the old service first.",
        )
    return _write(operation, zone, move, f"{weight} of {ALL} answers lead to {operation.environment}", old.name)


def finish_name(operation: Operation, asked: NameToMove) -> str:
    """Let one plain record lead to the environment's load balancer, once it has all; return what is true now."""
    ours = _ours(operation)
    zone = find_zone(operation.aws("route53"), asked.zone, operation.settings.timing)
    move = plan_finish(_read(zone, asked, ours), ours)
    return _write(operation, zone, move, f"one record leads to {operation.environment}", "the old load balancer")


def _read(zone: HostedZone, asked: NameToMove, ours: Balancer) -> NameState:
    return read_name(asked.name, zone.records(asked.name), ours, asked.old)


def _ours(operation: Operation) -> Balancer:
    operation.records.environment()
    dns_name = operation.infrastructure.alb_dns_name
    found = find_balancer(operation.aws("elbv2"), dns_name)
    if found is None:
        raise Refused(
            f"The load balancer {dns_name} of {operation.environment} does not exist",
            why="the record names it, and this account has none of that name",
            do="Run `provision`, and check whose credentials these are.",
        )
    return found.called(f"pointsman-{operation.environment}")


def _old(operation: Operation, asked: NameToMove, state: NameState, ours: Balancer) -> BalancerInPlace:
    named = asked.old or state.other_than(ours)
    if named is None:
        raise Refused(
            f"{asked.name} does not tell what the old load balancer is",
            why=f"its records lead to {ours.dns_name} alone, or to several others",
            do="Name it with --old.",
        )
    found = find_balancer(operation.aws("elbv2"), named)
    if found is None:
        raise Refused(
            f"The old load balancer {named} does not exist in this account and region",
            why="nobody would answer there",
            do="Check --old. Once the old stack is destroyed, there is no way back to it.",
        )
    return found


def _live_side(operation: Operation) -> LiveSide:
    live = operation.record.live
    if live is None:
        raise Refused(f"Nothing is live in {operation.environment} any more")
    service = operation.slot(live.colour).service
    found = operation.ecs.read(service)
    return LiveSide(
        weights=operation.load_balancer.weights(),
        desired=found.desired if found else 0,
        healthy=operation.load_balancer.health(service).healthy,
        as_recorded=found is not None and operation.ecs.runs(found, live),
    )


def _write(operation: Operation, zone: HostedZone, move: Move, becomes: str, old: str) -> str:
    name, before = move.before.name, move.before
    if not move.changes:
        return f"{name}: {becomes} already."
    logger = run_logger()
    logger.info(
        "%s: %d of %d answers lead to %s; writing that %s", name, before.ours, ALL, operation.environment, becomes
    )
    waited = zone.change(move, f"Pointsman: {becomes}")
    if not move.is_seen(zone.records(name)):
        raise UnknownOutcome(
            f"The records of {name} are not what was written",
            why="somebody else changes them at the same time",
            do="Find out who, then run the command again.",
        )
    logger.info("%s: %s; read back, and in sync on all servers of Route 53 (%.1f s)", name, becomes, waited)
    return (
        f"{name}: {becomes}, on all servers of Route 53. Resolvers keep what they had for {before.ttl} s, some clients "
        f"longer: keep {old} running until its requests have ended."
    )
