"""Prefect's process worker on the work pool `pointsman`; each flow run is a process below it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from sandbox.kept_secrets import prefect_headers
from sandbox.part import Part, ask, python
from sandbox.process import uptime
from sandbox.settings import WORK_POOL

__all__ = ["Worker"]

_NAME = "sandbox"


class Worker(Part):
    """The worker: it works once the server has had a heartbeat of this very process."""

    name = "worker"
    needs = ("prefect", "aws")
    stop_seconds = 5.0
    keeps_children = True

    @property
    def address(self) -> str:
        """Its work pool."""
        return f"work pool {WORK_POOL}"

    def command(self) -> list[str]:
        """Return Prefect's."""
        return python("prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", _NAME)

    def environment(self) -> Mapping[str, str]:
        """Return how often it looks for work."""
        return {
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
        }

    def is_healthy(self) -> bool:
        """Return whether the server has heard of it since it started."""
        identity = self.worker()
        if identity is None:
            return False
        started = time.time() - uptime(identity)
        url = f"{self.settings.prefect_url}/api/work_pools/{WORK_POOL}/workers/filter"
        try:
            workers = ask(url, {}, headers=prefect_headers(self.settings))
        except (OSError, ValueError):
            return False
        return isinstance(workers, list) and any(
            worker["name"] == _NAME
            and worker["status"] == "ONLINE"
            and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= started
            for worker in workers
        )
