"""What is compared, as steps of `drift`: none of them takes the lease or changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from core.colour import Colour
from core.drift import ACCOUNT, CANNOT_TELL, ENVIRONMENT, SLOTS, TRAFFIC, Difference, Report, hand_of
from core.drift_plan import listed_listeners, plan_differences, plan_pending
from core.drift_traffic import SeenService, TrafficSeen, traffic_differences
from core.errors import PointsmanError
from core.foreign import Definition
from core.infrastructure import arn, role_arn
from core.lease import refuse_held
from core.record import EnvironmentRecord
from core.release import Release
from core.root_variables import account_variables, environment_variables, slot_variables
from core.words import counted
from operation.lease import now
from operation.operation import Operation, open_account
from operation.step import Done, done, skipped, step
from systems.cloudtrail import Trail
from systems.ecs import read_names, read_service
from systems.log import run_logger
from systems.polling import read_twice
from systems.terraform import Plan, state_key

__all__ = [
    "EVENT",
    "Look",
    "compare_account",
    "compare_environment",
    "compare_slot",
    "compare_traffic",
    "name_hands",
    "publish",
]

EVENT = "pointsman.drift.found"
# CloudTrail answers two questions a second, and nobody reads more rows than these before the first are settled.
_ASKED = 25


@dataclass(frozen=True)
class Look:
    """What the look at one area brought."""

    area: str
    differences: tuple[Difference, ...] = ()
    pending: tuple[str, ...] = ()
    written_at: datetime | None = None
    """When Pointsman or `provision` wrote there last."""
    outputs: Mapping[str, Any] | None = None
    listeners: frozenset[str] | None = None


@step("compare account", "compare the Terraform root account with AWS", writes=False)
def compare_account(reader: Operation) -> Done[Look]:
    """Return what differs in what all environments of the account share; raise `Refused` while it is provisioned."""
    shared = open_account(reader).records.environment()
    if shared.lease is not None:
        raise refuse_held(shared, shared.lease)
    look, plan = _compare_root(reader, ACCOUNT, account_variables(reader.settings))
    return done(_sentence(look), replace(look, outputs=plan.outputs))


@step("compare environment", "compare the Terraform root environment with AWS", writes=False)
def compare_environment(reader: Operation, record: EnvironmentRecord, account: Mapping[str, Any] | None) -> Done[Look]:
    """Return what differs in network, load balancer and roles; `account` is what that root put out, if it was read."""
    settings = reader.settings
    named = account or {"pipeline_role_arns": {settings.stage: role_arn(settings, "pipeline")}}
    look, plan = _compare_root(reader, ENVIRONMENT, environment_variables(settings, record, named))
    return done(_sentence(look), replace(look, listeners=listed_listeners(plan.content)))


def _compare_root(reader: Operation, name: str, variables: Mapping[str, Any]) -> tuple[Look, Plan]:
    workplace, key = reader.terraform, state_key(reader.environment, name)
    written = workplace.state_written_at(reader.aws("s3"), key)
    plan = workplace.compare(workplace.open_root(name, key), variables)
    differences = plan_differences(name, plan.content)
    return Look(name, differences, plan_pending(plan.content, differences), written), plan


@step("compare slot", "compare the {colour} slot with its state", writes=False)
def compare_slot(reader: Operation, record: EnvironmentRecord, colour: Colour) -> Done[Look]:
    """Return what differs in a colour's service and definitions; what was released there is the record's affair.

    The state is held against AWS whatever the settings say: they are newer than a release as soon as somebody edits
    them. Terraform asks for the root's variables all the same.
    """
    workplace, key = reader.terraform, state_key(reader.environment, colour)
    written = workplace.state_written_at(reader.aws("s3"), key)
    release = _any_release(reader, record)
    if written is None or release is None:
        return skipped(f"nothing was ever released into {colour}", Look(SLOTS[colour]))
    variables = slot_variables(reader.settings, reader.infrastructure, colour, release)
    plan = workplace.compare(workplace.open_root("slot", key), variables, refresh_only=True)
    live = record.live.colour if record.live else None
    look = Look(SLOTS[colour], plan_differences(SLOTS[colour], plan.content, live), (), written)
    return done(_sentence(look), look)


def _any_release(reader: Operation, record: EnvironmentRecord) -> Release | None:
    if record.live is not None:
        return record.live.release
    history = reader.records.version(record.last_failed) if record.last_failed else None
    attempts = history.attempts if history else ()
    return next((attempt.release for attempt in reversed(attempts) if attempt.release), None)


@step("compare traffic", "compare listeners and services with the release record", writes=False)
def compare_traffic(reader: Operation, record: EnvironmentRecord, known: frozenset[str] | None) -> Done[Look]:
    """Return where listeners and services are not as the record has them; `known` are Terraform's listeners."""

    def differing() -> tuple[Difference, ...]:
        return traffic_differences(record, reader.settings, _see_traffic(reader, record), known, now())

    # What AWS shows may lag behind what was written just before.
    found = read_twice(differing, believed=lambda seen: not seen, after=reader.settings.timing.consistency)
    look = Look(TRAFFIC, found, written_at=record.weights_since)
    return done(_sentence(look), look)


