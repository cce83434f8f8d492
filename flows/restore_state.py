"""`restore-state`: a lost or broken Terraform state becomes a version of it that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import flow

from core.errors import Refused
from core.record_restoration import RecordSurvey
from core.settings import ACCOUNT
from core.state_restoration import Survey
from core.words import counted
from lifecycle.acquire import take_at_once
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from tasks.infrastructure import account_held
from tasks.record import RECORD, compare_record, describe_record, survey_versions, write_record
from tasks.state import STATES, describe_survey, see_state, survey_state, try_state, would_change, write_state
from tasks.state_decision import Question, confirm_restore

__all__ = ["restore", "restore_state"]


@flow(name="restore-state", flow_run_name="restore-state {environment} {state}")
def restore_state(environment: str, state: str, version_id: str | None = None, confirm: str | None = None) -> Outcome:
    """Restore a Terraform state that was deleted, is broken or is not the newest.

    Judges the versions in the state bucket by what is in them, by the release records and by what AWS has; shows what
    Terraform would change on the one that fits best; and, once a human has typed its id, writes it again as the newest.
    Nothing is applied, and traffic is not touched.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        state: Which state: `blue`, `green`, `environment` or `account`; or `record`, what Pointsman itself knows of the
            environment.
        version_id: The S3 version to restore; by default the one that fits best.
        confirm: The environment's name and the version's id, `production 3HL4…`; by default a form asks for them.
    """
    return run_operation(
        "restore-state",
        environment,
        lambda op: restore(op, state, version_id, confirm),
        provisions=state in ("environment", ACCOUNT),
    )


def restore(
    operation: Operation,
    state: str,
    version_id: str | None = None,
    confirm: str | None = None,
    read: Callable[[str], str] = input,
) -> str:
    """Make the version that fits the newest one, and see what a plan says; return the success message."""
    if state == RECORD:
        return restore_record(operation, version_id, confirm, read)
    if state not in STATES:
        raise Refused(f"{state!r} is not a state", do=f"Name one of {', '.join((*STATES, RECORD))}.")
    operation.records.environment()
    found = survey_state(operation, state)
    chosen = found.choose(version_id)
    if chosen is None:
        return f"The state of {state} is sound; {_told(see_state(operation, found))}"
    changes = try_state(operation, state, chosen)
    shown = f"{describe_survey(found)}\n{would_change(changes)}"
    confirm_restore(operation, Question(state, chosen.version.id, found.fingerprint, shown), confirm, read)
    with _held(operation, state) as holder:
        refuse_changed(found, survey_state(operation, state))
        write_state(holder, found, chosen)
        told = _told(see_state(holder, found))
    operation.lease.drop()
    return f"Version {chosen.version.id} of the state of {state} is the newest again; {told}"


def restore_record(
    operation: Operation, version_id: str | None, confirm: str | None, read: Callable[[str], str]
) -> str:
    """Make the version of the environment's record that fits the newest one; return the success message."""
    found = survey_versions(operation)
    chosen = found.choose(version_id)
    if chosen is None:
        return f"The record of {operation.environment} is sound: {found.newest}."
    shown = f"{describe_record(found)}\n{compare_record(operation, chosen)}"
    confirm_restore(operation, Question(RECORD, chosen.version.id, found.fingerprint, shown), confirm, read)
    refuse_changed(found, survey_versions(operation))
    if found.readable:
        take_at_once(operation, even_frozen=True)
    write_record(operation, found, chosen)
    told = compare_record(operation, chosen)
    if found.readable:
        operation.lease.drop()
    return f"Version {chosen.version.id} of the record of {operation.environment} is the newest again. {told}"


@contextmanager
def _held(operation: Operation, state: str) -> Iterator[Operation]:
    """Lease the environment, and what all environments share where it is about that; yield who holds it."""
    take_at_once(operation, even_frozen=True)
    if state == ACCOUNT:
        with account_held(operation) as account:
            yield account
    else:
        yield operation


def refuse_changed(shown: Survey | RecordSurvey, now: Survey | RecordSurvey) -> None:
    """Raise `Refused` where the versions are others than those that were shown to whoever confirmed."""
    if shown.fingerprint != now.fingerprint:
        raise Refused(
            "Nothing was restored",
            why="it has other versions than those that were shown",
            do="Run it again, and look at what is there now.",
        )


def _told(changes: tuple[str, ...]) -> str:
    if not changes:
        return "a plan on it changes nothing."
    return f"a plan on it would make {counted(len(changes), 'change')}: {'; '.join(changes)}. Nothing was applied."
