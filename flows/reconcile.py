"""`reconcile`: cleans up after a release that died, without anybody's help.

`python -m reconciler` serves it, and asks for a run where `core.reconciliation` finds something to do.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

import httpx
from prefect import flow

from core.reconciliation import Beside, Work, forgotten_runs, looks_for_foreign_hands, pending_work, stale_waiters
from core.record import EnvironmentRecord
from lifecycle.cleaning import clean_up, drop_from_queue, watch_hands
from lifecycle.run import Outcome, run_operation
from operation.lease import now
from operation.operation import Operation
from systems.prefect_api import close_run, dead_runs, run_is_over
from systems.processes import process_is_dead

__all__ = ["look_beside", "reconcile", "see_dead_runs"]

# After a process has ended its worker tells Prefect how, or nobody does.
_WORKER_TELLS_WITHIN = 6.0


@flow(name="reconcile", flow_run_name="reconcile {environment}")
def reconcile(environment: str) -> Outcome:
    """Clean up after a dead run: give traffic back to the live colour, stop its candidate, close its record.

    An interrupted rollback is completed. A run that still sends heartbeats is left alone. A weight, an action,
    a rule or a task definition that Pointsman did not write freezes the environment.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
    """
    return run_operation("reconcile", environment, reconcile_environment)


def reconcile_environment(operation: Operation) -> str:
    """Clean up if the holder is dead; return what was found or done, in a sentence."""
    done = clean_up_environment(operation)
    close_forgotten_runs(operation)
    return done


def clean_up_environment(operation: Operation) -> str:
    """Clean up by what the record says, whatever Prefect knows or does."""
    record = operation.records.environment()
    expiry = operation.settings.timing.lease_expiry
    beside = look_beside(record)
    work = pending_work(record, beside, expiry=expiry)
    if Work.DROP_WAITERS in work:
        for waiter in stale_waiters(record, beside.now, expiry):
            drop_from_queue(operation, waiter)
    lease = record.lease
    if lease is None:
        if record.frozen is not None:
            return (
                f"{operation.environment} is frozen since {record.frozen.at:%Y-%m-%d %H:%M:%S %Z}: "
                f"{record.frozen.reason}. A human decides, with `python -m flows unfreeze`."
            )
        if looks_for_foreign_hands(record):
            watch_hands(operation)
        return f"{operation.environment} needs no cleanup; nobody holds it."
    if Work.TAKE_OVER not in work:
        who = lease.version or lease.owner.flow
        return f"{operation.environment} is {operation.lease.judge(record)} by {who}, at {lease.step}."
    done = clean_up(operation, beside.run_over)
    if done is None:
        return f"{operation.environment} was cleaned up by another run."
    close_run(lease.owner.flow_run_id, done)
    return done


def look_beside(record: EnvironmentRecord) -> Beside:
    """Return what this machine and Prefect know of the holder; where Prefect is silent, its run is not over."""
    lease = record.lease
    over = False
    if lease is not None and lease.parked_until is not None:
        with suppress(httpx.HTTPError):
            over = run_is_over(lease.owner.flow_run_id)
    return Beside(now(), owner_dead=lease is not None and process_is_dead(lease.owner), run_over=over)


def see_dead_runs(environment: str, expiry: float) -> frozenset[str]:
    """Return the runs that Prefect believes in although they are dead; none where it does not answer."""
    try:
        return frozenset(dead_runs(environment, expiry))
    except httpx.HTTPError:
        return frozenset()


def close_forgotten_runs(operation: Operation) -> None:
    """Give each such run a state that says so, if its worker has not done that a moment later."""
    found = _forgotten(operation)
    if not found:
        return
    time.sleep(_WORKER_TELLS_WITHIN)
    for run_id in found & _forgotten(operation):
        with suppress(httpx.HTTPError):  # the next look tries again
            close_run(run_id, f"It held nothing of {operation.environment}; `status` shows the current state.")


def _forgotten(operation: Operation) -> frozenset[str]:
    dead = see_dead_runs(operation.environment, operation.settings.timing.lease_expiry)
    return forgotten_runs(operation.records.environment(), dead) if dead else dead


if __name__ == "__main__":
    sys.stderr.write("Use `python -m reconciler`; `python -m flows.reconcile` will be removed in the next release.\n")
    os.execv(sys.executable, [sys.executable, "-m", "reconciler"])
