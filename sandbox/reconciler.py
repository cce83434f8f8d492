"""The `reconcile` flow, in a process of its own, which a dead worker does not take along."""

from __future__ import annotations

import time
from datetime import datetime

from sandbox.kept_secrets import prefect_headers
from sandbox.part import Part, ask, python
from sandbox.process import uptime

__all__ = ["Reconciler"]


class Reconciler(Part):
    """The reconciler: it works once this very process has told the server of its deployment."""

    name = "reconciler"
    needs = ("prefect", "aws")
    supervised = True

    @property
    def address(self) -> str:
        """Its deployment."""
        return "reconcile/sandbox"

    def command(self) -> list[str]:
        """Return the command that runs it."""
        return python("reconciler")

    def is_healthy(self) -> bool:
        """Return whether its deployment was written since it started."""
        child = self.worker()
        if child is None or not child.alive:
            return False
        started = time.time() - uptime(child)
        url = f"{self.settings.prefect_url}/api/deployments/name/reconcile/sandbox"
        try:
            deployment = ask(url, headers=prefect_headers(self.settings))
        except (OSError, ValueError):
            return False
        if not isinstance(deployment, dict):
            return False
        seen = (deployment.get("updated"), deployment.get("last_polled"))
        return any(datetime.fromisoformat(moment).timestamp() >= started for moment in seen if moment)
