"""Health checks as an ALB makes them: one watcher a target, on the data plane's loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from emulator.data_plane import DataPlane
from emulator.network import target_is_reached
from emulator.routing import load_balancers_of, scope_of
from emulator.settings import Settings
from emulator.targets import Health, Target, TargetRegistry, Thresholds
from emulator.upstream import alb

__all__ = ["HealthChecks", "matches"]

logger = logging.getLogger("pointsman.health")
_UNUSED_POLL = 0.5


def matches(status: int, matcher: str) -> bool:
    """Return whether a status is in a matcher such as `200`, `200,204` or `200-299`."""
    for part in matcher.split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


class HealthChecks:
    """Watches every registered target and writes what it sees into the registry."""

    def __init__(self, plane: DataPlane, registry: TargetRegistry, settings: Settings) -> None:
        self._plane = plane
        self._registry = registry
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        registry.on_registered.append(self._watch)

    async def open(self) -> None:
        """Make the client; on the data plane's loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        """Close the client."""
        if self._session is not None:
            await self._session.close()

    def _watch(self, target: Target) -> None:
        self._plane.submit(self._run(target))

    async def _run(self, target: Target) -> None:
        try:
            while self._registry.holds(target):
                await asyncio.sleep(await self._step(target))
        except Exception:
            logger.exception("health checks of %s ended", target.name)

    async def _step(self, target: Target) -> float:
        """One check; returns the seconds until the next."""
        account, region = scope_of(target.group)
        group = alb._tgs.get_scoped(account, region, target.group)
        if group is None or not load_balancers_of(target.group):
            self._registry.mark_unused(target)
            return _UNUSED_POLL
        self._registry.mark_used(target)
        interval = float(group["HealthCheckIntervalSeconds"]) * self._settings.health_interval_scale
        thresholds = Thresholds(
            healthy=group["HealthyThresholdCount"],
            unhealthy=group["UnhealthyThresholdCount"],
            initial_patience=interval * group["UnhealthyThresholdCount"],
        )
        failure = await self._probe(target, group)
        if not self._registry.holds(target):
            return 0
        if failure is None:
            self._registry.record_success(target, thresholds)
        else:
            self._registry.record_failure(target, thresholds, *failure)
        # An ALB checks a new target from several nodes; one node asks more often instead.
        first = min(interval, self._settings.initial_probe_interval)
        return first if target.health is Health.INITIAL else interval

    async def _probe(self, target: Target, group: dict[str, Any]) -> tuple[str, str] | None:
        """None when the check passed, else reason code and description."""
        assert self._session is not None
        port = target.port if group["HealthCheckPort"] == "traffic-port" else int(group["HealthCheckPort"])
        if not target_is_reached(target.group, target.host, port):
            return "Target.Timeout", "Request timed out"
        host = f"[{target.host}]" if ":" in target.host else target.host
        timeout = float(group["HealthCheckTimeoutSeconds"])
        matcher = group["Matcher"]["HttpCode"]
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.get(
                    f"http://{host}:{port}{group['HealthCheckPath']}",
                    headers={"User-Agent": "ELB-HealthChecker/2.0"},
                    allow_redirects=False,
                ) as response,
            ):
                if matches(response.status, matcher):
                    return None
                return (
                    "Target.ResponseCodeMismatch",
                    f"Health checks failed with these codes: [{response.status}]",
                )
        except TimeoutError:
            return "Target.Timeout", "Request timed out"
        except (aiohttp.ClientError, OSError, ValueError):
            return "Target.FailedHealthChecks", "Health checks failed"
