"""Traffic as steps of a release: shifted once the candidate proved itself, and the record says who is live."""

from __future__ import annotations

from core.colour import Weights
from core.errors import Permanent
from core.record import Attempt, EnvironmentRecord, Live, RollbackIntent, State, VersionRecord
from core.release import Release
from tasks.ecs import refuse_another_definition
from tasks.hold import now
from tasks.load_balancer import move_weights, read_target_health
from tasks.operation import Operation, step_task
from tasks.smoke import endpoint_of, probe_release

__all__ = ["finish_release", "finish_rollback", "return_traffic", "shift_traffic"]


@step_task("shift")
def shift_traffic(operation: Operation) -> None:
    """Give all weight to the candidate, whose targets are healthy, and read the weights back."""
    colour = operation.candidate
    with operation.step("shift", f"give all traffic to {operation.release} in {colour}") as step:
        health = read_target_health(operation.aws, operation.infrastructure, colour)
        wanted = operation.settings.service.desired_count
        if health.healthy < wanted:
            raise Permanent(
                f"{operation.version} has too few healthy targets to take traffic",
                why=f"{health}; wanted {wanted}",
                do="Look at the service's tasks in ECS.",
            )
        listener = endpoint_of(operation.settings, operation.infrastructure.alb_dns_name, colour)
        probe_release(operation, listener, operation.release, patience=operation.settings.timing.identify)
        refuse_another_definition(operation)
        operation.advance(State.SHIFTING)
        to = Weights.all_on(colour)
        move_weights(operation, to)
        step.done(f"the production listener carries {to}")
    operation.advance(State.BAKING)


@step_task("record")
def finish_release(operation: Operation) -> None:
    """Write that the release is live and healthy; what was live stays warm and becomes the rollback target."""
    with operation.step("record", f"record {operation.release} as live") as step:
        attempt = operation.attempt
        live = Live(
            release=operation.release,
            colour=operation.candidate,
            since=now(),
            migrations=attempt.migrations,
            slot=attempt.slot,
        )

        def go_live(record: EnvironmentRecord) -> EnvironmentRecord:
            return record.gone_live(live)

        before = operation.last_seen.live
        operation.last_seen = operation.store.change_environment(go_live)
        operation.advance(State.HEALTHY)
        warm = f"; {before.release.version} stays warm in {before.colour}" if before else ""
        step.done(f"{operation.release} is live in {operation.candidate}{warm}")
    operation.note(ended_at=now())


@step_task("return traffic")
def return_traffic(operation: Operation) -> None:
    """Give all weight to the release that a rollback returns to, and read the weights back."""
    colour = operation.candidate
    with operation.step("return", f"give all traffic to {operation.release} in {colour}") as step:
        refuse_another_definition(operation)
        to = Weights.all_on(colour)
        move_weights(operation, to)
        step.done(f"the production listener carries {to}")


@step_task("record")
def finish_rollback(operation: Operation, intent: RollbackIntent) -> None:
    """Write that the target is live again; the version left behind is no target any more unless it is named."""
    target, leaving = intent.target, intent.leaving
    with operation.step("record", f"record {target.release} as live") as step:
        live = target.moved_to(operation.candidate, now(), operation.attempt.slot)

        def go_back(record: EnvironmentRecord) -> EnvironmentRecord:
            if record.live and record.live.release.revision == target.release.revision:
                return record
            return record.gone_back(live, named=intent.named)

        operation.last_seen = operation.store.change_environment(go_back)
        _set_state(operation, leaving.release, State.ROLLED_BACK)
        _set_state(operation, target.release, State.HEALTHY)
        # Last: whoever finds this run dead before, does all of it again.
        operation.last_seen = operation.store.change_environment(lambda r: r.model_copy(update={"rollback": None}))
        step.done(f"{target.release} is live in {operation.candidate}; {leaving.release.version} was left")


def _set_state(operation: Operation, release: Release, to: State) -> None:
    """Write on a release's last attempt that was healthy whether it was left or is back; nothing if that stands."""

    def change(record: VersionRecord) -> VersionRecord:
        last = next((a for a in reversed(record.attempts) if _was_healthy(a) and a.release == release), None)
        return record.with_attempt(last.moved(to)) if last and last.state is not to else record

    operation.store.change_version(release.version, release.commit, change)


def _was_healthy(attempt: Attempt) -> bool:
    return attempt.state in (State.HEALTHY, State.ROLLED_BACK)
