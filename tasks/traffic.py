"""Traffic as steps of a run: shifted once the candidate proved itself, returned by a rollback, and who is live."""

from __future__ import annotations

from core.colour import Weights
from core.errors import Permanent
from core.history import Attempt, State, VersionRecord
from core.record import EnvironmentRecord, Live, RollbackIntent
from core.release import Release
from core.strategy import AllAtOnce, Strategy
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, step
from operation.weights import move_weights
from systems.log import run_logger
from tasks.candidate import refuse_another_definition

__all__ = ["finish_release", "finish_rollback", "return_traffic", "shift_traffic"]

STRATEGY: Strategy = AllAtOnce()


@step("shift", "give all traffic to {operation.release} in the {operation.candidate}")
def shift_traffic(operation: Operation) -> Done[None]:
    """Give the candidate, whose targets are healthy, its traffic as the strategy says, and read the weights back."""
    slot, release = operation.candidate, operation.release
    health = operation.load_balancer.health(slot.service)
    wanted = _started(operation)
    if health.healthy < wanted:
        raise Permanent(
            f"{release.version} has too few healthy targets to take traffic",
            why=f"{health}; wanted {wanted}",
            do="Check the service's tasks in ECS.",
        )
    operation.prober.see_candidate(operation.deployed)
    refuse_another_definition(operation)
    operation.journal.advance(State.SHIFTING)
    carried = operation.load_balancer.weights()
    # Where the candidate has it all already, by a run that died then, the record's intent is still to be closed.
    to: Weights | None = STRATEGY.next_weights(slot.colour, carried) or carried
    while to is not None:
        move_weights(operation, to)
        carried, to = to, STRATEGY.next_weights(slot.colour, to)
    operation.journal.advance(State.BAKING)
    return done(f"the production listener has {carried}")


def _started(operation: Operation) -> int:
    """Return how many tasks were started and tested: another count in the file since then was not approved."""
    configured = operation.settings.service.desired_count
    started = operation.journal.attempt.tasks
    if started is None or started == configured:
        return configured
    run_logger().warning(
        "%s was started with %d tasks and desired_count is %d now: release the tag again to scale it",
        operation.release.version,
        started,
        configured,
    )
    return started


@step("record", "record {operation.release} as live")
def finish_release(operation: Operation) -> Done[None]:
    """Write that the release is live and healthy; what was live stays warm and becomes the rollback target."""
    attempt, release, colour = operation.journal.attempt, operation.release, operation.candidate.colour
    live = Live(release=release, colour=colour, since=now(), migrations=attempt.migrations, slot=attempt.slot)
    before = operation.record.live
    operation.records.change_environment(lambda r: r.gone_live(live))
    operation.journal.advance(State.HEALTHY)
    operation.journal.change(lambda a: a.ended(now()))
    warm = f"; {before.release.version} stays warm in {before.colour}" if before else ""
    return done(f"{release} is live in {colour}{warm}")


@step("return", "give all traffic to {operation.release} in the {operation.candidate}")
def return_traffic(operation: Operation) -> Done[None]:
    """Give all weight to the release that a rollback returns to, and read the weights back."""
    refuse_another_definition(operation)
    to = Weights.all_on(operation.candidate.colour)
    move_weights(operation, to)
    return done(f"the production listener has {to}")


@step("record", "record {intent.target.release} as live")
def finish_rollback(operation: Operation, intent: RollbackIntent) -> Done[None]:
    """Write that the target is live again; the version rolled back from is no longer a target unless named."""
    target, leaving = intent.target, intent.leaving
    live = target.moved_to(operation.candidate.colour, now(), operation.journal.attempt.slot)

    def go_back(record: EnvironmentRecord) -> EnvironmentRecord:
        return record if record.is_live(target.release) else record.gone_back(live, named=intent.named)

    operation.records.change_environment(go_back)
    _set_state(operation, leaving.release, State.ROLLED_BACK)
    _set_state(operation, target.release, State.HEALTHY)
    # Last: whoever finds this run dead before, does all of it again.
    operation.records.change_environment(lambda r: r.without_rollback())
    return done(f"{target.release} is live in {live.colour}; {leaving.release.version} was rolled back")


def _set_state(operation: Operation, release: Release, to: State) -> None:
    """Write on a release's last attempt that was healthy whether it was left or is back; nothing if it says so."""

    def change(record: VersionRecord) -> VersionRecord:
        last = next((a for a in reversed(record.attempts) if _was_healthy(a) and a.release == release), None)
        return record.with_attempt(last.moved(to)) if last and last.state is not to else record

    operation.records.change_version(release.version, release.commit, change)


def _was_healthy(attempt: Attempt) -> bool:
    return attempt.state in (State.HEALTHY, State.ROLLED_BACK)
