"""Starts one part, stops it, and sees how it is: by its pid file, its marks, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from core.errors import Permanent, PointsmanError
from sandbox import environment
from sandbox.part import Part, python
from sandbox.process import (
    Identity,
    check_port,
    command_line,
    marked,
    memory,
    spawn,
    stop,
    uptime,
    wait_until,
    write_pid_file,
)

__all__ = ["Status", "end_rest", "look", "start_part", "stop_part"]

POLL_SECONDS = 0.05
# A living part that does not answer gets this long before it is started anew.
GRACE_SECONDS = 5.0
LOG_LINES = 8

Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """What is seen of one part: `state` is `up`, `missing`, `died` or `not answering`."""

    part: str
    state: str
    address: str
    pid: int | None = None
    seconds: float | None = None
    memory: float | None = None

    @property
    def good(self) -> bool:
        """Whether the part does its work."""
        return self.state == "up"


def start_part(part: Part, say: Say) -> None:
    """Start a part that does not run, and wait until it is healthy; `Permanent` with its last lines if it is not."""
    identity = part.started()
    if identity is not None and identity.alive:
        if wait_until(part.is_healthy, GRACE_SECONDS, POLL_SECONDS):
            part.finish()
            return
        say(f"{part.name} runs but does not answer: starting it anew.")
        stop_part(part, say)
    elif part.shared and part.is_healthy():
        part.pid_file.unlink(missing_ok=True)
        return
    _end_leftovers(part)
    for listener in part.listeners():
        check_port(part.name, listener.host, listener.port, listener.variable)
    part.prepare()
    began = time.monotonic()
    _await_health(part, _spawn(part))
    part.finish()
    say(f"{part.name} is up after {time.monotonic() - began:.1f} s: {part.address}")


def stop_part(part: Part, say: Say) -> None:
    """Stop a part if it runs, and what an earlier start of it left."""
    identity = part.started()
    if identity is not None and identity.alive:
        began = time.monotonic()
        clean = stop([identity], how=part.stop_signal, seconds=part.stop_seconds)
        ending = "stopped" if clean else f"killed, as it had not stopped within {part.stop_seconds:.0f} s"
        say(f"{part.name} {ending} after {time.monotonic() - began:.1f} s")
    _end_leftovers(part)
    part.pid_file.unlink(missing_ok=True)
    part.child_file.unlink(missing_ok=True)


def end_rest(part: Part, say: Say) -> None:
    """End whatever a stopped part started, and remove what it leaves besides processes."""
    stop(marked(part.settings.identity, part.name), seconds=3.0)
    if removed := part.clean_up():
        say(f"{removed}.")


def look(part: Part) -> Status:
    """Return what is seen of a part just now."""
    started, worker = part.started(), part.worker()
    if part.shared and (started is None or not started.alive) and part.is_healthy():
        started = worker = part.server()
        if started is None:
            return Status(part.name, "up", part.address)
    if started is None:
        return Status(part.name, "missing", part.address)
    if not started.alive:
        return Status(part.name, "died", part.address, started.pid)
    state = "up" if part.is_healthy() else "not answering"
    seen = worker if worker and worker.alive else started
    return Status(part.name, state, part.address, seen.pid, uptime(seen), memory(started))


def _spawn(part: Part) -> Identity:
    command = part.command()
    if part.supervised:
        command = python("sandbox.supervisor", str(part.child_file), *command)
    identity = spawn(
        command,
        log=part.log_file,
        environment={**environment.of_a_part(part.settings, part.name), **part.environment()},
        directory=part.directory(),
        user=part.user(),
    )
    write_pid_file(part.pid_file, identity)
    return identity


def _await_health(part: Part, identity: Identity) -> None:
    deadline = time.monotonic() + part.start_seconds
    while not part.is_healthy():
        if not identity.alive:
            part.pid_file.unlink(missing_ok=True)
            raise Permanent(
                f"{part.name} ended as soon as it was started", why=_last_words(part), do=f"Its log: {part.log_file}"
            )
        if time.monotonic() > deadline:
            raise Permanent(
                f"{part.name} (process {identity.pid}) does not answer after {part.start_seconds:.0f} s",
                why=_last_words(part),
                do=f"Its log: {part.log_file}. Then: python -m sandbox down",
            )
        time.sleep(POLL_SECONDS)


def _last_words(part: Part) -> str:
    try:
        lines = part.log_file.read_text(errors="replace").splitlines()
    except OSError:
        return "it said nothing"
    return "\n  ".join(["its last lines", *(line for line in lines[-LOG_LINES:] if line.strip())])


def _end_leftovers(part: Part) -> None:
    """End what an earlier start of a part left: its children, or itself where its pid file is gone."""
    left = marked(part.settings.identity, part.name)
    if part.keeps_children:
        with suppress(PointsmanError):
            command = part.command()
            left = [identity for identity in left if command_line(identity.pid) == command]
    stop([*left, *part.leftovers()], how=part.stop_signal, seconds=part.stop_seconds)
