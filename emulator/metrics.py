"""What an ALB publishes to CloudWatch, written into the emulated one every few seconds.

Names, dimensions and "only when not zero" follow
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, defaultdict

from emulator.routing import load_balancers_of, scope_of
from emulator.settings import Settings
from emulator.targets import Health, TargetRegistry
from emulator.upstream import cloudwatch, responses

__all__ = ["Metrics"]

logger = logging.getLogger("pointsman.metrics")
_NAMESPACE = "AWS/ApplicationELB"
# Names that CloudWatch gets as a sum, by load balancer and, where there is one, by target group.
_Key = tuple[str, str | None]


def _tail(arn: str, kind: str) -> str:
    resource = arn.split(":", 5)[5]
    return resource.removeprefix("loadbalancer/") if kind == "LoadBalancer" else resource


class Metrics:
    """Counts requests on any thread and publishes the sums on one."""

    def __init__(self, registry: TargetRegistry, settings: Settings) -> None:
        self._registry = registry
        self._period = settings.metrics_period
        self._lock = threading.Lock()
        self._sums: Counter[tuple[_Key, str]] = Counter()
        self._times: defaultdict[_Key, list[float]] = defaultdict(list)

    def target_answered(self, load_balancer: str, group: str, status: int, seconds: float) -> None:
        """Count an answer of a target with `status`; `seconds` from the request's hand-over to the response's head."""
        name = f"HTTPCode_Target_{status // 100}XX_Count"
        with self._lock:
            for key in ((load_balancer, None), (load_balancer, group)):
                self._sums[key, "RequestCount"] += 1
                self._sums[key, name] += 1
                self._times[key].append(round(seconds, 3))

    def balancer_answered(self, load_balancer: str, group: str | None, status: int) -> None:
        """Count an answer of the load balancer itself, without or in place of a target."""
        with self._lock:
            key: _Key = (load_balancer, None)
            self._sums[key, "RequestCount"] += 1
            self._sums[key, f"HTTPCode_ELB_{status // 100}XX_Count"] += 1
            if status >= 500:
                self._sums[key, f"HTTPCode_ELB_{status}_Count"] += 1
            if group is not None:
                self._sums[(load_balancer, group), "RequestCount"] += 1

    async def run(self) -> None:
        """Publish forever, once a period."""
        while True:
            await asyncio.sleep(self._period)
            try:
                await asyncio.to_thread(self.publish)
            except Exception:
                logger.exception("metrics of one period are lost")

    def publish(self) -> None:
        """Write what was counted since the last call, and the healthy and unhealthy targets of now."""
        with self._lock:
            sums, self._sums = self._sums, Counter()
            times, self._times = self._times, defaultdict(list)
        now = time.time()
        scopes = set()
        for ((balancer, group), name), count in sums.items():
            scopes.add(scope_of(balancer))
            counted = {"SampleCount": count, "Sum": count, "Minimum": 1, "Maximum": 1}
            self._store(balancer, group, name, now, "Count", None, None, counted)
        for (balancer, group), seconds in times.items():
            spread = Counter(seconds)
            self._store(
                balancer,
                group,
                "TargetResponseTime",
                now,
                "Seconds",
                list(spread),
                list(spread.values()),
                None,
            )
        for group_arn in self._registry.groups():
            members = self._registry.members(group_arn)
            for balancer in load_balancers_of(group_arn):
                scopes.add(scope_of(balancer))
                for name, state in (
                    ("HealthyHostCount", Health.HEALTHY),
                    ("UnHealthyHostCount", Health.UNHEALTHY),
                ):
                    value = float(sum(1 for target in members if target.health is state))
                    self._store(balancer, group_arn, name, now, "Count", [value], [1.0], None)
        for account, region in scopes:
            with responses.request_scope(account, region):
                cloudwatch._evaluate_all_alarms()

    def _store(
        self,
        balancer: str,
        group: str | None,
        name: str,
        now: float,
        unit: str,
        values: list[float] | None,
        counts: list[int] | list[float] | None,
        statistics: dict[str, int] | None,
    ) -> None:
        dimensions = {"LoadBalancer": _tail(balancer, "LoadBalancer")}
        if group is not None:
            dimensions["TargetGroup"] = _tail(group, "TargetGroup")
        account, region = scope_of(balancer)
        with responses.request_scope(account, region):
            cloudwatch._store_datum(_NAMESPACE, name, dimensions, now, unit, None, values, counts, statistics)
