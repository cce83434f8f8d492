"""`python -m reconciler`: serves `reconcile/<environment>` and watches that environment's records.

It is a process of its own, so that a dead worker does not take it along, and its runs need no worker.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta

from prefect.runner import Runner
from prefect.utilities.annotations import freeze

from blocks.environment import read_settings
from core.errors import PointsmanError
from flows.reconcile import reconcile
from reconciler.runs import Runs
from reconciler.watch import Watch

__all__ = ["main", "serve"]

_EVERY = timedelta(minutes=5)
# Prefect's own default is ten seconds, which would come on top of each look.
_POLL_SECONDS = 1.0


def main() -> None:
    """Serve and watch the environment that POINTSMAN_ENVIRONMENT names."""
    environment = os.environ.get("POINTSMAN_ENVIRONMENT", "sandbox")
    try:
        read_settings(environment)
    except PointsmanError as error:
        sys.exit(str(error))
    Watch(environment, Runs(environment).start).start()
    asyncio.run(serve(environment))


async def serve(environment: str) -> None:
    """Serve the flow until the process is asked to end; each run is a process below this one."""
    runner = Runner(name=environment, query_seconds=_POLL_SECONDS)
    await runner.aadd_flow(
        reconcile,
        name=environment,
        parameters={"environment": freeze(environment)},
        interval=_EVERY,
        description="Cleans up an environment whose run died.",
        tags=[environment],
    )
    await runner.start()


# Prefect starts each run as a new process that imports this module.
if __name__ == "__main__":
    main()
