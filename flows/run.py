"""`run`: an operator's command as a one-off task of a release's image, inside the environment's network."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused, redact
from core.record import CommandRun, EnvironmentRecord, SlotOutputs
from tasks.hold import now
from tasks.one_off import OneOff, OneOffTask, run_one_off, stop_one_offs
from tasks.operation import Operation

__all__ = ["run_command"]


def run_command(operation: Operation, command: Sequence[str], version: str | None, say: Callable[[str], None]) -> int:
    """Run `command` with the image, the secrets and the network of a release; return its exit code.

    The release is `version`, or else the one that failed last, or else what is live. The environment is held meanwhile,
    each line goes to `say` as it comes, and the record says who ran what.
    """
    if not command:
        raise Refused("No command was given", do="Write it behind `--`: `run <environment> -- prisma migrate status`.")
    record = operation.take_if_free(even_frozen=True)
    operation.stage = "run"
    try:
        version, colour, slot = _release_to_run(operation, record, version)
        entry = CommandRun(at=now(), by=getpass.getuser(), version=version, command=redact(shlex.join(command)))
        # The command may change the table: the next release reads it before it believes anything.
        operation.store.change_environment(lambda r: r.with_command(entry).with_unread_database())
        ended = _run(operation, _task(operation, colour, slot, command), say)
        seen = entry.ended(ended.exit_code)
        operation.store.change_environment(lambda r: r.with_command(seen))
    except BaseException:
        _give_up(operation)
        raise
    with suppress(PointsmanError):  # else it runs out, and `reconcile` settles it
        operation.free()
    if ended.exit_code is None:
        raise Permanent("The command did not start", why=ended.reason, do="Look at the task in ECS.")
    return ended.exit_code


def _release_to_run(
    operation: Operation, record: EnvironmentRecord, version: str | None
) -> tuple[str, Colour, SlotOutputs]:
    live = record.live
    wanted = version or record.last_failed
    history = operation.store.version(wanted) if wanted else None
    attempt = history.last_applied if history else None
    if attempt is not None and attempt.slot and attempt.colour and history is not None:
        return history.version, attempt.colour, attempt.slot
    if version is None and live is not None and live.slot is not None:
        return live.release.version, live.colour, live.slot
    raise Refused(
        f"There is no task definition of {version or 'any release'} to run a command with in {operation.environment}",
        why="no attempt on record got so far that one was registered",
        do="Name another one with --version, or release one first.",
    )


def _task(operation: Operation, colour: Colour, slot: SlotOutputs, command: Sequence[str]) -> OneOffTask:
    return OneOffTask(
        task_definition=slot.migration_task_definition_arn,
        log_prefix=f"{colour}-migration",
        timeout=operation.settings.migration.timeout_seconds,
        command=command,
    )


def _run(operation: Operation, task: OneOffTask, say: Callable[[str], None]) -> OneOff:
    def heard(line: str) -> bool:
        say(line)
        return False

    return run_one_off(operation, task, heard)


def _give_up(operation: Operation) -> None:
    """Give the environment back once nothing of ours runs in it; else the hold runs out, and `reconcile` stops it."""
    try:
        with suppress(PointsmanError):
            stop_one_offs(operation, operation.owner.attempt)
            operation.free()
    finally:
        operation.stop_heartbeat()
