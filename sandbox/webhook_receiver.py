"""The webhook receiver as a part, restarted by a supervisor of its own when it dies."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.part import Listener, Part, answers, python
from sandbox.prefect_blocks import STAGE

__all__ = ["WebhookReceiver"]

_AWS_IDENTITY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE")


class WebhookReceiver(Part):
    """The receiver, which reads its blocks when it starts."""

    name = "webhook"
    needs = ("prefect", "blocks")
    supervised = True

    @property
    def address(self) -> str:
        """Where deliveries go."""
        return self.settings.webhook_url

    def listeners(self) -> tuple[Listener, ...]:
        """Return its port."""
        return (Listener("127.0.0.1", self.settings.ports.webhook, "POINTSMAN_SANDBOX_WEBHOOK_PORT"),)

    def command(self) -> list[str]:
        """Return uvicorn's."""
        return python("uvicorn", "webhook.app:app", "--host", "127.0.0.1", "--port", str(self.settings.ports.webhook))

    def environment(self) -> Mapping[str, str]:
        """Return the environment that it serves; it has no business with AWS, so it gets no keys."""
        return {"POINTSMAN_ENVIRONMENT": STAGE, **dict.fromkeys(_AWS_IDENTITY, "")}

    def is_healthy(self) -> bool:
        """Return whether it answers."""
        return answers(f"{self.settings.webhook_url}/healthz")
