"""The one place where errors end: they become the run's state, its message and its record."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress

from prefect.client.schemas.objects import State as RunState
from prefect.exceptions import Pause, TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from blocks.environment import load_environment
from core.errors import PointsmanError, Refused, cut
from core.record import State
from flows.console import hide_secrets, say_failures_once, survive_a_broken_console
from flows.settlement import Ending, settle_attempt, traffic_now
from systems.aws import AwsClients
from systems.processes import interrupt_children, owner_of
from tasks.operation import Operation, open_records
from tasks.prefect_api import attempt_id, introduce_run

__all__ = ["Outcome", "conduct"]

Outcome = RunState[None]


say_failures_once()
hide_secrets()


def conduct(flow: str, stage: str, body: Callable[[Operation], str | Outcome], *, provisions: bool = False) -> Outcome:
    """Open an environment, run `body` on it and return the flow run's final state.

    Whatever ends the body early, the live version gets its traffic back first. `body` returns the sentence of a good
    end, or a state.
    """
    survive_a_broken_console()
    try:
        _refuse_another_environment(flow, stage)
        operation = open_operation(flow, stage, provisions=provisions)
    except PointsmanError as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error))
    try:
        introduce_run(operation.owner, _tags(operation))
        ended = body(operation)
        return ended if isinstance(ended, RunState) else Completed(message=ended)
    except Pause:
        operation.stop_heartbeat()
        raise
    except PointsmanError as error:
        return _end_badly(operation, error)
    except TerminationSignal:
        if operation.has_attempt and not operation.tracked:
            get_run_logger().warning("A rollback is completed, never undone: `reconcile` takes it from here")
        else:
            _settle(operation, Ending(State.ABORTED, operation.stage, "the run was cancelled"))
        raise
    except BaseException as error:
        get_run_logger().exception("An error that Pointsman did not foresee")
        _settle(operation, Ending(State.FAILED, operation.stage, cut(f"{type(error).__name__}: {error}")))
        raise
    finally:
        operation.close()


def _refuse_another_environment(flow: str, stage: str) -> None:
    """Raise `Refused` unless the run stays in the environment that its deployment is named after.

    A deployment's parameters are only defaults: whoever may start a run of one could name any environment. A run
    without a deployment was started by a person on this machine, who may.
    """
    bound = deployment.name
    if bound is not None and bound != stage:
        raise Refused(
            f"{flow}/{bound} cannot act on {stage}",
            why="a deployment acts only on the environment that it is named after",
            do=f"Run `prefect deployment run {flow}/{stage}` instead.",
        )


def _tags(operation: Operation) -> set[str]:
    return {*flow_run.tags, operation.environment, *filter(None, [flow_run.parameters.get("tag")])}


def open_operation(flow: str, stage: str, *, provisions: bool = False) -> Operation:
    """Return an operation on an environment that this flow run does not hold yet."""
    block = load_environment(stage)
    if provisions:
        block = block.provisioner()
    aws = AwsClients(block)
    run_id = str(flow_run.id or f"local-{uuid.uuid4().hex[:12]}")
    owner = owner_of(flow, run_id, attempt_id(run_id, flow_run.run_count))
    return Operation(block, aws, open_records(block, aws), owner)


def _end_badly(operation: Operation, error: PointsmanError) -> Outcome:
    logger = get_run_logger()
    stopped = operation.asked_to_stop
    ending = Ending(State.ABORTED if stopped else State.FAILED, error.step or operation.stage, str(error))
    traffic = _settle(operation, ending)
    traffic = traffic or _traffic(operation)
    subject = f"{operation.subject or operation.version or operation.owner.flow} → {operation.environment}"
    message = f"{subject} {'stopped' if stopped else 'failed'} at {ending.step}: {error}"
    if traffic:
        message += f" Traffic: {traffic}"
    logger.error("%s", message)
    return Cancelled(message=message) if stopped else Failed(message=message)


def _traffic(operation: Operation) -> str:
    """Return what traffic does, for a run that never held the environment."""
    try:
        operation.last_seen = operation.store.environment()
        return traffic_now(operation)
    except PointsmanError:
        return ""


def _settle(operation: Operation, ending: Ending) -> str:
    """Settle what is ours to settle and give the environment back; return what traffic does now."""
    operation.ending = True
    interrupt_children()  # no waiting yet: traffic comes first, then `settle_attempt` sees them ended
    hold = operation.last_seen.hold
    if not operation.holds or operation.lost or hold is None:
        _close_unheld(operation, ending)
        return ""
    attempt = operation.attempt if operation.has_attempt else None
    settled = settle_attempt(operation, attempt, ending, hold)
    if settled.complete:
        with suppress(PointsmanError):
            operation.free()
    return settled.traffic


def _close_unheld(operation: Operation, ending: Ending) -> None:
    """Write down a failure that came before the environment was ours."""
    if operation.version is None or operation.lost:
        return
    with suppress(PointsmanError):
        operation.record_early_failure(ending.state, ending.step, ending.reason)
