"""`release`: a tag becomes live traffic, or live traffic is as it was."""

from __future__ import annotations

from prefect import flow

from core.admission import refuse_prerelease
from core.migration import plan_migrations
from flows.approval import approve
from flows.boundary import Outcome, conduct
from flows.entry import enter
from flows.summary import summarise
from tasks.database import migrate_database
from tasks.docker import build_image, prune_worker
from tasks.ecs import start_candidate, vacate_slot
from tasks.git import Checkout, check_out
from tasks.health_check import set_health_check
from tasks.operation import Operation
from tasks.smoke import confirm_release, smoke_test
from tasks.terraform import apply_plan, check_plan, init_slot, plan_slot
from tasks.traffic import finish_release, shift_traffic

__all__ = ["release"]


@flow(name="release", flow_run_name="{tag} → {environment}")
def release(tag: str, environment: str, commit: str | None = None, allow_downgrade: bool = False) -> Outcome:
    """Take a git tag to live traffic.

    Builds and pushes the image, plans and applies the candidate's slot, migrates the database, starts and smoke-tests
    the candidate, and shifts the production listener to it. On any failure the live version keeps all traffic.

    Args:
        tag: The version to release: a tag of the source repository such as v1.4.0.
        environment: Where to: the name of a file in environments/, such as production.
        commit: The commit that the webhook announced; the tag is refused at any other. Leave it empty by hand.
        allow_downgrade: Release a version that is older than the live one.
    """
    return conduct("release", environment, lambda op: release_version(op, tag, commit, allow_downgrade))


def release_version(operation: Operation, tag: str, commit: str | None, allow_downgrade: bool) -> str | Outcome:
    """Take one version through all steps; return the sentence of its good end."""
    version = operation.name_version(tag)
    refuse_prerelease(version, operation.environment, allowed=operation.settings.prereleases)
    source = check_out(operation, version, commit)
    ended = enter(operation, source, allow_downgrade=allow_downgrade)
    if ended is not None:
        return ended
    if not operation.awaits_decision:
        prepare_candidate(operation, source, allow_downgrade)
    approve(operation)
    shift_traffic(operation)
    confirm_release(operation)
    finish_release(operation)
    prune_worker(operation)
    operation.free()
    return summarise(operation)


def prepare_candidate(operation: Operation, source: Checkout, allow_downgrade: bool) -> None:
    """Bring the version to where it waits for traffic: built, applied, migrated, running, smoke-tested."""
    record = operation.last_seen
    if record.database is not None:  # else the table may hold what the record does not know, and is asked first
        # What live cannot live with is refused before anything is built, by what was read of the database last.
        plan_migrations(source.migrations, source.version, record, record.migrations)
    terraform = init_slot.submit(operation)
    operation.fix_release(build_image(operation, source))
    plan = plan_slot(operation, terraform.result())
    check_plan(operation, plan)
    vacate_slot(operation)
    set_health_check(operation)
    apply_plan(operation, plan)
    migrate_database(operation, source, newer_allowed=allow_downgrade)
    start_candidate(operation)
    smoke_test(operation)
