"""What the end of an environment leaves behind, and what that goes on costing."""

from __future__ import annotations

from core.settings import EnvironmentSettings

__all__ = ["what_stays"]


def what_stays(settings: EnvironmentSettings) -> tuple[str, ...]:
    """Return what `destroy` keeps, each with what it costs."""
    secrets = sorted({reference.source for reference in settings.secret_references})
    kept = [
        f"the images in {settings.repository} (ECR storage, by GB and month)",
        f"states and records in the bucket {settings.state_bucket} (S3 storage, cents a month)",
        "the database, its backups and its inbound rule for the old NAT address, which you may remove (RDS)",
        "registered task definitions (free)",
        "roles and repository of the account (free)",
    ]
    if secrets:
        kept.append(
            f"the secrets {', '.join(secrets)} (Secrets Manager by secret and month, parameters of SSM mostly free)"
        )
    return tuple(kept)
