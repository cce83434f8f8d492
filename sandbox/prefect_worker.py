"""Prefect's process worker on the work pool ``pointsman``; each flow run is a process below it."""

from __future__ import annotations

import time
from datetime import datetime

from sandbox.kept_secrets import prefect_headers
from sandbox.part import Part, ask, python
from sandbox.process import read_pid_file, uptime
from sandbox.settings import WORK_POOL, Settings

__all__ = ["part"]

_NAME = "sandbox"


def part(settings: Settings) -> Part:
    """The worker as a part: it works once the server has had a heartbeat of this very process."""
    return Part(
        name="worker",
        address=f"work pool {WORK_POOL}",
        needs=("prefect", "aws"),
        command=lambda: python("prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", _NAME),
        environment=lambda: {
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
        },
        healthy=lambda: _online(settings),
        start_seconds=60.0,
        stop_seconds=5.0,
        keeps_children=True,
    )


def _online(settings: Settings) -> bool:
    identity = read_pid_file(settings.directories.run / "worker.pid")
    if identity is None:
        return False
    started = time.time() - uptime(identity)
    try:
        workers = ask(
            f"{settings.prefect_url}/api/work_pools/{WORK_POOL}/workers/filter", {}, headers=prefect_headers(settings)
        )
    except (OSError, ValueError):
        return False
    return isinstance(workers, list) and any(
        worker["name"] == _NAME
        and worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= started
        for worker in workers
    )
