"""A state's restoring as steps: what its versions are worth, a trial, the write, and what a plan says afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect.artifacts import create_markdown_artifact

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused
from core.history import Attempt
from core.known_resources import account_resources, environment_resources, slot_resources
from core.markdown import code, table
from core.root_variables import account_variables, environment_variables, slot_variables
from core.settings import ACCOUNT
from core.state_restoration import Candidate, Known, Survey, planned_changes, read_state, survey, with_serial
from core.words import counted
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.log import run_logger
from systems.presence import is_present
from systems.state_versions import StateVersions
from systems.terraform import describe, state_key

__all__ = [
    "STATES",
    "describe_survey",
    "publish_survey",
    "see_state",
    "survey_state",
    "try_state",
    "versions_of",
    "would_change",
    "write_state",
]

STATES = (*(c.value for c in Colour), "environment", ACCOUNT)

VERSIONS_READ = 40


@dataclass(frozen=True)
class _Slot:
    """What the records and ECS say of one slot."""

    known: tuple[Known, ...]
    named: Mapping[str, str]
    attempt: Attempt | None
    """The one whose release the slot's service has."""


@step("survey state", "judge the versions of the state of {state}", writes=False)
def survey_state(operation: Operation, state: str) -> Done[Survey]:
    """Return what the newest versions of a state are worth, by their contents, the records and AWS."""
    slot = _slot(operation, Colour(state)) if state in list(Colour) else None
    known = slot.known if slot else tuple(_present(operation, state))
    found = survey(
        state,
        versions_of(operation).read(state_key(operation.environment, state), limit=VERSIONS_READ),
        known,
        named=slot.named if slot else {},
        terraform=operation.terraform.version(),
    )
    publish_survey(operation, state, describe_survey(found))
    return done(f"{counted(len(found.candidates), 'version')}; the newest: {found.trouble}", found)


@step("try state", "plan on a copy of version {chosen.version.id}", writes=False)
def try_state(operation: Operation, state: str, chosen: Candidate) -> Done[tuple[str, ...]]:
    """Return what Terraform would change if that version were the state; nothing is written."""
    content = chosen.version.content or b""
    variables = _variables(operation, state)
    if variables is None:
        return skipped("no record says which release this slot has", ("unknown",))
    workplace = operation.terraform
    plan = workplace.plan(workplace.open_root_on(_root(state), content), variables)
    return done(describe(plan), planned_changes(plan.content))


@step("restore state", "write version {chosen.version.id} of the state of {found.state} as its newest")
def write_state(operation: Operation, found: Survey, chosen: Candidate) -> Done[str]:
    """Write a version again as the newest, with a serial above all others, under Terraform's own lock.

    Raises `Refused` where the state changed since it was surveyed, or a Terraform works on it.
    """
    key = state_key(operation.environment, found.state)
    content = with_serial(chosen.version.content or b"", found.next_serial)
    newest = found.newest.version if found.newest else None
    with operation.state_locks.held(found.state, "OperationTypeRestore", operation.owner):
        written = versions_of(operation).write(key, content, newest, copy_of=chosen.version.id, lease=operation.lease)
    seen = versions_of(operation).newest(key)
    if seen is None or seen.content != content:
        raise Permanent(
            f"The state of {found.state} is not what was written",
            why=f"its newest version is {seen.id if seen else 'missing'}, and {written} was written",
            do="Somebody else writes it: find out who, then run the same command again.",
        )
    return done(f"{chosen.version.id} is the newest again, as {written}, serial {found.next_serial}", written)


@step("see state", "plan on the state of {found.state}, and apply nothing", writes=False)
def see_state(operation: Operation, found: Survey) -> Done[tuple[str, ...]]:
    """Return what Terraform would change now, and publish it."""
    state = found.state
    variables = _variables(operation, state)
    if variables is None:
        return skipped("no record says which release this slot has; the next release plans", ("unknown",))
    workplace = operation.terraform
    plan = workplace.plan(workplace.open_root(_root(state), state_key(operation.environment, state)), variables)
    changes = planned_changes(plan.content)
    shown = table([(code(change),) for change in changes], head=("would change",)) if changes else "No changes.\n"
    publish_survey(operation, state, f"# {state} after restoring\n\n{shown}\nNothing was applied.\n")
    return done(describe(plan), changes)


def versions_of(operation: Operation) -> StateVersions:
    """Return the versions of what is in the state bucket."""
    settings = operation.settings
    return StateVersions(operation.aws("s3"), settings.state_bucket, settings.aws_account_number)


