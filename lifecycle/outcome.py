"""How a flow run ends, as Prefect knows it."""

from __future__ import annotations

from prefect.client.schemas.objects import State

__all__ = ["Outcome"]

Outcome = State[None]
