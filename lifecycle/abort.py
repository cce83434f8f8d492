"""How an operation that did not end well ends: the old version first, then the candidate, then the record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from prefect import Task

from core.colour import Colour, Weights
from core.ending import Ending, went_live
from core.errors import PointsmanError, Transient, UnknownOutcome
from core.history import Attempt
from core.listener import ListenerView
from core.record import LeaseRecord
from operation.operation import Operation
from systems.log import run_logger
from tasks.cleanup import (
    close_healthy,
    close_record,
    release_state_lock,
    return_home,
    stop_candidate,
    stop_one_offs,
)

__all__ = ["Aborted", "abort_attempt", "traffic_now"]

P = ParamSpec("P")

_PATIENCE = 4
# What Terraform a flow without an attempt runs; the account's lock is released by whoever takes the account next.
_ALL = (*(c.value for c in Colour), "environment")
_STATES = {"provision": ("environment",), "destroy": _ALL, "restore-state": _ALL}


@dataclass(frozen=True)
class Aborted:
    """What came of it: what traffic does now, and whether the environment may be given to the next."""

    traffic: str
    complete: bool


def abort_attempt(operation: Operation, ending: Ending, lease: LeaseRecord) -> Aborted:
    """Give traffic back to the live colour, stop the candidate, write the record; each part though another failed.

    The order is the promise: traffic first, since users feel nothing else; then what could still change the account or
    the database (Terraform, one-off tasks), before the record says that all has ended; the candidate only once no
    request reaches it. An attempt that is live by the environment's record ends healthy, whatever became of its process
    since. `lease` is that of the process whose attempt it was; what could not be done is said in the record.
    """
    operation.lease.disregard_stop()
    operation.lease.step = "abort"
    attempt = operation.journal.entry.attempt if operation.journal.entry else None
    parts = _Parts(operation)
    if attempt is not None and went_live(operation.record, attempt):
        parts.do("the record", close_healthy, attempt)
        operation.journal.tell_ended()
        return Aborted(traffic_now(operation), complete=not parts.remains)
    if _rollback_moved(operation):
        # Never undone: whatever failed since, a probe or a write, `reconcile` completes it from here.
        message = f"{traffic_now(operation)} The rollback is kept; `reconcile` completes it."
        return Aborted(message, complete=operation.record.frozen is not None)

    home = parts.do("traffic", return_home)
    stopped = _stop_what_runs(operation, attempt, lease, parts, home=home)
    traffic = traffic_now(operation)
    recorded = True
    if attempt is not None:
        remains = "; ".join(parts.remains)
        recorded = parts.do("the record", close_record, ending, remains)
        operation.journal.tell_ended()
    run_logger().info("Traffic: %s", traffic)
    message = traffic + (f" Could not complete: {'; '.join(parts.remains)}." if parts.remains else "")
    if operation.record.frozen is None and not home:
        return Aborted(message, complete=False)
    # A freeze is an end: a human's answer ends it. Anything else is tried again by `reconcile`, as is a
    # rollback that somebody failed to complete.
    left_open = attempt is None and operation.record.rollback is not None and operation.record.frozen is None
    return Aborted(message, complete=stopped and recorded and not left_open)


def _stop_what_runs(
    operation: Operation, attempt: Attempt | None, lease: LeaseRecord, parts: _Parts, *, home: bool
) -> bool:
    """End what the run left at work; return whether no one-off task of it can change the database any more."""
    if attempt is None:
        for state in _STATES.get(lease.owner.flow, ()):
            parts.do("Terraform", release_state_lock, state, lease, lease.acquired_at)
        if lease.owner.flow == "run":
            return parts.do("one-off tasks", stop_one_offs, lease.owner.attempt)
        return True
    colour = attempt.colour
    if colour is not None:
        parts.do("Terraform", release_state_lock, colour.value, lease, attempt.started_at)
    stopped = not attempt.reached("migrate") or parts.do("one-off tasks", stop_one_offs, attempt.id)
    keeps = operation.journal.entry is not None and operation.journal.entry.keeps_slot
    if colour is not None and home and attempt.reached("vacate") and not keeps:
        shifted = attempt.reached("shift")
        parts.do(f"the {colour} slot", stop_candidate, colour, shifted)
    return stopped


class _Parts:
    """The parts of an abort: each with patience for passing errors, and what remains of those that failed."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.remains: list[str] = []

    def do(self, what: str, part: Task[Concatenate[Operation, P], None], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Run a part; note what did not work. Return whether it did."""
        for attempt in range(_PATIENCE):
            try:
                self._run(part, *args, **kwargs)
                return True
            except (Transient, UnknownOutcome) as error:
                failure: PointsmanError = error
                time.sleep(0.5 * 2**attempt)
            except PointsmanError as error:
                failure = error
                break
        run_logger().error("Could not clean up %s: %s", what, failure)
        self.remains.append(f"{what} ({failure})")
        return False

    def _run(self, part: Task[Concatenate[Operation, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a part as a task that the UI shows; without Prefect where that is what fails: traffic does not wait."""
        try:
            part(self._operation, *args, **kwargs)
        except PointsmanError:
            raise
        except Exception:  # noqa: BLE001 - a boundary: whatever Prefect met, a part may be done twice and must be done
            run_logger().exception("%s is done without Prefect", part.name)
            part.fn(self._operation, *args, **kwargs)


def _rollback_moved(operation: Operation) -> bool:
    """Whether the target of an open rollback has all the weight already, whoever was about to complete it."""
    intent, record = operation.record.rollback, operation.record
    a_release_s = operation.journal.entry is not None and not operation.journal.is_rollback
    if intent is None or record.infrastructure is None or a_release_s:
        return False
    target = Weights.all_on(intent.leaving.colour.other)
    try:
        return operation.load_balancer.weights() == target
    except PointsmanError:
        return record.weights == target


def traffic_now(operation: Operation) -> str:
    """Return in words who carries the traffic now."""
    record = operation.record
    if record.infrastructure is None:
        return "no traffic is served."
    if record.destroying is not None:
        return "it is being destroyed; run `destroy` again to finish."
    try:
        listener = operation.load_balancer.listener()
    except PointsmanError as error:
        return f"unknown ({error})"
    if record.live is None:
        return "nothing was live before, and the listener is as it was."
    live = record.live
    share = f"{live.release.version} ({live.colour})"
    home = listener == ListenerView(Weights.all_on(live.colour))
    return f"100 % on {share}." if home else f"{listener}; {share} is live."
