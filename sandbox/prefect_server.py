"""Prefect's server with its UI, on the sandbox's Postgres; nothing of it calls out of the machine."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Mapping

from sandbox.kept_secrets import prefect_auth, prefect_headers
from sandbox.part import Listener, Part, answers, ask, python
from sandbox.postgres import PREFECT_DATABASE, database_url
from sandbox.settings import CODE, WORK_POOL, Settings

__all__ = ["PrefectServer"]

_EXISTS = 409


class PrefectServer(Part):
    """The server: API under `/api`, the UI at the root."""

    name = "prefect"
    needs = ("postgres",)
    start_seconds = 90.0
    stop_seconds = 8.0

    @property
    def address(self) -> str:
        """The UI's."""
        return self.settings.prefect_url

    def listeners(self) -> tuple[Listener, ...]:
        """Return its port."""
        return (Listener("127.0.0.1", self.settings.ports.prefect, "POINTSMAN_SANDBOX_PREFECT_PORT"),)

    def prepare(self) -> None:
        """Make the directory of its profile and UI."""
        self.settings.directories.prefect.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """Return Prefect's."""
        return python("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.settings.ports.prefect))

    def environment(self) -> Mapping[str, str]:
        """Return the server's settings."""
        settings = self.settings
        return {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(
                settings, PREFECT_DATABASE, scheme="postgresql+asyncpg"
            ),
            "PREFECT_SERVER_API_AUTH_STRING": prefect_auth(settings),
            # A page of any other origin, which a browser has open beside, can read nothing of it.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{settings.prefect_url},http://localhost:{settings.ports.prefect}",
            "PREFECT_SERVER_UI_ENABLED": "true",
            "PREFECT_SERVER_UI_API_URL": f"{settings.prefect_url}/api",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.directories.prefect / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # How long a queued run waits before it looks again whether it may start.
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
        }

    def is_healthy(self) -> bool:
        """Return whether it is ready for calls."""
        return answers(f"{self.settings.prefect_url}/api/ready")

    def finish(self) -> None:
        """Make the work pool."""
        _make_work_pool(self.settings)


def _make_work_pool(settings: Settings) -> None:
    """Make the work pool, whose runs choose nothing of their process; one that exists gets the same template."""
    template = json.loads((CODE / "deploy" / "work-pool.json").read_text())
    pools, headers = f"{settings.prefect_url}/api/work_pools/", prefect_headers(settings)
    pool = {"name": WORK_POOL, "type": "process", "base_job_template": template}
    try:
        ask(pools, pool, headers=headers)
    except urllib.error.HTTPError as error:
        if error.code != _EXISTS:
            raise
        ask(f"{pools}{WORK_POOL}", {"base_job_template": template}, headers=headers, method="PATCH")
