"""Looks at the database: its secrets, its instance in RDS, the rules around it, and a task beside the application's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.colour import Colour
from core.errors import Permanent, PointsmanError
from core.preflight.database import (
    Exposure,
    InboundRule,
    Instance,
    TaskSeen,
    judge_backups,
    judge_deletion_protection,
    judge_exposure,
    judge_inbound,
    judge_instance,
    judge_open,
    judge_reachable,
    judge_storage,
    judge_task,
    judge_task_role,
)
from core.preflight.judgement import Judgement, Verdict, unknown
from core.preflight.secret import (
    ADDRESS_FAULTS,
    address_in,
    faults_of_secret,
    judge_forms,
    judge_secrets,
    requires_tls,
)
from core.record import EnvironmentRecord
from core.secret import SecretReference
from core.slot import slot_of
from operation.operation import Operation
from systems import rds
from systems.one_off import OneOffs, OneOffTask
from systems.preflight_task import PreflightScript
from systems.secret_sources import describe_source, read_source
from systems.security_groups import inbound_rules
from tasks.preflight.ground import Ground, Look

__all__ = ["LOOKS"]

_NO_INSTANCE = "preflight.database_instance names no instance"
_NO_RELEASE = Judgement(Verdict.NOT_YET, "release first: no task definition is registered")

# ---- The secrets ----


def _secrets(ground: Ground) -> Judgement:
    references = sorted(ground.settings.secret_references, key=lambda reference: reference.source)
    if not references:
        return unknown("service.secrets names none")
    seen, denied = {}, ""
    for reference in references:
        try:
            seen[reference.source] = describe_source(ground.reader, reference)
        except PointsmanError as error:  # the others are looked at all the same
            denied = denied or str(error)
    infrastructure = ground.infrastructure()
    judged = judge_secrets(tuple(seen.values()), infrastructure.secret_sources if infrastructure else None)
    return unknown(denied) if denied and judged.verdict is Verdict.PASS else judged


def _form(ground: Ground) -> Judgement:
    if not ground.settings.secret_references:
        return unknown("service.secrets names none")
    try:
        contents = _contents(ground)
    except PointsmanError as error:
        return _form_by_task(ground, str(error))
    faults: dict[str, list[str]] = {}
    for variable, reference in (*_services_own(ground), *ground.settings.migration_secrets.items()):
        # Of another tool the form is its own affair: SQLAlchemy's names a driver, JDBC's is another one altogether.
        is_address = variable == ground.settings.migration.url_variable and _has_node(ground)
        found = faults_of_secret(contents[reference.source], reference.key, is_address=is_address)
        faults[variable] = [*faults.get(variable, []), *found]
    return judge_forms(faults, "who reads here")


def _services_own(ground: Ground) -> list[tuple[str, SecretReference]]:
    """Return the secrets that the service has by a reference which the migration's task does not share."""
    settings = ground.settings
    return [
        (variable, reference)
        for variable, reference in settings.service.secrets.items()
        if settings.migration_secrets[variable] != reference
    ]


def _form_by_task(ground: Ground, denied: str) -> Judgement:
    task = _task(ground)
    if task is None or task.address_faults is None:
        return unknown(f"who looks here may not read it ({denied}), and no task of a release told")
    faults = [ADDRESS_FAULTS[fault] for fault in task.address_faults]
    return judge_forms({ground.settings.migration.url_variable: faults}, "a task")


def _contents(ground: Ground) -> dict[str, str]:
    """Return the secrets' contents, which stay in this process and reach no message."""

    def read() -> dict[str, str]:
        return {one.source: read_source(ground.reader, one) for one in ground.settings.secret_references}

    return ground.once("contents", read)


# ---- The instance ----


def _instance(ground: Ground) -> Judgement:
    identifier = ground.settings.preflight.database_instance
    return judge_instance(_found(ground), identifier) if identifier else unknown(_NO_INSTANCE)


def _found(ground: Ground) -> Instance | None:
    identifier = ground.settings.preflight.database_instance or ""
    return ground.once("instance", lambda: rds.find_instance(ground.reader("rds"), identifier))


@dataclass(frozen=True)
class _OfInstance:
    """A look at the instance, where there is one."""

    judge: Look

    def __call__(self, ground: Ground) -> Judgement:
        if ground.settings.preflight.database_instance is None:
            return unknown(_NO_INSTANCE)
        if _found(ground) is None:
            return unknown("there is no such instance")
        return self.judge(ground)


def _known(ground: Ground) -> Instance:
    found = _found(ground)
    if found is None:
        raise Permanent("There is no such instance")
    return found


def _exposure(ground: Ground) -> Judgement:
    instance = _known(ground)
    if not instance.public:
        return judge_exposure(instance, Exposure(None, None))
    return judge_exposure(instance, Exposure(_forced(ground, instance), _asked_for(ground)))