def describe_survey(found: Survey) -> str:
    """Return what a person reads before deciding: each version, what is wrong with it, and which is proposed."""
    proposed = found.proposed
    rows = [
        (code(c.version.id), f"{c.version.at:%Y-%m-%d %H:%M:%S}", _role(found, c), str(c), c.named)
        for c in found.candidates
    ]
    lines = [
        f"# State of {found.state}\n",
        f"The newest version: {found.trouble}.",
        f"Proposed: {code(proposed.version.id) if proposed else 'none fits'}.\n",
        table(rows, head=("version", "written (UTC)", "", "what it is", "records")),
    ]
    if proposed is None and found.imports:
        lines.append("To import what exists (docs/state.md):\n\n" + "\n".join(f"    {line}" for line in found.imports))
    return "\n".join(lines)


def would_change(changes: tuple[str, ...]) -> str:
    """Return in words what a person is told of a trial's plan."""
    if not changes:
        return "After it Terraform would change nothing."
    return "After it Terraform would: " + "; ".join(changes) + ". Nothing of this is applied."


def _role(found: Survey, candidate: Candidate) -> str:
    roles = (("newest", found.newest), ("proposed", found.proposed))
    return ", ".join(word for word, one in roles if one is candidate)


def _root(state: str) -> str:
    return state if state in ("environment", ACCOUNT) else "slot"


def _present(operation: Operation, state: str) -> Iterator[Known]:
    known = account_resources(operation.settings)
    if state == "environment":
        known = environment_resources(operation.settings, operation.infrastructure)
    for one in known:
        yield replace(one, exists=is_present(operation.aws, one.identity))


def _slot(operation: Operation, colour: Colour) -> _Slot:
    service = operation.ecs.read(operation.slot(colour).service)
    runs = service.task_definition if service else None
    attempts = [(v, a) for v, a in _attempts(operation, runs) if a.colour is colour]
    own = next((a for _, a in attempts if runs and a.slot and a.slot.task_definition_arn == runs), None)
    migrates = own.slot.migration_task_definition_arn if own and own.slot else None
    named: dict[str, str] = {}
    for version, attempt in attempts:
        for id_, said in (
            (attempt.state_version_before, "was planned on it"),
            (attempt.state_version_after, "left it"),
        ):
            if id_:
                named[id_] = "; ".join(filter(None, [named.get(id_), f"{version} {said}"]))
    return _Slot(slot_resources(operation.settings, colour, runs=runs, migrates=migrates), named, own)


def _attempts(operation: Operation, definition: str | None) -> Iterator[tuple[str, Attempt]]:
    """Yield the attempts of the versions that the record or the slot's own task definition name, oldest first."""
    record = operation.records.environment()
    lived = (*record.healthy, *([record.live] if record.live else []))
    versions = [*(one.release.version for one in lived), record.last_failed]
    if definition is not None:
        versions.append(_named_by(operation, definition))
    for version in dict.fromkeys(filter(None, versions)):
        history = operation.records.version(version)
        yield from ((version, attempt) for attempt in (history.attempts if history else ()))


def _named_by(operation: Operation, definition: str) -> str | None:
    try:
        return operation.ecs.names(definition).version
    except PointsmanError as error:
        run_logger().warning("What %s runs could not be read: %s", definition, error)
        return None


def _variables(operation: Operation, state: str) -> dict[str, Any] | None:
    """Return what a plan of the state's root is given; None for a slot whose release no record knows."""
    settings = operation.settings
    if state == ACCOUNT:
        return account_variables(settings)
    if state == "environment":
        return environment_variables(settings, operation.record, _account_outputs(operation))
    attempt = _slot(operation, Colour(state)).attempt
    if attempt is None or attempt.release is None:
        return None
    return slot_variables(settings, operation.infrastructure, Colour(state), attempt.release)


def _account_outputs(operation: Operation) -> Mapping[str, Any]:
    newest = versions_of(operation).newest(state_key(operation.environment, ACCOUNT))
    found = read_state(newest.content) if newest is not None and newest.content is not None else "it is missing"
    if isinstance(found, str):
        raise Refused(
            "The state of account is lost or broken",
            why=found,
            do=f"Restore it first: `python -m flows restore-state {operation.environment} --state {ACCOUNT}`.",
        )
    return found.outputs


def publish_survey(operation: Operation, state: str, markdown: str) -> None:
    """Show it in Prefect's UI, under one key for each state."""
    stage = operation.settings.stage
    create_markdown_artifact(
        key=f"state-{stage}-{state}", markdown=markdown, description=f"State of {state} in {stage}"
    )
