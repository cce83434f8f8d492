"""Terraform's state lock, an object beside the state in S3, and what a killed run leaves of it.

https://developer.hashicorp.com/terraform/language/backend/s3#state-locking
"""

from __future__ import annotations

import getpass
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil
from pydantic import ValidationError

from core.errors import Permanent, PointsmanError, Refused, UnknownOutcome
from core.record import Owner
from systems.aws import aws_errors, has_code
from systems.log import run_logger
from systems.process_table import carrying, ignores_interrupts
from systems.processes import ATTEMPT_VARIABLE, process_is_dead, same_host
from systems.terraform import state_key

__all__ = ["Lock", "StateLocks", "end_orphans"]


@dataclass(frozen=True)
class Lock:
    """Who holds a state, by the lock object's own word."""

    key: str
    id: str
    who: str
    created: datetime
    info: str = ""
    """Of a lock that we took ourselves: whose it is, an `Owner` as JSON."""

    @property
    def holder_is_dead(self) -> bool:
        """Whether it is one of ours and its process is proven gone: a last write may land after the cleanup."""
        try:
            return process_is_dead(Owner.model_validate_json(self.info))
        except ValidationError:
            return False


@dataclass(frozen=True)
class StateLocks:
    """The state locks of an environment."""

    s3: Any
    bucket: str
    account: str
    environment: str
    grace: float
    """Seconds that a dead run's Terraform gets to write its state."""

    @property
    def _named(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.account}

    def read(self, state: str) -> Lock | None:
        """Return the lock on a state (see `state_key`), or None."""
        key = f"{state_key(self.environment, state)}.tflock"
        try:
            with aws_errors("reading the state lock"):
                body = self.s3.get_object(**self._named, Key=key)["Body"].read()
        except Permanent as error:
            if has_code(error, "NoSuchKey"):
                return None
            raise
        written = json.loads(body)
        # Terraform writes nanoseconds, which Python's clock does not have.
        created = written["Created"][:19] + "+00:00"
        return Lock(key, written["ID"], written["Who"], datetime.fromisoformat(created), written.get("Info", ""))

    @contextmanager
    def held(self, state: str, operation: str, owner: Owner) -> Iterator[None]:
        """Lock a state as Terraform does, so that no Terraform reads it meanwhile; raise `Refused` where one has it.

        What a dead process of ours left locked is released. The lock object's members are those of Terraform's own,
        internal/states/statemgr/locker.go (LockInfo).
        """
        left = self.read(state)
        if left is not None and left.holder_is_dead:
            self.delete(left)
        lock = self._take(state, operation, owner)
        try:
            yield
        finally:
            with suppress(PointsmanError):  # what is left of it is released as a dead run's
                self.delete(lock)

    def _take(self, state: str, operation: str, owner: Owner) -> Lock:
        key = state_key(self.environment, state)
        lock = Lock(f"{key}.tflock", str(uuid.uuid4()), f"{getpass.getuser()}@{os.uname().nodename}", datetime.now(UTC))
        content = {
            "ID": lock.id,
            "Operation": operation,
            "Info": owner.model_dump_json(),
            "Who": lock.who,
            "Version": "",
            "Created": f"{lock.created:%Y-%m-%dT%H:%M:%S.%f}Z",
            "Path": f"{self.bucket}/{key}",
        }
        try:
            with aws_errors("locking the state", writes=True):
                self.s3.put_object(**self._named, Key=lock.key, Body=json.dumps(content).encode(), IfNoneMatch="*")
        except PointsmanError as error:
            found = self.read(state)
            if found is not None and found.id == lock.id:
                return lock  # only the answer was lost
            if found is None:
                raise
            raise Refused(
                f"The state of {state} is locked",
                why=f"by {found.who} since {found.created}",
                do=f"Wait until it ends. If it is dead: `python -m flows unlock {self.environment} --state {state}`.",
            ) from error
        return lock

    def delete(self, lock: Lock) -> None:
        """Delete a lock object."""
        with aws_errors("deleting the state lock", writes=True):
            self.s3.delete_object(**self._named, Key=lock.key)

    def release_dead(self, owner: Owner, state: str, *, since: datetime) -> None:
        """End what is left of a dead run's Terraform, then release the lock that it took `since` it began.

        Raises `Permanent` for a lock whose holder cannot be proven dead: then a human decides.
        """
        here = same_host(owner)
        if here:
            end_orphans(owner.attempt, grace=self.grace)
        lock = self.read(state)
        if lock is None:
            return
        ours = lock.who.rpartition("@")[2] == os.uname().nodename
        if not here or not ours or lock.created.timestamp() < since.timestamp() - 1:
            raise Permanent(
                f"The state of {state} is locked",
                why=f"by {lock.who} since {lock.created}, and that process cannot be proven dead from here",
                do=f"Make sure it has ended, then run `python -m flows unlock {self.environment} --state {state}`.",
            )
        self.delete(lock)
        run_logger().warning("Released the state lock %s that %s left behind", lock.id, owner.attempt)


def end_orphans(attempt_id: str, *, grace: float) -> int:
    """Interrupt the children that outlived an attempt's process, once, and wait for their ends; return how many.

    What was started in a shell's background ignores SIGINT and gets SIGTERM, which Terraform takes alike. It gets no
    second signal, at which it would end without writing its state; and its plugins get none while it lives, since it
    needs them for that. A plugin whose Terraform is gone (it may die of the pipe that nobody reads any more) heeds no
    interrupt, and nobody else would end it.
    """
    orphans = _children_of(attempt_id)
    for orphan in orphans:
        if not _is_led(orphan, orphans) and not _is_plugin(orphan):
            _send(orphan, signal.SIGTERM if ignores_interrupts(orphan.pid) else signal.SIGINT)
    end = time.monotonic() + grace
    while alive := _children_of(attempt_id):
        for orphan in alive:
            if _is_plugin(orphan) and not _is_led(orphan, alive):
                _send(orphan, signal.SIGTERM)
        if time.monotonic() > end:
            raise UnknownOutcome(
                f"{len(alive)} processes of a dead run do not end",
                why=f"pids {[orphan.pid for orphan in alive]}",
                do="Kill them by hand.",
            )
        time.sleep(0.1)
    return len(orphans)


def _children_of(attempt_id: str) -> list[psutil.Process]:
    return [process for process in carrying({ATTEMPT_VARIABLE: attempt_id}) if process.pid != os.getpid()]


def _is_led(process: psutil.Process, others: list[psutil.Process]) -> bool:
    """Whether one of the others started a process and has not ended."""
    with suppress(psutil.Error):
        return process.ppid() in {other.pid for other in others}
    return False


def _is_plugin(process: psutil.Process) -> bool:
    """Whether a process is a provider that a Terraform started (go-plugin's handshake)."""
    with suppress(psutil.Error):
        return "TF_PLUGIN_MAGIC_COOKIE" in process.environ()
    return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
