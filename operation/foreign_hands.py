"""Foreign hands: what we did not write on the listener or on the live service freezes the environment."""

from __future__ import annotations

import time
from contextlib import suppress

from core.errors import PointsmanError, Refused
from core.foreign import Definition, Seen, foreign_hand, freeze
from core.listener import ListenerView
from core.record import EnvironmentRecord, Infrastructure, Live
from core.settings import EnvironmentSettings
from core.slot import slot_of
from operation.lease import now
from operation.operation import Operation
from systems.aws import AwsClients
from systems.ecs import read_names, read_service
from systems.load_balancer import LoadBalancer

__all__ = ["look", "look_at_definition", "refuse_foreign_hands"]


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
    raise Refused(
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
