"""`rollback`: traffic back on the last healthy version. Warm, only weights move; cold, its release is started again."""

from __future__ import annotations

from prefect import flow

from core.errors import Refused
from core.record import Live, RollbackIntent
from core.rollback import choose_target
from core.warm import Warmth
from lifecycle.acquire import acquire
from lifecycle.finish_rollback import finish_rollback, warmth_of
from lifecycle.rollback_request import RollbackRequest
from lifecycle.run import Outcome, run_operation
from operation.foreign_hands import refuse_foreign_hands
from operation.lease import now
from operation.operation import Operation
from systems.ecr import image_exists

__all__ = ["rollback"]


@flow(name="rollback", flow_run_name="rollback {environment}")
def rollback(environment: str, to_version: str | None = None, abort_in_flight: bool | None = None) -> Outcome:
    """Return traffic to the last healthy version.

    Warm, where that version still runs: only the load balancer's weights move. Cold: its recorded image and
    configuration are started in the other slot, smoke-tested, and get the traffic. The database is never migrated
    down.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        to_version: A version that was healthy here before; by default the last one.
        abort_in_flight: Stop a release that is in flight, and wait for its end. By default only one that
            shifts or bakes is stopped; before that the rollback is refused.
    """
    return run_operation("rollback", environment, lambda op: roll_back(op, to_version, abort_in_flight))


def roll_back(operation: Operation, to_version: str | None, abort_in_flight: bool | None) -> str | Outcome:
    """Choose the target, lease the environment, and take traffic there; return the success message."""
    ended = acquire(operation, RollbackRequest(operation, to_version, abort_in_flight))
    if ended is not None:
        return ended.outcome()
    target = choose_target(operation.record, to_version)
    intent = state_intent(operation, target, named=to_version is not None)
    message = finish_rollback(operation, intent)
    operation.lease.drop()
    return message


def state_intent(operation: Operation, target: Live, *, named: bool) -> RollbackIntent:
    """Write the target before anything moves, so that whoever finds this run dead completes it."""
    leaving = operation.record.live
    if leaving is None:
        raise Refused(f"Nothing is live in {operation.environment}", do="Release a version.")
    refuse_foreign_hands(operation)
    repository = target.release.image_repository
    gone = not image_exists(operation.aws, repository, target.release.image_digest)
    if gone and warmth_of(operation, target, leaving.colour.other) is Warmth.COLD:
        raise Refused(
            f"The image of {target.release.version} no longer exists in ECR",
            why=f"{repository} has no {target.release.image_digest}",
            do="Release the version's commit under a new tag, or roll back to another version.",
        )
    intent = RollbackIntent(
        target=target, leaving=leaving, flow_run_id=operation.owner.flow_run_id, at=now(), named=named
    )
    operation.records.change_environment(lambda r: r.rolling_back(intent))
    return intent
