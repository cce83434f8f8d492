"""The watch: one look at an environment's record every few seconds, for as long as the process lives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prefect.logging import get_logger

from blocks.environment import load_environment, read_settings
from core.errors import PointsmanError
from core.foreign import foreign_hand
from core.reconciliation import Work, looks_for_foreign_hands, pending_work
from core.settings import EnvironmentSettings
from flows.reconcile import look_beside, see_dead_runs
from operation.foreign_hands import look
from operation.operation import open_records
from systems.aws import AwsClients
from systems.records import RecordStore

__all__ = ["Watch", "find_work"]

_log = get_logger("pointsman.reconciler")


def find_work(store: RecordStore, aws: AwsClients, settings: EnvironmentSettings) -> frozenset[Work]:
    """Look once and return what is to be done.

    Raises what S3 or the load balancer raises. What the record says is enough for most of it, so AWS and Prefect are
    asked only where that is nothing: neither's silence hinders a takeover.
    """
    record = store.environment()
    expiry = settings.timing.lease_expiry
    beside = look_beside(record)
    work = pending_work(record, beside, expiry=expiry)
    if work:
        return work
    if looks_for_foreign_hands(record):
        beside = replace(beside, foreign=foreign_hand(record, look(aws, settings, record)) is not None)
    beside = replace(beside, dead_runs=see_dead_runs(store.environment_name, expiry))
    # They are held against a record that is newer than their death.
    return pending_work(store.environment() if beside.dead_runs else record, beside, expiry=expiry)


class Watch(threading.Thread):
    """Looks at one environment again and again, and calls `start` where there is something to do."""

    def __init__(self, environment: str, start: Callable[[], object]) -> None:
        super().__init__(name=f"watch {environment}", daemon=True)
        self.environment = environment
        self._start_run = start
        self._seen: tuple[RecordStore, AwsClients] | None = None

    def run(self) -> None:
        """Look for ever; an error of one round is logged and the next round comes.

        The file that POINTSMAN_ALIVE_FILE names is touched before each round, so that a health check sees it go on.
        """
        every = read_settings(self.environment).timing.reconcile_every
        alive = os.environ.get("POINTSMAN_ALIVE_FILE")
        while True:
            if alive:
                Path(alive).touch()
            try:
                self.look_once()
            except PointsmanError as error:
                _log.error("Checking %s failed: %s", self.environment, error)
            except Exception:  # noqa: BLE001 - a boundary: whatever happened, the watch goes on
                _log.exception("Checking %s failed", self.environment)
            time.sleep(every)

    def look_once(self) -> None:
        """Look, and start a run if there is something to do; its credentials are read from Prefect's block once."""
        if self._seen is None:
            block = load_environment(self.environment).acting_in("reconcile")
            aws = AwsClients(block)
            self._seen = open_records(block, aws), aws
        work = find_work(*self._seen, read_settings(self.environment))
        if work:
            _log.info("%s: to %s", self.environment, ", ".join(sorted(work)))
            self._start_run()
