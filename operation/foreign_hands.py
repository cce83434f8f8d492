"""Foreign hands: what we did not write on the listener or on the live service freezes the environment."""

from __future__ import annotations

import time
from contextlib import suppress

from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused
from core.foreign import Definition, Seen, foreign_hand, freeze, runs
from core.listener import ListenerView
from core.record import EnvironmentRecord, Frozen, Infrastructure, Live
from core.settings import EnvironmentSettings
from core.slot import slot_of
from operation.lease import now
from operation.operation import Operation
from systems.aws import AwsClients
from systems.ecs import read_names, read_service
from systems.load_balancer import LoadBalancer
from systems.polling import read_twice

__all__ = ["look", "look_at_definition", "refuse_foreign_hands", "refuse_foreign_target"]


def look(
    aws: AwsClients,
    settings: EnvironmentSettings,
    record: EnvironmentRecord,
    *,
    tolerate_unwritten_record: bool = False,
) -> Seen:
    """Look once at the production listener and at the live service.

    Where traffic goes home (`tolerate_unwritten_record`), what cannot be read beside the weights keeps it from nothing.
    """
    infrastructure = record.infrastructure
    if infrastructure is None:
        raise Refused(f"{record.environment} has no infrastructure yet")
    listener = _listener(LoadBalancer(aws, infrastructure), goes_home=tolerate_unwritten_record)
    if record.live is None:
        return Seen(listener)
    try:
        definition = look_at_definition(aws, settings, infrastructure, record.live)
    except PointsmanError:
        if not tolerate_unwritten_record:
            raise
        definition = None
    return Seen(listener, record.live.colour, definition)


def _listener(load_balancer: LoadBalancer, *, goes_home: bool) -> ListenerView:
    if goes_home:
        with suppress(PointsmanError):
            return load_balancer.listener()
        return load_balancer.listener(rules=False)
    return load_balancer.listener()


def look_at_definition(
    aws: AwsClients, settings: EnvironmentSettings, infrastructure: Infrastructure, live: Live
) -> Definition | None:
    """Return which task definition the service of a release's colour has; None where there is no service."""
    service = read_service(aws, slot_of(settings, infrastructure, live.colour).service)
    if service is None:
        return None
    return Definition(service.task_definition, None if live.definition else read_names(aws, service.task_definition))


def refuse_foreign_hands(operation: Operation, *, tolerate_unwritten_record: bool = False) -> ListenerView:
    """Return what the listener does; freeze the environment and raise `Refused` if a foreign hand was there.

    What looks foreign is looked at again after a moment, beside the newest record: a read of AWS may lag, and who wrote
    it may have said so just then.
    """
    record = operation.record
    seen = look(operation.aws, operation.settings, record, tolerate_unwritten_record=tolerate_unwritten_record)
    if record.frozen is None:
        if foreign_hand(record, seen) is None:
            return seen.listener
        time.sleep(operation.settings.timing.consistency)
        record = _newest(operation, tolerate_unwritten_record=tolerate_unwritten_record)
        seen = look(operation.aws, operation.settings, record, tolerate_unwritten_record=tolerate_unwritten_record)
        if record.frozen is None and foreign_hand(record, seen) is None:
            return seen.listener
    frozen = operation.records.change_environment(lambda r: freeze(r, seen, now())).frozen
    if frozen is None:
        return seen.listener
    raise _refused(operation, frozen)


def refuse_foreign_target(operation: Operation, target: Live, colour: Colour) -> None:
    """Freeze the environment and raise `Refused` if a rollback's traffic lies on what is not its target.

    The target is not live by the record until its rollback is complete, and a slot that carries traffic is never
    emptied: without a human's answer nobody could go on from there.
    """
    there = target.moved_to(colour, target.since, None)
    weights, definition = read_twice(
        lambda: _look_below(operation, there),
        believed=lambda seen: not _is_foreign(*seen, there),
        after=operation.settings.timing.consistency,
    )
    if not _is_foreign(weights, definition, there):
        return
    found = f"the task definition {definition}" if definition else "no service"
    frozen = Frozen(
        reason=f"the rollback to {target.release.version} gave {colour} its traffic, and {colour} runs {found}, which "
        "Pointsman did not deploy",
        observed=weights,
        expected=operation.record.weights,
        at=now(),
        definition=definition.arn if definition else None,
    )
    record = operation.records.change_environment(lambda r: r if r.frozen else r.frozen_by(frozen))
    raise _refused(operation, record.frozen or frozen)


def _look_below(operation: Operation, there: Live) -> tuple[Weights, Definition | None]:
    definition = look_at_definition(operation.aws, operation.settings, operation.infrastructure, there)
    return operation.load_balancer.weights(), definition


def _is_foreign(weights: Weights, definition: Definition | None, there: Live) -> bool:
    return weights.of(there.colour) > 0 and (definition is None or not runs(there, definition))


def _refused(operation: Operation, frozen: Frozen) -> Refused:
    return Refused(
        f"{operation.environment} is frozen",
        why=frozen.reason,
        do=f"Decide with `python -m flows unfreeze {operation.environment} --keep blue|green`.",
    )


def _newest(operation: Operation, *, tolerate_unwritten_record: bool) -> EnvironmentRecord:
    try:
        return operation.records.environment()
    except PointsmanError:
        if not tolerate_unwritten_record:
            raise
        return operation.record
