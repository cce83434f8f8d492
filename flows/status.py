"""`status`: what is live, what was, what is in flight, what is warm, and why the last attempt failed."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from core.errors import PointsmanError
from core.foreign import Definition
from core.markdown import table
from core.record import EnvironmentRecord, Live
from core.rollback import versions_left
from lifecycle.run import Outcome, run_operation
from operation.lease import now
from operation.operation import Operation
from systems.ecs import SlotService

__all__ = ["describe_environment", "status"]


@flow(name="status", flow_run_name="status {environment}")
def status(environment: str) -> Outcome:
    """Show what an environment is doing; changes nothing.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
    """
    return run_operation("status", environment, show_status)


def show_status(operation: Operation) -> str:
    """Publish the environment's state as an artifact; return it in a sentence."""
    rows = describe_environment(operation)
    create_markdown_artifact(
        key=f"status-{operation.environment}",
        markdown=f"# {operation.environment}\n\n{table(rows)}",
        description=f"Status of {operation.environment}",
    )
    return "; ".join(f"{name}: {value}" for name, value in rows)


def describe_environment(operation: Operation) -> list[tuple[str, str]]:
    """Return what is known of an environment as name and value, the most urgent first."""
    record = operation.records.environment()
    rows: list[tuple[str, str]] = []
    if record.frozen:
        rows.append(("frozen", record.frozen.reason))
    if record.destroying:
        rows.append(("being destroyed", f"since {record.destroying:%Y-%m-%d %H:%M:%S %Z}"))
    live = record.live
    rows.append(("live", _live(operation, live) if live else "nothing"))
    rows.append(("was", ", ".join(h.release.version for h in reversed(record.healthy)) or "nothing"))
    rows.append(("in flight", _in_flight(record)))
    rows.append(("queue", ", ".join(w.version for w in record.queue) or "empty"))
    rows.append(("warm", _warm(operation, record)))
    rows.append(("traffic", _traffic(operation, record)))
    rows.append(("rollback floor", record.rollback_floor or "none"))
    rows.append(("rolled back from", ", ".join(versions_left(record)) or "none"))
    rows.append(("last failure", record.last_failure or "none"))
    return rows


def _in_flight(record: EnvironmentRecord) -> str:
    lease = record.lease
    if lease is None:
        return "nothing"
    subject = f"{lease.owner.flow} {lease.version or ''}".strip()
    if lease.parked_until:
        return f"{subject} waits for approval until {lease.parked_until:%Y-%m-%d %H:%M}"
    silent = (now() - lease.renewed_at).total_seconds()
    return f"{subject} at {lease.step}, heartbeat {silent:.0f} s ago (run {lease.owner.flow_run_id})"


def _live(operation: Operation, live: Live) -> str:
    text = f"{live.release} in {live.colour} since {live.since:%Y-%m-%d %H:%M}"
    if live.adopted:
        text += f", in whose place a human kept the foreign task definition {Definition(live.adopted)}"
    try:
        service = operation.ecs.read(operation.slot(live.colour).service)
        if service is None:
            return f"{text}, but {live.colour} has no service"
        if operation.ecs.runs(service, live):
            return text
    except PointsmanError as error:
        return f"{text} according to the record; what runs is unknown ({error})"
    return f"{text} according to the record, but {_foreign(service)}"


def _foreign(service: SlotService) -> str:
    return f"its service runs the foreign task definition {Definition(service.task_definition)}"


def _warm(operation: Operation, record: EnvironmentRecord) -> str:
    if record.live is None or record.infrastructure is None:
        return "nothing"
    colour = record.live.colour.other
    try:
        service = operation.ecs.read(operation.slot(colour).service)
        if service is None or service.running == 0:
            return f"nothing ({colour} is empty)"
        health = operation.load_balancer.health(operation.slot(colour).service)
        return f"{_runs_there(operation, record, service)} in {colour}: {health}"
    except PointsmanError as error:
        return f"unknown ({error})"


def _runs_there(operation: Operation, record: EnvironmentRecord, service: SlotService) -> str:
    """Return which release a slot runs; what no record registered is foreign, and no rollback calls it warm."""
    for known in reversed(record.healthy):
        if operation.ecs.runs(service, known):
            return known.release.version
    named = operation.ecs.names(service.task_definition)
    history = operation.records.version(named.version) if named.version else None
    for attempt in history.attempts if history else ():
        if attempt.slot is not None and attempt.slot.task_definition_arn == service.task_definition:
            return f"nothing; {named.version} ({attempt.state})"
    return f"nothing; the foreign task definition {Definition(service.task_definition)}"


def _traffic(operation: Operation, record: EnvironmentRecord) -> str:
    if record.infrastructure is None:
        return "not provisioned"
    try:
        return str(operation.load_balancer.listener())
    except PointsmanError as error:
        return f"unknown ({error})"
