"""An environment's record restored, as steps: what its versions are worth, the write, and what AWS says beside it."""

from __future__ import annotations

from core.colour import Weights
from core.errors import Permanent, PointsmanError
from core.infrastructure import refuse_foreign_infrastructure
from core.markdown import code, table
from core.record_restoration import RecordCandidate, RecordSurvey, survey_record
from core.slot import slot_of
from core.words import counted
from operation.operation import Operation
from operation.step import Done, done, step
from systems.ecs import read_service
from systems.load_balancer import LoadBalancer
from tasks.state import publish_survey, versions_of

__all__ = ["RECORD", "compare_record", "describe_record", "survey_versions", "write_record"]

RECORD = "record"

VERSIONS_READ = 100
"""More than of a state: each heartbeat of those who hold a record that knows nothing writes one."""


@step("survey record", "judge the versions of the record of {operation.environment}", writes=False)
def survey_versions(operation: Operation) -> Done[RecordSurvey]:
    """Return what the newest versions of the environment's record are worth."""
    versions = versions_of(operation).read(_key(operation), limit=VERSIONS_READ)
    found = survey_record(operation.environment, versions)
    publish_survey(operation, RECORD, describe_record(found))
    return done(f"{counted(len(found.candidates), 'version')}; the newest: {found.trouble}", found)


@step("compare record", "hold version {chosen.version.id} against the listener and the live service", writes=False)
def compare_record(operation: Operation, chosen: RecordCandidate) -> Done[str]:
    """Return in a sentence what AWS says beside what that version knows to be live."""
    told = _compared(operation, chosen)
    return done(told, told)


@step("restore record", "write version {chosen.version.id} of the record as its newest", writes=False)
def write_record(operation: Operation, found: RecordSurvey, chosen: RecordCandidate) -> Done[None]:
    """Write an earlier record again, held by nobody but us, with a fencing token that no former holder has.

    Under our lease where the record can be read; else in one conditional write over what cannot be read.
    """
    if chosen.record is None:
        raise Permanent("There is nothing to restore", why=str(chosen))
    restored = chosen.record.restored(found.fencing_token + 1)
    if found.readable:
        operation.lease.assert_held()
        operation.records.change_environment(lambda r: restored.leased(r.lease))
    else:
        newest = found.newest.version if found.newest else None
        content = restored.model_dump_json(by_alias=True, indent=1).encode()
        versions_of(operation).write(_key(operation), content, newest, copy_of=chosen.version.id, lease=None)
    seen = operation.records.environment()
    if seen.live != restored.live or seen.infrastructure != restored.infrastructure:
        raise Permanent(
            f"The record of {operation.environment} is not what was written",
            why="somebody else writes it",
            do="Find out who, then run the same command again.",
        )
    return done(f"{chosen.version.id} is the newest again: {chosen}")


def describe_record(found: RecordSurvey) -> str:
    """Return what a person reads before deciding: each version, what is wrong with it, and which is proposed."""
    proposed = found.proposed
    rows = [
        (
            code(c.version.id),
            f"{c.version.at:%Y-%m-%d %H:%M:%S}",
            ", ".join(word for word, one in (("newest", found.newest), ("proposed", proposed)) if one is c),
            str(c),
        )
        for c in _worth_showing(found)
    ]
    return (
        f"# Record of {found.environment}\n\nThe newest version: {found.trouble}.\n"
        f"Proposed: {code(proposed.version.id) if proposed else 'none fits'}.\n\n"
        f"{table(rows, head=('version', 'written (UTC)', '', 'what it knows'))}"
    )


def _worth_showing(found: RecordSurvey) -> list[RecordCandidate]:
    """Return the versions that say something else than the one above them: heartbeats change nothing."""
    shown: list[RecordCandidate] = []
    for candidate in found.candidates:
        if not shown or str(candidate) != str(shown[-1]) or candidate is found.proposed:
            shown.append(candidate)
    return shown


def _compared(operation: Operation, chosen: RecordCandidate) -> str:
    record = chosen.record
    if record is None or record.infrastructure is None or record.live is None:
        return "It knows of nothing live."
    live = record.live
    refuse_foreign_infrastructure(record.infrastructure, operation.settings)
    known = f"{live.release.version} is live in {live.colour} by that version"
    try:
        weights = LoadBalancer(operation.aws, record.infrastructure).weights()
        slot = slot_of(operation.settings, record.infrastructure, live.colour)
        service = read_service(operation.aws, slot.service)
    except PointsmanError as error:
        return f"{known}; what AWS says is unknown ({error})"
    runs = service.task_definition if service else "nothing"
    others = [f"the listener has {weights}"] if weights != Weights.all_on(live.colour) else []
    if live.definition is not None and runs != live.definition:
        others.append(f"{live.colour} runs {runs}, not {live.definition}")
    if not others:
        return f"{known}, and AWS says the same."
    return f"{known}, but {' and '.join(others)}: the next run freezes the environment, and `unfreeze` is the answer."


def _key(operation: Operation) -> str:
    return f"releases/{operation.environment}/environment.json"
