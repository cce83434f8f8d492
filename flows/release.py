"""`release`: a tag becomes live traffic, or live traffic is as it was."""

from __future__ import annotations

from prefect import flow

from core.admission import refuse_prerelease
from core.migration import plan_migrations
from lifecycle.release_request import enter
from lifecycle.run import Outcome, run_operation
from lifecycle.scale import scale_to_settings
from operation.operation import Operation
from tasks.approval import approve
from tasks.candidate import set_health_check, start_candidate, vacate_slot
from tasks.checkout import Checkout, check_out
from tasks.checks import await_checks
from tasks.database import migrate_database
from tasks.findings import check_findings, note_findings
from tasks.image import build_image, prune_worker, push_image
from tasks.image_protection import keep_images
from tasks.image_size import note_size
from tasks.plan import apply_plan, check_plan, init_slot, plan_slot
from tasks.preflight.steps import check_files, check_readiness
from tasks.probes import confirm_release, smoke_test
from tasks.summary import summarise
from tasks.traffic import finish_release, shift_traffic

__all__ = ["release"]


@flow(name="release", flow_run_name="{tag} → {environment}")
def release(tag: str, environment: str, commit: str | None = None, allow_downgrade: bool = False) -> Outcome:
    """Take a git tag to live traffic.

    Builds and pushes the image, plans and applies the candidate's slot, migrates the database, starts and smoke-tests
    the candidate, and shifts the production listener to it. On any failure the live version keeps all traffic.

    Args:
        tag: The version to release: a tag of the source repository such as v1.4.0 (api/v1.4.0, by its pattern).
        environment: The environment to release to: the name of a file in environments/, such as production.
        commit: The commit that the webhook announced; a tag at any other is refused. Leave it empty by hand.
        allow_downgrade: Allow a version that is older than the live one.
    """
    return run_operation("release", environment, lambda op: release_version(op, tag, commit, allow_downgrade))


def release_version(operation: Operation, tag: str, commit: str | None, allow_downgrade: bool) -> str | Outcome:
    """Take one version through all steps; return the success message."""
    version = operation.journal.name_version(tag, operation.settings.source.tags)
    refuse_prerelease(version, operation.environment, allowed=operation.settings.prereleases)
    readiness = check_readiness.submit(operation)
    source = check_out(operation, version, commit)
    readiness.result()
    if operation.settings.source.checks:
        await_checks(operation, source)
    check_files(operation, source)
    entered = enter(operation, source, allow_downgrade=allow_downgrade)
    if entered.outcome is not None:
        return entered.outcome
    if entered.only_scale:
        return scale_to_settings(operation, version)
    # A run that was suspended for its approval is replayed from its top, in a new process: what it prepared stands.
    if not operation.awaits_decision:
        prepare_candidate(operation, source, allow_downgrade)
    approve(operation)
    shift_traffic(operation)
    confirm_release(operation)
    finish_release(operation)
    keep_images(operation)
    prune_worker(operation)
    operation.lease.drop()
    return summarise(operation)


def prepare_candidate(operation: Operation, source: Checkout, allow_downgrade: bool) -> None:
    """Bring the version to where it waits for traffic: built, applied, migrated, running, smoke-tested."""
    record = operation.record
    if record.has_read_with(
        operation.settings.migration.engine
    ):  # else the table may hold what the record does not know, and is asked first
        # What live cannot live with is refused before anything is built, by what was read of the database last.
        plan_migrations(source.migrations, source.version, record, record.migrations)
    terraform = init_slot.submit(operation)
    push_image(operation, build_image(operation, source))
    plan = plan_slot(operation, terraform.result())
    check_plan(operation, plan)
    check_findings(operation)
    vacate_slot(operation)
    set_health_check(operation)
    apply_plan(operation, plan)
    migrate_database(operation, source, newer_allowed=allow_downgrade)
    start_candidate(operation)
    smoke_test(operation)
    note_findings(operation)
    note_size(operation)
