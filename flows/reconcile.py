"""`reconcile`: brings an environment whose release died to a settled state, with nobody pressing anything.

`python -m flows.reconcile` serves it in a process of its own, which a dead worker does not take along. That process
looks at the records every few seconds, which costs one read each, and runs the flow only where there is something to
settle.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import load_environment, read_settings
from core.errors import PointsmanError
from core.foreign import foreign_hand
from core.lease import LeaseVerdict, judge_lease, leave_queue
from core.record import EnvironmentRecord, Owner, QueuedRelease
from lifecycle.run import Outcome, run_operation
from lifecycle.takeover import take_over
from operation.foreign_hands import look, refuse_foreign_hands
from operation.lease import now
from operation.operation import Operation, open_records
from systems.aws import AwsClients
from systems.prefect_api import close_run, dead_runs, run_is_over
from systems.processes import process_is_dead
from systems.records import RecordStore

__all__ = ["reconcile"]

# After a process has ended its worker tells Prefect how, or nobody does.
_WORKER_TELLS_WITHIN = 6.0
_NOBODY = Owner(flow="reconcile", flow_run_id="", attempt="", host="", pid=0, process_started="")


@flow(name="reconcile", flow_run_name="reconcile {environment}")
def reconcile(environment: str) -> Outcome:
    """Settle what a dead run left: weights to the live colour, its candidate stopped, its record closed.

    An interrupted rollback is completed. A run that still heartbeats is left alone. A weight, an action,
    a rule or a task definition that Pointsman did not write freezes the environment.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
    """
    return run_operation("reconcile", environment, reconcile_environment)


def reconcile_environment(operation: Operation) -> str:
    """Settle the environment if its holder is gone; return what was found or done, in a sentence."""
    done = settle_environment(operation)
    close_forgotten_runs(operation)
    return done


def settle_environment(operation: Operation) -> str:
    """Settle by what the record says, whatever Prefect knows or does."""
    record = operation.records.environment()
    for waiter in stale_waiters(record, operation.settings.timing.lease_expiry):
        drop_waiter(operation, waiter)
    lease = record.lease
    if lease is None:
        watch_hands(operation, record)
        return f"{operation.environment} is settled; nobody holds it."
    verdict = operation.lease.judge(record)
    parked_for_nothing = verdict is LeaseVerdict.PARKED and run_is_over(lease.owner.flow_run_id)
    if verdict is not LeaseVerdict.ABANDONED and not parked_for_nothing:
        return f"{operation.environment} is {verdict} by {lease.version or lease.owner.flow}, at {lease.step}."
    done = settle(operation, parked_for_nothing)
    if done is None:
        return f"{operation.environment} was settled by somebody else."
    close_run(lease.owner.flow_run_id, done)
    return done


def stale_waiters(record: EnvironmentRecord, expiry: float) -> list[QueuedRelease]:
    """Return the releases in the queue that were not seen for as long as a hold lasts: their processes are gone."""
    return [w for w in record.queue if w.seen_at < now() - timedelta(seconds=expiry)]


def forgotten_runs(store: RecordStore, expiry: float) -> set[str]:
    """Return the runs that Prefect believes alive, whose processes are gone and of which the record knows nothing.

    They died before they held the environment or waited for it, or when all was done but to tell Prefect so. None where
    Prefect does not answer: nothing hangs on it.
    """
    try:
        dead = dead_runs(store.environment_name, expiry)
    except httpx.HTTPError:
        return set()
    record = store.environment() if dead else EnvironmentRecord(environment=store.environment_name)
    known = {waiter.flow_run_id for waiter in record.queue}
    for lease in (record.lease, record.lease and record.lease.takes_over):
        if lease is not None:
            known.add(lease.owner.flow_run_id)
    return dead - known


def close_forgotten_runs(operation: Operation) -> None:
    """Give each such run a state that says so, if its worker has not done that a moment later."""
    expiry = operation.settings.timing.lease_expiry
    found = forgotten_runs(operation.records, expiry)
    if not found:
        return
    time.sleep(_WORKER_TELLS_WITHIN)
    for run_id in found & forgotten_runs(operation.records, expiry):
        with suppress(httpx.HTTPError):  # the next look tries again
            close_run(run_id, f"It held nothing of {operation.environment} then; `status` shows what stands.")


@task(name="drop waiter", cache_policy=NO_CACHE)
def drop_waiter(operation: Operation, waiter: QueuedRelease) -> None:
    """Take a dead waiter out of the queue, and give its run a state that says so."""
    operation.records.change_environment(lambda r: leave_queue(r, waiter.flow_run_id))
    with suppress(httpx.HTTPError):  # the next look finds it forgotten
        close_run(waiter.flow_run_id, f"{waiter.version} was waiting for its turn; nothing was changed.")


@task(name="settle", cache_policy=NO_CACHE)
def settle(operation: Operation, parked: bool) -> str | None:
    """Take over what the dead run held and settle it."""
    return take_over(operation, even_parked=parked)


@task(name="foreign hands", cache_policy=NO_CACHE)
def watch_hands(operation: Operation, record: EnvironmentRecord) -> None:
    """Freeze the environment if the listener or the live service is not as we wrote it."""
    if record.infrastructure is None or record.weights is None:
        return
    refuse_foreign_hands(operation)


class Watch(threading.Thread):
    """Looks at one environment's record again and again, and runs the flow when its holder is gone."""

    def __init__(self, environment: str) -> None:
        super().__init__(name=f"watch {environment}", daemon=True)
        self.environment = environment
        self._log = logging.getLogger("pointsman.reconcile")
        self._aws: AwsClients | None = None
        self._store: RecordStore | None = None

    def run(self) -> None:
        """Look for ever; an error of one round is logged and the next round comes."""
        every = read_settings(self.environment).timing.reconcile_every
        while True:
            try:
                if self._needs_settling():
                    reconcile(self.environment)
            except Exception:  # noqa: BLE001 - a boundary: whatever happened, the watch goes on
                self._log.exception("A look at %s failed", self.environment)
            time.sleep(every)

    def _needs_settling(self) -> bool:
        if self._aws is None or self._store is None:
            block = load_environment(self.environment)
            self._aws = AwsClients(block)
            self._store = open_records(block, self._aws)
        record = self._store.environment()
        expiry = read_settings(self.environment).timing.lease_expiry
        if stale_waiters(record, expiry):
            return True
        lease = record.lease
        if lease is None:
            unsettled = self._foreign_hand(record)
        else:
            verdict = judge_lease(record, _NOBODY, now(), owner_dead=process_is_dead(lease.owner))
            parked = verdict is LeaseVerdict.PARKED
            unsettled = verdict is LeaseVerdict.ABANDONED or (parked and run_is_over(lease.owner.flow_run_id))
        return unsettled or bool(forgotten_runs(self._store, expiry))

    def _foreign_hand(self, record: EnvironmentRecord) -> bool:
        if self._aws is None or record.infrastructure is None or record.weights is None or record.frozen:
            return False
        return foreign_hand(record, look(self._aws, read_settings(self.environment), record)) is not None


def main() -> None:
    """Serve the flow for the environment that POINTSMAN_ENVIRONMENT names, and watch it."""
    environment = os.environ.get("POINTSMAN_ENVIRONMENT", "sandbox")
    try:
        read_settings(environment)
    except PointsmanError as error:
        sys.exit(str(error))
    Watch(environment).start()
    reconcile.serve(
        name=environment,
        parameters={"environment": environment},
        interval=timedelta(minutes=5),
        description="Brings an environment whose release died to a settled state.",
        tags=[environment],
    )


if __name__ == "__main__":
    main()
