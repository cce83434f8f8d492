"""How an operation that did not end well ends: the old version first, then the candidate, then the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.colour import Colour, Weights
from core.errors import Permanent, PointsmanError, Transient, UnknownOutcome
from core.listener import ListenerView
from core.record import Attempt, EnvironmentRecord, Failure, Hold, Infrastructure, State
from systems.load_balancer import read_listener, read_target_health, read_weights
from tasks.ecs import Start, empty_slot, start_slot
from tasks.hold import now
from tasks.load_balancer import move_weights
from tasks.one_off import stop_one_offs
from tasks.operation import Operation
from tasks.terraform_lock import release_dead_lock
from tasks.winner import see_winner

__all__ = ["Ending", "Settled", "settle_attempt", "traffic_now"]

_PATIENCE = 4


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    state: State
    step: str
    reason: str


@dataclass(frozen=True)
class Settled:
    """What came of it: what traffic does now, and whether the environment may be given to the next."""

    traffic: str
    complete: bool


def settle_attempt(operation: Operation, attempt: Attempt | None, ending: Ending, hold: Hold) -> Settled:
    """Give traffic back to the live colour, stop the candidate, write the record.

    An attempt that is live by the environment's record ends healthy, whatever became of its process since.

    `hold` is that of the process whose attempt it was. Each part is tried though another failed; what could not be done
    is said in the record.
    """
    logger = get_run_logger()
    remains: list[str] = []
    operation.disregard_stop()
    operation.stage = "settling"
    if attempt is not None and _went_live(operation, attempt):
        _tried("the record", remains, lambda: _write_healthy(operation, attempt))
        return Settled(traffic_now(operation), complete=not remains)

    if _rollback_moved(operation):
        # Never undone: whatever failed since, a probe or a write, `reconcile` completes it from here.
        said = f"{traffic_now(operation)} The rollback stands; `reconcile` completes it."
        return Settled(said, complete=operation.last_seen.frozen is not None)

    home_again = _tried("traffic", remains, lambda: _return_to_live(operation))
    stopped = True
    if attempt is not None:
        if attempt.colour is not None:
            colour, since = attempt.colour, attempt.started_at
            _tried("Terraform", remains, lambda: release_dead_lock(operation, hold.owner, colour.value, since=since))
        stopped = _tried("one-off tasks", remains, lambda: _stop_one_offs(operation, attempt))
        if attempt.colour is not None and home_again and any(step.name == "vacate" for step in attempt.steps):
            shifted = any(step.name == "shift" for step in attempt.steps)
            _tried(f"the {colour} slot", remains, lambda: _stop_candidate(operation, colour, shifted=shifted))
    elif hold.owner.flow == "provision":
        since = hold.acquired_at
        _tried("Terraform", remains, lambda: release_dead_lock(operation, hold.owner, "environment", since=since))
    elif hold.owner.flow == "run":
        stopped = _tried("one-off tasks", remains, lambda: _stop_command(operation, hold.owner.attempt))
    traffic = traffic_now(operation)
    recorded = True
    if attempt is not None:
        recorded = _tried("the record", remains, lambda: _write_ending(operation, attempt, ending, "; ".join(remains)))
    logger.info("Traffic: %s", traffic)
    said = traffic + (f" Not done: {'; '.join(remains)}." if remains else "")
    # A freeze is a settled state: a human's answer ends it. Anything else is tried again by `reconcile`.
    return Settled(said, complete=stopped and recorded and (home_again or operation.last_seen.frozen is not None))


def _rollback_moved(operation: Operation) -> bool:
    """Whether this is a rollback whose target has all the weight already."""
    intent, record = operation.last_seen.rollback, operation.last_seen
    if intent is None or record.infrastructure is None or operation.tracked:
        return False
    home = Weights.all_on(intent.leaving.colour.other)
    try:
        return read_weights(operation.aws, record.infrastructure) == home
    except PointsmanError:
        return record.weights == home


def _went_live(operation: Operation, attempt: Attempt) -> bool:
    live = operation.last_seen.live
    return bool(
        attempt.release
        and live
        and live.release.revision == attempt.release.revision
        and live.colour is attempt.colour
        and attempt.state is State.BAKING
    )


def _write_healthy(operation: Operation, attempt: Attempt) -> None:
    version = operation.version
    assert version is not None
    operation.store.change_version(
        version,
        operation.commit,
        lambda r: r.with_attempt(
            (r.attempt(attempt.id) or attempt).moved(State.HEALTHY).model_copy(update={"ended_at": now()})
        ),
    )


def _tried(what: str, remains: list[str], action: Callable[[], None]) -> bool:
    """Run `action` with patience for passing errors; note in `remains` what did not work. Return whether it did."""
    for attempt in range(_PATIENCE):
        try:
            action()
            return True
        except (Transient, UnknownOutcome) as error:
            failure: PointsmanError = error
            time.sleep(0.5 * 2**attempt)
        except PointsmanError as error:
            failure = error
            break
    get_run_logger().error("Settling %s failed: %s", what, failure)
    remains.append(f"{what} ({failure})")
    return False


def _return_to_live(operation: Operation) -> None:
    """Weights go back before anything is diagnosed, after one look at whether the live colour can serve."""
    record = operation.last_seen
    if record.infrastructure is None:
        return
    home = Weights.all_on(record.live.colour) if record.live else operation.weights_at_start
    if home is None or _is_home(operation, record.infrastructure, home):
        # Nothing to move; but an intent that was written must not stay open.
        if record.weights_intent is not None and home is not None:
            operation.last_seen = operation.store.change_environment(lambda r: r.carrying(home))
        return
    if record.live is not None:
        _ensure_serving(operation, record.live.colour)
    move_weights(operation, home, homeward=True)


def _is_home(operation: Operation, infrastructure: Infrastructure, home: Weights) -> bool:
    """Whether traffic is home; where we were about to write something else, one read that may lag is not enough."""
    if read_weights(operation.aws, infrastructure) != home:
        return False
    if operation.last_seen.weights_intent is None and operation.last_seen.weights in (None, home):
        return True
    time.sleep(operation.settings.timing.consistency)
    return read_weights(operation.aws, infrastructure) == home


def _ensure_serving(operation: Operation, colour: Colour) -> None:
    """Start the old colour if it has no healthy target, and hold the weights until it has one."""
    if read_target_health(operation.aws, operation.infrastructure, colour).healthy > 0:
        return
    get_run_logger().warning("The live %s slot has no healthy target: starting it before traffic returns", colour)
    try:
        live = operation.last_seen.live
        how = Start(
            subject=live.release.version if live else "What was live",
            do="Look at its tasks in ECS.",
            deadline=operation.settings.timing.return_to_live,
            homeward=True,
        )
        start_slot(operation, colour, operation.settings.service.desired_count, how)
    except Permanent as error:
        raise Permanent(
            f"The live {colour} slot cannot serve, so traffic was left where it is",
            why=str(error),
            do="A human is needed now: neither colour is known to be good.",
        ) from error


def _stop_one_offs(operation: Operation, attempt: Attempt) -> None:
    if any(step.name == "migrate" for step in attempt.steps):
        stop_one_offs(operation, attempt.id)


def _stop_command(operation: Operation, attempt: str) -> None:
    stop_one_offs(operation, attempt)


def _stop_candidate(operation: Operation, colour: Colour, *, shifted: bool) -> None:
    """Stop what a failed release left, once it is seen to get no request any more if it ever had weight."""
    record = operation.last_seen
    if operation.keeps_slot or (record.live is not None and record.live.colour is colour):
        return
    if read_weights(operation.aws, operation.infrastructure).of(colour) > 0:
        return
    if shifted:
        see_winner(operation, colour.other)
    empty_slot(operation, colour)


def traffic_now(operation: Operation) -> str:
    """Return in words who carries the traffic now."""
    record = operation.last_seen
    if record.infrastructure is None:
        return "no traffic is served."
    try:
        listener = read_listener(operation.aws, record.infrastructure)
    except PointsmanError as error:
        return f"unknown ({error})"
    if record.live is None:
        return "nothing was live before, and the listener is as it was."
    live = record.live
    share = f"{live.release.version} ({live.colour})"
    home = listener == ListenerView(Weights.all_on(live.colour))
    return f"{share} carries all of it." if home else f"{listener}; live is {share}."


def _write_ending(operation: Operation, attempt: Attempt, ending: Ending, remains: str) -> None:
    failure = Failure(step=ending.step, reason=ending.reason, remains=remains)

    def close(current: Attempt) -> Attempt:
        ended = current if current.state.ended else current.moved(ending.state)
        return ended.model_copy(update={"ended_at": now(), "failure": failure})

    version = operation.version
    if version is None or not operation.tracked:
        if _went_back(operation.last_seen):
            raise Permanent("The rollback is not wholly on record yet", do="`reconcile` completes it.")
        operation.store.change_environment(lambda r: r.model_copy(update={"rollback": None}))
        return
    operation.store.change_version(
        version, operation.commit, lambda r: r.with_attempt(close(r.attempt(attempt.id) or attempt))
    )
    with suppress(PointsmanError):
        operation.store.change_environment(lambda r: r.with_failure(version, _in_a_line(version, ending)))


def _went_back(record: EnvironmentRecord) -> bool:
    """Whether the target of a rollback is live by the record, so that only histories are behind."""
    intent, live = record.rollback, record.live
    return intent is not None and live is not None and live.release.revision == intent.target.release.revision


def _in_a_line(version: str, ending: Ending) -> str:
    reason = " ".join(ending.reason.split())
    return f"{version} {ending.state} at {ending.step}: {reason[:300]}{'…' if len(reason) > 300 else ''}"
