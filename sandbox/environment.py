"""The environment variables of a sandbox: of a command that works against it, and of its parts."""

from __future__ import annotations

import os

from sandbox import environment_file, postgres
from sandbox.kept_secrets import prefect_auth
from sandbox.process import MARK_PART, MARK_SANDBOX
from sandbox.settings import CODE, REGION, Settings

__all__ = ["of_a_command", "of_a_part"]

# A developer's own accounts and servers must not reach into the sandbox, nor the sandbox out to them.
_FOREIGN = ("AWS_", "PREFECT_")
_WELCOME = ("PREFECT_LOGGING_",)


def of_a_command(settings: Settings) -> dict[str, str]:
    """Return what a command needs to work against this sandbox, the keys included."""
    ports = settings.ports
    return {
        "POINTSMAN_ENVIRONMENTS": str(environment_file.folder(settings)),
        "PREFECT_API_URL": f"{settings.prefect_url}/api",
        "PREFECT_API_AUTH_STRING": prefect_auth(settings),
        "PREFECT_HOME": str(settings.directories.prefect),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.3",
        "DO_NOT_TRACK": "1",
        "AWS_ENDPOINT_URL": settings.aws_url,
        "AWS_S3_USE_PATH_STYLE": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Files of the developer's must not be read: a profile in them would win over the keys above.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": str(settings.aws_credentials) if settings.auth else os.devnull,
        "POINTSMAN_SANDBOX_DATABASE_URL": postgres.database_url(settings, postgres.APPLICATION_DATABASE),
        "POINTSMAN_SANDBOX_CONTAINER_DATABASE_URL": postgres.database_url(
            settings, postgres.APPLICATION_DATABASE, host=settings.bridge
        ),
        "POINTSMAN_SANDBOX_AWS_PORT": str(ports.aws),
        "POINTSMAN_SANDBOX_PREFECT_PORT": str(ports.prefect),
        "POINTSMAN_SANDBOX_POSTGRES_PORT": str(ports.postgres),
        "POINTSMAN_SANDBOX_WEBHOOK_PORT": str(ports.webhook),
        "POINTSMAN_SANDBOX_PRODUCTION_PORT": str(ports.production),
        "POINTSMAN_SANDBOX_TEST_BLUE_PORT": str(ports.test_blue),
        "POINTSMAN_SANDBOX_TEST_GREEN_PORT": str(ports.test_green),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def of_a_part(settings: Settings, name: str) -> dict[str, str]:
    """Return what every part and step has: ours without a developer's accounts, a command's, and the marks."""
    kept = {
        variable: value
        for variable, value in os.environ.items()
        if not variable.startswith(_FOREIGN) or variable.startswith(_WELCOME)
    }
    return {
        **kept,
        **of_a_command(settings),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CODE), kept.get("PYTHONPATH", "")))),
        "PYTHONUNBUFFERED": "1",
        MARK_SANDBOX: settings.identity,
        MARK_PART: name,
    }
