"""The release record's part of drift: what listeners and services do, held against what Pointsman wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.colour import Colour
from core.drift import MISSING, NOTHING, TRAFFIC, Difference
from core.drift_values import shown
from core.foreign import Definition, runs
from core.health_check import HealthCheck
from core.listener import ListenerView, SeenListener
from core.record import EnvironmentRecord, Live
from core.settings import EnvironmentSettings

__all__ = ["SeenService", "TrafficSeen", "traffic_differences"]

# `retire` runs every 15 minutes: so long after the window a colour may still be warm.
_RETIRED_WITHIN = timedelta(minutes=30)


@dataclass(frozen=True)
class SeenService:
    """A slot's service: its definition, and how many tasks it is to have."""

    definition: Definition
    desired: int
    names: tuple[str, ...] = ()
    """How CloudTrail may know it."""


@dataclass(frozen=True)
class TrafficSeen:
    """One look at the listeners and at both colours."""

    production: Mapping[str, ListenerView]
    """What the production listener does, and the one on port 80 while HTTPS is being set up; by ARN."""
    listeners: tuple[SeenListener, ...] = ()
    services: Mapping[Colour, SeenService | None] = field(default_factory=dict)
    live_image: str | None = None
    """What the definition of the live colour's service has for an image."""
    live_health_check: HealthCheck | None = None
    groups: Mapping[Colour, str] = field(default_factory=dict)


def traffic_differences(
    record: EnvironmentRecord,
    settings: EnvironmentSettings,
    seen: TrafficSeen,
    known: frozenset[str] | None,
    now: datetime,
) -> tuple[Difference, ...]:
    """Return where listeners and services are not as the record has them.

    `known` are the listeners in Terraform's state, None where that could not be read.
    """
    found = [*_listeners(record, seen, known)]
    for colour in Colour:
        service = seen.services.get(colour)
        if record.live is not None and colour is record.live.colour:
            found += _live_service(record.live, settings, seen, service)
        elif service is not None and service.desired > 0 and not _may_be_warm(record, settings, service, now):
            attribute = "desired count"
            found.append(_of_service(colour, service, attribute, "0: nothing is released there", str(service.desired)))
    return tuple(found)


def _listeners(record: EnvironmentRecord, seen: TrafficSeen, known: frozenset[str] | None) -> Iterator[Difference]:
    ports = {one.arn: f"listener on port {one.port}" for one in seen.listeners}
    for arn, view in seen.production.items():
        address = f"production {ports.get(arn, 'listener')}"
        if not record.ours(view.weights):
            yield _of_listener(arn, address, "weights", str(record.weights or NOTHING), str(view.weights))
        if view.strange:
            yield _of_listener(
                arn, address, "default action", "one forward to both target groups", f"it {view.strange}"
            )
    for listener in seen.listeners:
        address = f"listener on port {listener.port}"
        if known is not None and listener.arn not in known:
            yield _of_listener(listener.arn, address, "", NOTHING, "a listener that Terraform did not make")
        for rule in listener.rules:
            yield _of_listener(listener.arn, address, "rule", NOTHING, shown(rule))


def _of_listener(arn: str, address: str, attribute: str, recorded: str, found: str) -> Difference:
    # Who made a listener named the load balancer; its own ARN was the answer.
    balancer = arn.replace(":listener/", ":loadbalancer/").rpartition("/")[0]
    calls = {"rule": ("CreateRule", "ModifyRule", "SetRulePriorities"), "": ("CreateListener",)}
    names = (arn, balancer) if attribute == "" else (arn,)
    return Difference(
        TRAFFIC,
        address,
        attribute,
        recorded,
        found,
        names,
        "elasticloadbalancing",
        calls.get(attribute, ("ModifyListener",)),
    )


def _live_service(
    live: Live, settings: EnvironmentSettings, seen: TrafficSeen, service: SeenService | None
) -> Iterator[Difference]:
    colour, version = live.colour, live.release.version
    if service is None:
        names = (settings.service_name(colour),)
        yield Difference(TRAFFIC, f"{colour} service", "", f"runs {version}", MISSING, names, "ecs")
        return
    if not runs(live, service.definition):
        recorded = (live.definition or version).rpartition("/")[2]
        yield _of_service(colour, service, "task definition", recorded, str(service.definition))
    elif seen.live_image is not None and not live.adopted and seen.live_image != live.release.image:
        yield _of_service(colour, service, "image", live.release.image, seen.live_image)
    wanted = settings.service.desired_count
    if service.desired < wanted:
        yield _of_service(colour, service, "desired count", f"at least {wanted}", str(service.desired))
    check = seen.live_health_check
    recorded_check = live.release.configuration.health_check(path_if_unknown=check.path) if check else None
    if check != recorded_check:
        yield Difference(
            TRAFFIC,
            f"{colour} target group",
            "health check",
            str(recorded_check),
            str(check),
            (seen.groups[colour],) if colour in seen.groups else (),
            "elasticloadbalancing",
        )


def _of_service(colour: Colour, service: SeenService, attribute: str, recorded: str, found: str) -> Difference:
    return Difference(TRAFFIC, f"{colour} service", attribute, recorded, found, service.names, "ecs")


def _may_be_warm(record: EnvironmentRecord, settings: EnvironmentSettings, service: SeenService, now: datetime) -> bool:
    """Whether a colour that is not live may have tasks: those of a release that was healthy, until it is retired."""
    if record.live is None or not any(runs(one, service.definition) for one in record.healthy if one.definition):
        return False
    if not settings.retire_on_schedule:
        return True
    return now < record.live.since + timedelta(seconds=settings.timing.rollback_window) + _RETIRED_WITHIN
