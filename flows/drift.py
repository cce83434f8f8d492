"""`drift`: what is in AWS, held against Terraform's state and the release record; it changes nothing.

It takes no lease, since it writes neither to AWS nor to the record: what a holder is writing just then is left out, and
what was looked at while somebody began to write is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prefect import flow
from prefect.states import Completed, Failed

from core.colour import Colour
from core.drift import ACCOUNT, ENVIRONMENT, SLOTS, TRAFFIC, Report, Scope, began_meanwhile, scope_of, why_unseen
from core.errors import PointsmanError
from core.record import EnvironmentRecord
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from systems.log import run_logger
from tasks.drift import (
    Look,
    compare_account,
    compare_environment,
    compare_slot,
    compare_traffic,
    name_hands,
    publish,
)

__all__ = ["DRIFT", "INCOMPLETE", "drift"]

DRIFT, INCOMPLETE = "Drift", "Incomplete"
"""Names of the states in which a run ends that found something, or could not look at everything."""


@flow(name="drift", flow_run_name="drift {environment}")
def drift(environment: str) -> Outcome:
    """Compare network, load balancer, roles, services and traffic with what Terraform and the releases left.

    Changes nothing. What a release moves (weights, counts) is held against its record. While somebody is at work, what
    they are writing is left to the next run.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
    """
    return run_operation("drift", environment, compare_with_aws)


def compare_with_aws(operation: Operation) -> str | Outcome:
    """Compare everything that may be looked at now; return how the run ends."""
    record = operation.records.environment()
    if record.infrastructure is None:
        return f"{operation.environment} has no infrastructure yet, so there is nothing to compare."
    looks, unseen = _look(operation, record, scope_of(record))
    later = began_meanwhile(record, operation.records.environment())
    for area in [area for area in looks if not _is_within(later, area)]:
        del looks[area]
        unseen[area] = later.why
    hands = name_hands(operation, list(looks.values())) if any(look.differences for look in looks.values()) else {}
    differences = tuple(d for look in looks.values() for d in look.differences)
    pending = tuple(f"{look.area}: {address}" for look in looks.values() for address in look.pending)
    return _end(operation, Report(operation.environment, differences, hands, pending, unseen))


def _look(reader: Operation, record: EnvironmentRecord, scope: Scope) -> tuple[dict[str, Look], dict[str, str]]:
    """Return what each area's look brought, and why the others were not looked at."""
    looks: dict[str, Look] = {}
    unseen: dict[str, str] = {}

    def look_at(area: str, look: Callable[[], Look]) -> None:
        if not _is_within(scope, area):
            unseen[area] = scope.why
            return
        try:
            looks[area] = look()
        except PointsmanError as error:
            run_logger().warning("%s was not looked at: %s", area, error)
            unseen[area] = why_unseen(error)

    look_at(ACCOUNT, lambda: compare_account(reader))
    account = looks[ACCOUNT].outputs if ACCOUNT in looks else None
    look_at(ENVIRONMENT, lambda: compare_environment(reader, record, account))
    known = looks[ENVIRONMENT].listeners if ENVIRONMENT in looks else None
    for colour in Colour:
        look_at(SLOTS[colour], partial(compare_slot, reader, record, colour))
    look_at(TRAFFIC, lambda: compare_traffic(reader, record, known))
    return looks, unseen


def _is_within(scope: Scope, area: str) -> bool:
    return scope.infrastructure if area in (ACCOUNT, ENVIRONMENT) else scope.releases


def _end(operation: Operation, report: Report) -> Outcome:
    """Publish the report and return the final state.

    A difference is Failed, so that lists show it red, under a name of its own: whoever is notified of failed runs
    (`prefect.flow-run.Failed`) hears of those in which the look itself went wrong, and of drift by its event.
    """
    for difference in report.differences:
        run_logger().warning("%s (%s)", difference, report.hands.get(difference, ""))
    publish(operation, report)
    if report.differences:
        return Failed(name=DRIFT, message=report.message)
    if report.unseen:
        return Completed(name=INCOMPLETE, message=report.message)
    return Completed(message=report.message)
