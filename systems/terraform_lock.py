"""Terraform's state lock, an object beside the state in S3, and what a killed run leaves of it.

https://developer.hashicorp.com/terraform/language/backend/s3#state-locking
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import Permanent, UnknownOutcome
from core.record import Owner
from systems.aws import aws_errors, has_code
from systems.log import run_logger
from systems.processes import ATTEMPT_VARIABLE, same_host
from systems.terraform import state_key

__all__ = ["Lock", "StateLocks", "end_orphans"]


@dataclass(frozen=True)
class Lock:
    """Who holds a state, by the lock object's own word."""

    key: str
    id: str
    who: str
    created: datetime


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
        return Lock(key, written["ID"], written["Who"], datetime.fromisoformat(created))

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
    for pid in orphans:
        if _parent(pid) in orphans or _is_plugin(pid):
            continue
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if _ignores_interrupts(pid) else signal.SIGINT)
    end = time.monotonic() + grace
    while alive := _children_of(attempt_id):
        for pid in alive:
            if _is_plugin(pid) and _parent(pid) not in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        if time.monotonic() > end:
            raise UnknownOutcome(
                f"{len(alive)} processes of a dead run do not end", why=f"pids {alive}", do="Kill them by hand."
            )
        time.sleep(0.1)
    return len(orphans)


def _parent(pid: int) -> int | None:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _is_plugin(pid: int) -> bool:
    """Whether a process is a provider that a Terraform started (go-plugin's handshake)."""
    with suppress(OSError):
        return b"\0TF_PLUGIN_MAGIC_COOKIE=" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _ignores_interrupts(pid: int) -> bool:
    """Whether a process ignores SIGINT (proc(5), SigIgn)."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
        return bool(ignored & 1 << (signal.SIGINT - 1))
    return False


def _children_of(attempt_id: str) -> list[int]:
    """Return the processes of this machine that carry the attempt's id in their environment."""
    mark = f"{ATTEMPT_VARIABLE}={attempt_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not dead and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
