"""The ``reconcile`` flow, in a process of its own, which a dead worker does not take along."""

from __future__ import annotations

import time
from datetime import datetime

from sandbox.kept_secrets import prefect_headers
from sandbox.part import Part, ask, python
from sandbox.process import read_pid_file, uptime
from sandbox.settings import CODE, Settings

__all__ = ["exists", "part"]


def exists() -> bool:
    """Whether this checkout has a reconciler."""
    return (CODE / "reconciler" / "__main__.py").exists()


def part(settings: Settings) -> Part:
    """The reconciler as a part: it works once this very process has told the server of its deployment."""
    return Part(
        name="reconciler",
        address="reconcile/sandbox",
        needs=("prefect", "aws"),
        command=lambda: python("reconciler"),
        healthy=lambda: _serves(settings),
        start_seconds=60.0,
        supervised=True,
    )


def _serves(settings: Settings) -> bool:
    child = read_pid_file(settings.directories.run / "reconciler.child.pid")
    if child is None or not child.alive:
        return False
    started = time.time() - uptime(child)
    try:
        deployment = ask(
            f"{settings.prefect_url}/api/deployments/name/reconcile/sandbox", headers=prefect_headers(settings)
        )
    except (OSError, ValueError):
        return False
    if not isinstance(deployment, dict):
        return False
    seen = (deployment.get("updated"), deployment.get("last_polled"))
    return any(datetime.fromisoformat(moment).timestamp() >= started for moment in seen if moment)
