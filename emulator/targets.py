"""The targets of every target group: their health, their open requests, and which one is next.

One registry is read and written by MiniStack's handlers, the proxy, the health checks and ECS, each on a thread
of its own; every method takes the lock and does no I/O.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Health", "Target", "TargetRegistry", "Thresholds"]

logger = logging.getLogger("pointsman.targets")


class Health(StrEnum):
    """A target's state, in the words of DescribeTargetHealth."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many checks in a row change a target's state, and how long a new target may fail (seconds)."""

    healthy: int
    unhealthy: int
    initial_patience: float


@dataclass(eq=False, slots=True)
class Target:
    """One address in one target group."""

    group: str
    host: str
    port: int
    health: Health = Health.INITIAL
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    open_requests: int = 0
    passes: int = 0
    failures: int = 0
    registered_at: float = field(default_factory=time.monotonic)
    drained_at: float | None = None

    @property
    def name(self) -> str:
        """Host and port, for log lines."""
        return f"{self.host}:{self.port}"


class TargetRegistry:
    """Members of target groups, keyed by the group's ARN and the target's address."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._groups: dict[str, dict[tuple[str, int], Target]] = {}
        self._turn: dict[str, int] = {}
        self.on_registered: list[Callable[[Target], None]] = []
        self.on_changed: list[Callable[[Target, Health], None]] = []

    def register(self, group: str, host: str, port: int) -> None:
        """Add a target; one that is draining starts anew, one that is there already stays as it is."""
        with self._lock:
            members = self._groups.setdefault(group, {})
            known = members.get((host, port))
            if known is not None and known.health is not Health.DRAINING:
                return
            target = members[host, port] = Target(group, host, port)
        logger.info("%s registered in %s", target.name, group.rsplit("/", 2)[-2])
        for tell in self.on_registered:
            tell(target)

    def deregister(self, group: str, host: str, port: int, delay: float) -> None:
        """Send the target no new request; list it as draining for `delay` seconds."""
        with self._lock:
            target = self._groups.get(group, {}).get((host, port))
            if target is None or target.health is Health.DRAINING:
                return
            if target.health is Health.UNUSED:
                del self._groups[group][host, port]
                return
            target.health = Health.DRAINING
            target.reason = "Target.DeregistrationInProgress"
            target.description = "Target deregistration is in progress"
            target.drained_at = time.monotonic() + delay
        logger.info("%s draining from %s, %d open", target.name, group.rsplit("/", 2)[-2], target.open_requests)

    def forget_group(self, group: str) -> None:
        """Drop a deleted target group."""
        with self._lock:
            self._groups.pop(group, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._groups.clear()

    def members(self, group: str) -> list[Target]:
        """Return registered and draining targets, in the order of registration."""
        now = time.monotonic()
        with self._lock:
            members = self._groups.get(group, {})
            for address, target in list(members.items()):
                if target.drained_at is not None and target.drained_at <= now:
                    del members[address]
            return list(members.values())

    def groups(self) -> list[str]:
        """Return the ARNs of the groups that have, or had, a target."""
        with self._lock:
            return list(self._groups)

    def find(self, group: str, host: str, port: int) -> Target | None:
        """Return the target at this address, draining included."""
        with self._lock:
            return self._groups.get(group, {}).get((host, port))

    def holds(self, target: Target) -> bool:
        """Return whether this very registration is still a member and takes part in health checks."""
        with self._lock:
            return (
                self._groups.get(target.group, {}).get((target.host, target.port)) is target
                and target.health is not Health.DRAINING
            )

    def acquire(self, group: str) -> Target | None:
        """Choose the next target and count a request on it; `release` it afterwards. None: no target is registered.

        Healthy targets take turns. Without any, all registered ones do, as an ALB "fails open".
        """
        with self._lock:
            registered = [t for t in self._groups.get(group, {}).values() if t.health is not Health.DRAINING]
            choice = [t for t in registered if t.health is Health.HEALTHY] or registered
            if not choice:
                return None
            turn = self._turn[group] = self._turn.get(group, -1) + 1
            target = choice[turn % len(choice)]
            target.open_requests += 1
            return target

    def release(self, target: Target) -> None:
        """Count a request as finished."""
        with self._lock:
            target.open_requests -= 1

    def is_drained(self, target: Target, *, whole: bool = False) -> bool:
        """Return whether a deregistered target has no open request, or its delay is over; `whole`: only the latter."""
        with self._lock:
            if target.drained_at is None:
                return target.open_requests <= 0
            overdue = target.drained_at <= time.monotonic()
            return overdue or (target.open_requests <= 0 and not whole)

    def mark_unused(self, target: Target) -> None:
        """Note that the target's group is in no listener: no checks, no traffic."""
        self._change(target, Health.UNUSED, "Target.NotInUse", "Target group is not configured to receive traffic")

    def mark_used(self, target: Target) -> None:
        """Note that the target's group came into a listener: checks begin."""
        with self._lock:
            if target.health is not Health.UNUSED:
                return
            target.registered_at = time.monotonic()
        self._change(target, Health.INITIAL, "Elb.RegistrationInProgress", "Target registration is in progress")

    def record_success(self, target: Target, thresholds: Thresholds) -> None:
        """Note that a check passed: a new target is healthy at once, an unhealthy one after the threshold."""
        with self._lock:
            target.failures = 0
            target.passes += 1
            enough = target.health is Health.INITIAL or target.passes >= thresholds.healthy
        if enough:
            self._change(target, Health.HEALTHY, "", "")

    def record_failure(self, target: Target, thresholds: Thresholds, reason: str, description: str) -> None:
        """Note that a check failed: unhealthy after the threshold; a new target gets `initial_patience` seconds."""
        with self._lock:
            target.passes = 0
            target.failures += 1
            if target.health is Health.INITIAL:
                over = time.monotonic() - target.registered_at >= thresholds.initial_patience
                target.reason = "Elb.InitialHealthChecking"
                target.description = "Initial health checks in progress"
            else:
                over = target.failures >= thresholds.unhealthy
        if over:
            self._change(target, Health.UNHEALTHY, reason, description)

    def _change(self, target: Target, health: Health, reason: str, description: str) -> None:
        with self._lock:
            if target.health is Health.DRAINING:
                return
            before = target.health
            target.health, target.reason, target.description = health, reason, description
        if before is not health:
            logger.info("%s is %s (was %s) %s", target.name, health, before, description)
            for tell in self.on_changed:
                tell(target, before)
