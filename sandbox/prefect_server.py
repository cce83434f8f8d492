"""Prefect's server with its UI, on the sandbox's Postgres; nothing of it calls out of the machine."""

from __future__ import annotations

import json
import urllib.error

from sandbox.kept_secrets import prefect_auth, prefect_headers
from sandbox.part import Listener, Part, answers, ask, python
from sandbox.postgres import PREFECT_DATABASE, database_url
from sandbox.settings import CODE, WORK_POOL, Settings

__all__ = ["make_work_pool", "part"]

_EXISTS = 409


def part(settings: Settings) -> Part:
    """The server as a part: API under ``/api``, the UI at the root."""
    port, home = settings.ports.prefect, settings.directories.prefect
    return Part(
        name="prefect",
        address=settings.prefect_url,
        needs=("postgres",),
        listeners=(Listener("127.0.0.1", port, "POINTSMAN_SANDBOX_PREFECT_PORT"),),
        prepare=lambda: home.mkdir(parents=True, exist_ok=True),
        command=lambda: python("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        environment=lambda: {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(
                settings, PREFECT_DATABASE, scheme="postgresql+asyncpg"
            ),
            "PREFECT_SERVER_API_AUTH_STRING": prefect_auth(settings),
            # A page of any other origin, which a browser has open beside, can read nothing of it.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{settings.prefect_url},http://localhost:{port}",
            "PREFECT_SERVER_UI_ENABLED": "true",
            "PREFECT_SERVER_UI_API_URL": f"{settings.prefect_url}/api",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # How long a queued run waits before it looks again whether it may start.
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
        },
        healthy=lambda: answers(f"{settings.prefect_url}/api/ready"),
        finish=lambda: make_work_pool(settings),
        start_seconds=90.0,
        stop_seconds=8.0,
    )


def make_work_pool(settings: Settings) -> None:
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
