"""Foreign hands: what we did not write on the listener or on the live service freezes the environment."""

from __future__ import annotations

import time
from contextlib import suppress

from core.errors import PointsmanError, Refused
from core.foreign import Definition, Seen, foreign_hand, freeze
from core.listener import ListenerView
from core.record import EnvironmentRecord, Infrastructure, Live
from core.settings import EnvironmentSettings
from systems.aws import AwsClients
from systems.ecs import read_names, read_service
from systems.load_balancer import read_listener
from tasks.hold import now
from tasks.operation import Operation

__all__ = ["look", "look_at_definition", "refuse_foreign_hands"]


def look(aws: AwsClients, settings: EnvironmentSettings, record: EnvironmentRecord, *, homeward: bool = False) -> Seen:
    """Look once at the production listener and at the live service.

    With `homeward`, what cannot be read beside the weights keeps no traffic from going home.
    """
    infrastructure = record.infrastructure
    if infrastructure is None:
        raise Refused(f"{record.environment} has no infrastructure yet")
    listener = _listener(aws, infrastructure, homeward=homeward)
    if record.live is None:
        return Seen(listener)
    try:
        definition = look_at_definition(aws, settings, infrastructure, record.live)
    except PointsmanError:
        if not homeward:
            raise
        definition = None
    return Seen(listener, record.live.colour, definition)


def _listener(aws: AwsClients, infrastructure: Infrastructure, *, homeward: bool) -> ListenerView:
    if homeward:
        with suppress(PointsmanError):
            return read_listener(aws, infrastructure)
        return read_listener(aws, infrastructure, rules=False)
    return read_listener(aws, infrastructure)


def look_at_definition(
    aws: AwsClients, settings: EnvironmentSettings, infrastructure: Infrastructure, live: Live
) -> Definition | None:
    """Return which task definition the service of a release's colour has; None where there is no service."""
    service = read_service(aws, infrastructure.cluster_arn, settings.service_name(live.colour))
    if service is None:
        return None
    return Definition(service.task_definition, None if live.definition else read_names(aws, service.task_definition))


def refuse_foreign_hands(operation: Operation, *, homeward: bool = False) -> ListenerView:
    """Return what the listener does; freeze the environment and raise `Refused` if a foreign hand was there.

    What looks foreign is looked at again after a moment, beside the newest record: a read of AWS may lag, and who wrote
    it may have said so just then.
    """
    record = operation.last_seen
    seen = look(operation.aws, operation.settings, record, homeward=homeward)
    if record.frozen is None:
        if foreign_hand(record, seen) is None:
            return seen.listener
        time.sleep(operation.settings.timing.consistency)
        record = operation.last_seen = _newest(operation, homeward=homeward)
        seen = look(operation.aws, operation.settings, record, homeward=homeward)
        if record.frozen is None and foreign_hand(record, seen) is None:
            return seen.listener
    newest = operation.store.change_environment(lambda r: freeze(r, seen, now()))
    operation.last_seen = newest
    if newest.frozen is None:
        return seen.listener
    raise Refused(
        f"{operation.environment} is frozen",
        why=newest.frozen.reason,
        do=f"Decide with `python -m flows thaw {operation.environment} --keep blue|green`.",
    )


def _newest(operation: Operation, *, homeward: bool) -> EnvironmentRecord:
    try:
        return operation.store.environment()
    except PointsmanError:
        if not homeward:
            raise
        return operation.last_seen
