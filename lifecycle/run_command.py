"""`run`: an operator's command as a one-off task of a release's image, inside the environment's network."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused, redact
from core.history import SlotOutputs
from core.record import CommandRun, EnvironmentRecord
from lifecycle.acquire import take_at_once
from operation.lease import now
from operation.operation import Operation
from systems.one_off import OneOffTask

__all__ = ["run_command"]


def run_command(operation: Operation, command: Sequence[str], version: str | None, write: Callable[[str], None]) -> int:
    """Run `command` with the image, the secrets and the network of a release; return its exit code.

    The release is `version`, or else the one that failed last, or else what is live. The environment is leased
    meanwhile, each line goes to `write` as it comes, and the record says who ran what.
    """
    if not command:
        raise Refused("No command was given", do="Put it after `--`: `run <environment> -- prisma migrate status`.")
    record = take_at_once(operation, even_frozen=True)
    operation.lease.step = "run"

    def heard(line: str) -> bool:
        write(line)
        return False

    try:
        version, colour, slot = _release_to_run(operation, record, version)
        entry = CommandRun(at=now(), by=getpass.getuser(), version=version, command=redact(shlex.join(command)))
        # The command may change the table: the next release reads it before it believes anything.
        operation.records.change_environment(lambda r: r.with_command(entry).with_unread_database())
        task = OneOffTask(
            of=operation.slot(colour).migration,
            task_definition=slot.migration_task_definition_arn,
            timeout=operation.settings.migration.timeout_seconds,
            command=command,
        )
        ended = operation.one_offs.run(task, operation.owner.attempt, heard)
        seen = entry.ended(ended.exit_code)
        operation.records.change_environment(lambda r: r.with_command(seen))
    except BaseException:
        _give_up(operation)
        raise
    with suppress(PointsmanError):  # else it expires, and `reconcile` cleans up
        operation.lease.drop()
    if ended.exit_code is None:
        raise Permanent("The command did not start", why=ended.reason, do="Check the task in ECS.")
    return ended.exit_code


def _release_to_run(
    operation: Operation, record: EnvironmentRecord, version: str | None
) -> tuple[str, Colour, SlotOutputs]:
    live = record.live
    wanted = version or record.last_failed
    history = operation.records.version(wanted) if wanted else None
    attempt = history.last_applied if history else None
    if attempt is not None and attempt.slot and attempt.colour and history is not None:
        return history.version, attempt.colour, attempt.slot
    if version is None and live is not None and live.slot is not None:
        return live.release.version, live.colour, live.slot
    raise Refused(
        f"No task definition of {version or 'any release'} can run a command in {operation.environment}",
        why="no recorded attempt got as far as registering one",
        do="Name another version with --version, or release one first.",
    )


def _give_up(operation: Operation) -> None:
    """Drop the lease once nothing of ours runs under it; else it expires, and `reconcile` stops what runs."""
    try:
        with suppress(PointsmanError):
            operation.one_offs.stop(operation.owner.attempt, [operation.slot(colour).migration for colour in Colour])
            operation.lease.drop()
    finally:
        operation.lease.stop_heartbeat()
