"""`preflight` as steps: all checks, those that a release looks at before it begins, and those of its own files."""

from __future__ import annotations

from contextlib import suppress

from core.errors import PointsmanError
from core.lease import LeaseVerdict
from core.preflight.catalogue import CHECKS
from core.preflight.judgement import Check, Report
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from tasks.checkout import Checkout
from tasks.preflight import account, database, machine, source, state, traffic
from tasks.preflight.ground import Ground, Look
from tasks.preflight.looking import look_at

__all__ = ["ALL", "FAST", "LOOKS", "check_all", "check_fast", "check_files", "check_readiness"]

LOOKS: dict[str, Look] = {
    **account.LOOKS,
    **state.LOOKS,
    **machine.LOOKS,
    **source.LOOKS,
    **database.LOOKS,
    **traffic.LOOKS,
}

_OF_FILES = ("Dockerfile", "old workflow")
ALL = CHECKS
FAST = tuple(check for check in CHECKS if check.fast and check.name not in _OF_FILES)
FILES = tuple(check for check in CHECKS if check.name in _OF_FILES)

FAST_SECONDS = 3.0
ALL_SECONDS = 900.0


def check_all(operation: Operation, *, by_a_person: bool = False) -> Report:
    """Return the findings of every check; a one-off task is started if a release has registered one."""
    return _look(operation, ALL, ALL_SECONDS, by_a_person=by_a_person)


def check_fast(operation: Operation, *, by_a_person: bool = False) -> Report:
    """Return the findings of the fast checks, within three seconds; those of the source's files are a release's."""
    return _look(operation, FAST, FAST_SECONDS, by_a_person=by_a_person)


def _look(operation: Operation, checks: tuple[Check, ...], within: float, *, by_a_person: bool) -> Report:
    return look_at(Ground(operation, by_a_person=by_a_person), checks, LOOKS, within=within)


@step("preflight", "look at what a release assumes", writes=False)
def check_readiness(operation: Operation) -> Done[None]:
    """Raise `Refused` naming each fast check that fails, with its fix.

    A run that goes on after its approval is past it: what it prepared stands.
    """
    if _waited(operation):
        return skipped("it looked before it waited for its approval")
    report = check_fast(operation)
    report.refuse_failed(operation.journal.subject or operation.owner.flow)
    return done(report.message)


def _waited(operation: Operation) -> bool:
    with suppress(PointsmanError):  # a bucket that cannot be read is a finding
        return operation.lease.judge(operation.records.environment()) is LeaseVerdict.RESUMED
    return False


@step("files", "look for what in {source.version} would act beside a release", writes=False)
def check_files(operation: Operation, source: Checkout) -> Done[None]:
    """Raise `Refused` for files that migrate in a build, or that deploy the tag a second time."""
    report = look_at(Ground(operation, source.directory), FILES, LOOKS, within=FAST_SECONDS)
    report.refuse_failed(operation.journal.subject or operation.owner.flow)
    return done(report.message)
