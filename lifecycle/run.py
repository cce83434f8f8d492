"""The one place where errors end: they become the run's state, its message and its record."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress

from prefect.client.schemas.objects import State as RunState
from prefect.exceptions import Pause, TerminationSignal
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from blocks.environment import load_environment
from core.ending import Ending
from core.errors import PointsmanError, Refused, cut
from core.history import State
from lifecycle.abort import abort_attempt, traffic_now
from lifecycle.console import hide_secrets, say_failures_once, survive_a_broken_console
from lifecycle.outcome import Outcome
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.log import run_logger
from systems.prefect_api import attempt_id, label_run_with_owner
from systems.processes import interrupt_children, owner_of
from tasks.summary import ArtifactObserver

__all__ = ["Outcome", "open_run", "run_operation"]


def run_operation(
    flow: str, environment: str, body: Callable[[Operation], str | Outcome], *, provisions: bool = False
) -> Outcome:
    """Open an environment, run `body` on it and return the flow run's final state.

    Whatever ends the body early, the live version gets its traffic back first. `body` returns the success message, or a
    state.
    """
    say_failures_once()
    hide_secrets()
    survive_a_broken_console()
    try:
        _refuse_another_environment(flow, environment)
        operation = open_run(flow, environment, provisions=provisions)
    except PointsmanError as error:
        run_logger().error("%s", error)
        return Failed(message=str(error))
    try:
        label_run_with_owner(operation.owner, _tags(operation))
        ended = body(operation)
        return ended if isinstance(ended, RunState) else Completed(message=ended)
    except Pause:
        operation.lease.stop_heartbeat()
        raise
    except PointsmanError as error:
        return _end_badly(operation, error)
    except TerminationSignal:
        if operation.journal.is_rollback:
            run_logger().warning("A rollback is completed, never undone: `reconcile` takes over from here")
        else:
            _abort(operation, Ending(State.ABORTED, operation.lease.step, "the run was cancelled"))
        raise
    except BaseException as error:
        run_logger().exception("Unexpected error")
        _abort(operation, Ending(State.FAILED, operation.lease.step, cut(f"{type(error).__name__}: {error}")))
        raise
    finally:
        operation.close()


def _refuse_another_environment(flow: str, environment: str) -> None:
    """Raise `Refused` unless the run stays in the environment that its deployment is named after.

    A deployment's parameters are only defaults: whoever may start a run of one could name any environment. A run
    without a deployment was started by a person on this machine, who may.
    """
    bound = deployment.name
    if bound is not None and bound != environment:
        raise Refused(
            f"{flow}/{bound} cannot act on {environment}",
            why="a deployment acts only on the environment that it is named after",
            do=f"Run `prefect deployment run {flow}/{environment}` instead.",
        )


def _tags(operation: Operation) -> set[str]:
    return {*flow_run.tags, operation.environment, *filter(None, [flow_run.parameters.get("tag")])}


def open_run(flow: str, environment: str, *, provisions: bool = False) -> Operation:
    """Return an operation on an environment that this flow run does not hold yet."""
    block = load_environment(environment)
    # A run without a deployment was started by a person, in a shell.
    block = block.provisioner(from_shell=deployment.name is None) if provisions else block.acting_in(flow)
    run_id = str(flow_run.id or f"local-{uuid.uuid4().hex[:12]}")
    owner = owner_of(flow, run_id, attempt_id(run_id, flow_run.run_count))
    return open_operation(block, AwsClients(block), owner, observers=(ArtifactObserver(),))


def _end_badly(operation: Operation, error: PointsmanError) -> Outcome:
    stopped = operation.lease.asked_to_stop
    ending = Ending(State.ABORTED if stopped else State.FAILED, error.step or operation.lease.step, str(error))
    traffic = _abort(operation, ending) or _traffic(operation)
    subject = f"{operation.journal.subject or operation.owner.flow} → {operation.environment}"
    message = f"{subject} {'stopped' if stopped else 'failed'} at {ending.step}: {error}"
    if traffic:
        message += f" Traffic: {traffic}"
    run_logger().error("%s", message)
    return Cancelled(message=message) if stopped else Failed(message=message)


def _traffic(operation: Operation) -> str:
    """Return what traffic does, for a run that never held the environment."""
    try:
        operation.records.environment()
        return traffic_now(operation)
    except PointsmanError:
        return ""


def _abort(operation: Operation, ending: Ending) -> str:
    """Abort what is ours and give the environment back; return what traffic does now."""
    operation.journal.ending = True
    interrupt_children()  # no waiting yet: traffic comes first, then `abort_attempt` sees them ended
    lease = operation.record.lease
    if not operation.lease.held or operation.lease.lost or lease is None:
        _close_unheld(operation, ending)
        return ""
    aborted = abort_attempt(operation, ending, lease)
    # What a dead run left and we did not finish is not done: our lease expires, and the next look finds it.
    if aborted.complete and lease.takes_over is None:
        with suppress(PointsmanError):
            operation.lease.drop()
    return aborted.traffic


def _close_unheld(operation: Operation, ending: Ending) -> None:
    """Write down a failure that came before the environment was ours."""
    journal = operation.journal
    if journal.version is None or operation.lease.lost:
        return
    commit = journal.entry.commit if journal.entry else ""
    with suppress(PointsmanError):
        journal.record_early_failure(journal.version, commit, ending.state, ending.failure())