def _see_traffic(reader: Operation, record: EnvironmentRecord) -> TrafficSeen:
    infrastructure, balancer = reader.infrastructure, reader.load_balancer
    weighted = filter(None, (infrastructure.production_listener_arn, infrastructure.http_forward_listener_arn))
    services = {colour: _service(reader, colour) for colour in Colour}
    live = services.get(record.live.colour) if record.live else None
    image = read_names(reader.aws, live.definition.arn).image if live else None
    return TrafficSeen(
        production={listener: balancer.listener(listener, rules=False) for listener in weighted},
        listeners=tuple(balancer.listeners()),
        services=services,
        live_image=image,
        live_health_check=balancer.health_check(reader.slot(record.live.colour).service) if record.live else None,
        groups=infrastructure.target_group_arns,
    )


def _service(reader: Operation, colour: Colour) -> SeenService | None:
    named = reader.slot(colour).service
    found = read_service(reader.aws, named)
    if found is None:
        return None
    service_arn = arn(reader.settings, "ecs", f"service/{reader.settings.cluster}/{named.name}")
    return SeenService(Definition(found.task_definition), found.desired, (named.name, service_arn))


@step("who", "ask CloudTrail who changed what differs", writes=False)
def name_hands(reader: Operation, looks: Iterable[Look]) -> Done[dict[Difference, str]]:
    """Return for each difference who made it and when, or that CloudTrail can't tell."""
    settings = reader.settings
    hands: dict[Difference, str] = {}
    trail = Trail(reader.aws, role_arn(settings, "any").split(":")[1])
    why = ""
    for look in looks:
        for difference in look.differences:
            if not why and len(hands) < _ASKED:
                try:
                    events = trail.writes(difference, look.written_at)
                except PointsmanError as error:
                    run_logger().warning("CloudTrail was not asked any further: %s", error)
                    why = f": {error.why or error.what}"
                else:
                    hand = hand_of(difference, events, look.written_at, settings.aws.role_arn)
                    hands[difference] = str(hand or CANNOT_TELL)
                    continue
            hands[difference] = CANNOT_TELL + why
    told = sum(not said.startswith(CANNOT_TELL) for said in hands.values())
    return done(f"it tells {told} of {counted(len(hands), 'difference')}", hands)


@step("report", "publish what was found", writes=False)
def publish(operation: Operation, report: Report) -> Done[None]:
    """Publish the report as an artifact, and an event where something differs, for automations to notify by."""
    create_markdown_artifact(
        key=f"drift-{operation.environment}",
        markdown=report.markdown,
        description=f"Drift in {operation.environment}: {counted(len(report.differences), 'difference')}",
    )
    if not report.differences:
        return done("no difference")
    emit_event(
        event=EVENT,
        resource={
            "prefect.resource.id": f"pointsman.environment.{operation.environment}",
            "prefect.resource.name": operation.environment,
        },
        payload={
            "environment": operation.environment,
            "differences": [str(d) for d in report.differences],
            "hands": [report.hands.get(d, CANNOT_TELL) for d in report.differences],
            "not_looked_at": dict(report.unseen),
            "message": report.message,
        },
    )
    return done(counted(len(report.differences), "difference"))


def _sentence(look: Look) -> str:
    return counted(len(look.differences), "difference") if look.differences else "as it was left"