def _forced(ground: Ground, instance: Instance) -> bool | None:
    try:
        return rds.requires_tls(ground.reader("rds"), instance.parameter_groups)
    except PointsmanError:
        return None


def _asked_for(ground: Ground) -> bool | None:
    reference = ground.settings.migration_secrets.get(ground.settings.migration.url_variable)
    if reference is None:
        return None
    try:
        address = address_in(_contents(ground)[reference.source], reference.key)
        return requires_tls(address) if address is not None else None
    except PointsmanError:
        task = _task(ground)
        return task.tls_asked_for if task else None


def _rules(ground: Ground) -> list[InboundRule]:
    groups = _known(ground).security_groups
    return ground.once("inbound rules", lambda: inbound_rules(ground.reader("ec2"), groups))


def _inbound(ground: Ground) -> Judgement:
    outputs, instance = ground.outputs(), _known(ground)
    together = bool(outputs) and outputs.get("vpc_id") == instance.vpc_id
    tasks = outputs.get("task_security_group_id") if together else None
    return judge_inbound(_rules(ground), instance.port, outputs.get("nat_gateway_ip"), tasks)


# ---- A task inside ----


_NODE = frozenset({"prisma", "drizzle"})
"""The migration engines whose images have Node.js, which runs what looks from the inside."""


def _has_node(ground: Ground) -> bool:
    return ground.settings.migration.engine in _NODE


def _task(ground: Ground) -> TaskSeen | None:
    if not _has_node(ground):
        return None
    return ground.once("task", lambda: _run(ground.operation, ground.record()))


def _of_a_task(ground: Ground, judge: Callable[[TaskSeen], Judgement]) -> Judgement:
    if not _has_node(ground):
        engine = ground.settings.migration.engine
        return unknown(f"a task looks by Node.js, which an image with migration.engine = {engine!r} need not have")
    task = _task(ground)
    return _NO_RELEASE if task is None else judge(task)


class _Unleased:
    """Stands where a lease does: the task writes nothing, so it may run beside whoever holds the environment."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def assert_held(self, *, tolerate_unwritten_record: bool = False) -> EnvironmentRecord:
        """Return the record."""
        return self._operation.record

    def check(self) -> None:
        """Wait on."""


def _run(operation: Operation, record: EnvironmentRecord) -> TaskSeen | None:
    """Run the task with the newest definition that a release registered; None where there is none."""
    settings = operation.settings
    found = _definition(operation, record)
    if found is None:
        return None
    colour, definition = found
    script = PreflightScript(settings.migration, sorted(settings.migration_secrets))
    task = OneOffTask(
        of=slot_of(settings, operation.infrastructure, colour).migration,
        task_definition=definition,
        timeout=settings.timing.start,
        command=script.command,
        environment=script.environment,
        says_its_end=True,
    )
    one_offs = OneOffs(operation.aws, _Unleased(operation), settings.timing, operation.infrastructure)
    try:
        ended = one_offs.run(task, operation.owner.attempt, script.ended)
    except Permanent as error:
        return TaskSeen(started=False, reason=str(error))
    return TaskSeen.of(script.facts(ended.lines), ended.reason)


def _definition(operation: Operation, record: EnvironmentRecord) -> tuple[Colour, str] | None:
    live = record.live
    if live is not None and live.slot is not None:
        return live.colour, live.slot.migration_task_definition_arn
    history = operation.records.version(record.last_failed) if record.last_failed else None
    attempt = history.last_applied if history else None
    if attempt is None or attempt.slot is None or attempt.colour is None:
        return None
    return attempt.colour, attempt.slot.migration_task_definition_arn


def _of_task(ground: Ground) -> Judgement:
    return _of_a_task(ground, judge_task)


def _task_role(ground: Ground) -> Judgement:
    return _of_a_task(ground, lambda task: judge_task_role(task, ground.operation.infrastructure.task_role_arn))


def _reachable(ground: Ground) -> Judgement:
    return _of_a_task(ground, judge_reachable)


LOOKS: dict[str, Look] = {
    "secrets": _secrets,
    "secret form": _form,
    "database instance": _instance,
    "database backups": _OfInstance(lambda ground: judge_backups(_known(ground))),
    "database encryption": _OfInstance(lambda ground: judge_storage(_known(ground))),
    "database deletion protection": _OfInstance(lambda ground: judge_deletion_protection(_known(ground))),
    "database exposure": _OfInstance(_exposure),
    "database inbound rule": _OfInstance(_inbound),
    "database open to the world": _OfInstance(lambda ground: judge_open(_rules(ground), _known(ground).port)),
    "task": _of_task,
    "task role": _task_role,
    "database reachable": _reachable,
}
