"""What a receiver process takes from its environment variables; all else is in the environment's file and block."""

from pathlib import Path

from pydantic import BaseModel, Field

GITHUB_BODY_CAP = 25_000_000
"""Bytes; GitHub sends no larger payload (https://docs.github.com/en/webhooks/webhook-events-and-payloads)."""


class ReceiverSettings(BaseModel):
    """One receiver, each field read from the variable of the process environment that is its alias."""

    environment: str = Field(
        alias="POINTSMAN_ENVIRONMENT",
        pattern=r"^[^\s,]+(\s*,\s*[^\s,]+)*$",
        description="The environment that this receiver releases to, or several with commas between them.",
    )
    secrets_file: Path | None = Field(
        default=None,
        alias="POINTSMAN_WEBHOOK_SECRETS_FILE",
        description="A file with the secrets that GitHub may sign with, one a line; the environment's block if unset.",
    )
    max_body_bytes: int = Field(
        default=256 * 1024,
        alias="POINTSMAN_WEBHOOK_MAX_BODY_BYTES",
        ge=1024,
        le=GITHUB_BODY_CAP,
        description="Larger bodies get 413. Far below GitHub's cap: a body is held before its sender is known. "
        "The push of a tag is some 10 kB.",
    )
    max_bodies: int = Field(
        default=16,
        alias="POINTSMAN_WEBHOOK_MAX_BODIES",
        ge=1,
        le=1_000,
        description="While so many bodies are being read, others get 503.",
    )
    body_seconds: float = Field(
        default=10.0,
        alias="POINTSMAN_WEBHOOK_BODY_SECONDS",
        gt=0,
        description="A body that takes longer to arrive gets 408.",
    )
    answer_seconds: float = Field(
        default=0.8,
        alias="POINTSMAN_WEBHOOK_ANSWER_SECONDS",
        gt=0,
        le=9,
        description="Longest wait for Prefect; GitHub itself gives up after 10 s.",
    )

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments that this receiver releases to, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.environment.split(",")))
