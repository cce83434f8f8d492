"""The webhook receiver as a part, restarted by a supervisor of its own when it dies."""

from __future__ import annotations

from sandbox import prefect_blocks
from sandbox.part import Listener, Part, answers, python
from sandbox.settings import CODE, Settings

__all__ = ["exists", "part"]


def exists() -> bool:
    """Whether this checkout has a receiver, and the blocks that it reads when it starts."""
    return (CODE / "webhook" / "app.py").exists() and prefect_blocks.exists()


def part(settings: Settings) -> Part:
    """The receiver as a part."""
    port = settings.ports.webhook
    return Part(
        name="webhook",
        address=settings.webhook_url,
        needs=("prefect", "blocks"),
        listeners=(Listener("127.0.0.1", port, "POINTSMAN_SANDBOX_WEBHOOK_PORT"),),
        command=lambda: python("uvicorn", "webhook.app:app", "--host", "127.0.0.1", "--port", str(port)),
        environment=lambda: {"POINTSMAN_ENVIRONMENT": prefect_blocks.STAGE},
        healthy=lambda: answers(f"{settings.webhook_url}/healthz"),
        start_seconds=60.0,
        supervised=True,
    )
