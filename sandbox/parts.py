"""The sandbox as a whole: its parts, started in the order of what they need, stopped in the reverse one.

``Sandbox(root).up()`` and ``.down()`` may be called at any time and any number of times: each looks first at
what is there. A lock lets one work at a time. Nothing here imports Prefect, nor boto3 before `up` needs it.
"""

from __future__ import annotations

import fcntl
import graphlib
import os
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from core.errors import Permanent, PointsmanError, Refused
from sandbox import (
    application,
    aws,
    docker_engine,
    environment_file,
    postgres,
    prefect_blocks,
    prefect_server,
    prefect_worker,
    reconciler,
    webhook_receiver,
)
from sandbox.kept_secrets import prefect_auth
from sandbox.part import Part, python
from sandbox.process import (
    MARK_PART,
    MARK_SANDBOX,
    Identity,
    check_port,
    command_line,
    identify,
    marked,
    memory,
    read_pid_file,
    spawn,
    stop,
    uptime,
    wait_until,
    working_below,
    write_pid_file,
)
from sandbox.seed import seed as seed_emulator
from sandbox.settings import CODE, REGION, Settings

__all__ = ["Sandbox", "Status", "all_parts", "in_order"]

LOCK_SECONDS = 180.0
POLL_SECONDS = 0.05
# A living part that does not answer gets this long before it is started anew.
GRACE_SECONDS = 5.0
LOG_LINES = 8

# A developer's own accounts and servers must not reach into the sandbox, nor the sandbox out to them.
_FOREIGN = ("AWS_", "PREFECT_")
_WELCOME = ("PREFECT_LOGGING_",)


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


def all_parts(settings: Settings) -> list[Part]:
    """The parts that this checkout has, each after those it needs."""
    parts = [
        docker_engine.part(settings),
        postgres.part(settings),
        aws.part(settings),
        prefect_server.part(settings),
    ]
    parts.append(prefect_worker.part(settings))
    if reconciler.exists():
        parts.append(reconciler.part(settings))
    if webhook_receiver.exists():
        parts.append(webhook_receiver.part(settings))
    return parts


def in_order(needs: Mapping[str, Sequence[str]], work: Callable[[str], None]) -> dict[str, float]:
    """Do the work of each name once that of those it needs is done, side by side where it can; seconds by name.

    After a PointsmanError nothing more is begun, what is under way ends, and the first such error is raised.
    """
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    seconds: dict[str, float] = {}

    def timed(name: str) -> str:
        began = time.monotonic()
        work(name)
        seconds[name] = time.monotonic() - began
        return name

    problems: list[PointsmanError] = []
    with ThreadPoolExecutor(len(needs)) as pool:
        running: set[Future[str]] = set()
        while (sorter.is_active() and not problems) or running:
            if not problems:
                running |= {pool.submit(timed, name) for name in sorter.get_ready()}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    sorter.done(future.result())
                except PointsmanError as problem:
                    problems.append(problem)
    if problems:
        raise problems[0]
    return seconds


class Sandbox:
    """The sandbox whose state lies in ``<root>/.sandbox``; `say` is told in a sentence what happens."""

    def __init__(
        self,
        root: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._say = say
        self._engine = docker_engine.Engine()
        self._bridge_is_given = "POINTSMAN_SANDBOX_BRIDGE" in (os.environ if environ is None else environ)
        self.settings = Settings.load(CODE if root is None else root, environ)
        self._learn_bridge()

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts by name."""
        return {part.name: part for part in all_parts(self.settings)}

    def up(self) -> dict[str, float]:
        """Start what does not run and return the seconds that each step took; PointsmanError says why not."""
        with self._locked():
            return self._start_all()

    def down(self) -> None:
        """Stop all that is this sandbox's: parts, orphans, containers; the Docker engine if we started it."""
        with self._locked():
            self._stop_all()
        self._say("The sandbox is down: no process and no container of it is left.")

    def reset(self) -> dict[str, float]:
        """Stop everything, delete all data, and start again."""
        with self._locked():
            self._stop_all()
            data = postgres.data_directory(self.settings)
            home = self.settings.directories.home
            for entry in home.iterdir():
                if entry.name not in ("lock", ".gitignore"):
                    _delete(entry)
            _delete(data)
            return self._start_all()

    def restart(self, name: str) -> None:
        """Stop one part, if it runs, and start it again."""
        with self._locked():
            self._stop(self._named(name))
            self._start(self._named(name))

    def stop(self, name: str) -> None:
        """Stop one part and leave it stopped."""
        with self._locked():
            self._stop(self._named(name))

    def pid(self, name: str) -> int | None:
        """The process that does the part's work, if it lives: below a supervisor, not the supervisor's."""
        identity = self._worker_of(self._named(name))
        return identity.pid if identity and identity.alive else None

    def status(self) -> list[Status]:
        """What is seen of each part just now."""
        with ThreadPoolExecutor(len(self.parts)) as pool:
            return list(pool.map(self._status, self.parts.values()))

    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to work against this sandbox, the keys included."""
        settings, ports = self.settings, self.settings.ports
        return {
            "POINTSMAN_ENVIRONMENTS": str(environment_file.folder(settings)),
            "PREFECT_API_URL": f"{settings.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": prefect_auth(settings),
            "PREFECT_HOME": str(settings.directories.prefect),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.3",
            "DO_NOT_TRACK": "1",
            "AWS_ENDPOINT_URL": settings.aws_url,
            "AWS_S3_USE_PATH_STYLE": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Files of the developer's must not be read: a profile in them would win over the keys above.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": str(settings.aws_credentials) if settings.auth else os.devnull,
            "POINTSMAN_SANDBOX_DATABASE_URL": postgres.database_url(settings, postgres.APPLICATION_DATABASE),
            "POINTSMAN_SANDBOX_CONTAINER_DATABASE_URL": postgres.database_url(
                settings, postgres.APPLICATION_DATABASE, host=settings.bridge
            ),
            "POINTSMAN_SANDBOX_AWS_PORT": str(ports.aws),
            "POINTSMAN_SANDBOX_PREFECT_PORT": str(ports.prefect),
            "POINTSMAN_SANDBOX_POSTGRES_PORT": str(ports.postgres),
            "POINTSMAN_SANDBOX_WEBHOOK_PORT": str(ports.webhook),
            "POINTSMAN_SANDBOX_PRODUCTION_PORT": str(ports.production),
            "POINTSMAN_SANDBOX_TEST_BLUE_PORT": str(ports.test_blue),
            "POINTSMAN_SANDBOX_TEST_GREEN_PORT": str(ports.test_green),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def log_file(self, name: str) -> Path:
        """Where the part writes what it has to say."""
        return self.settings.directories.logs / f"{name}.log"

    def webhook_secret(self) -> str:
        """What a delivery to this sandbox's receiver is signed with."""
        return prefect_blocks.webhook_secret(self.settings)

    # --- starting

    def _start_all(self) -> dict[str, float]:
        self.settings.remember()
        environment_file.write(self.settings)
        # Where its bridge lies is known once the engine runs, and Postgres is to listen there.
        self._start(self.parts["docker"])
        self._learn_bridge()
        steps = {
            "seed": lambda: seed_emulator(self.settings),
            "blocks": lambda: prefect_blocks.register(self.settings, self._process_environment("blocks")),
            "application": lambda: application.prepare(self.settings),
            "deployments": lambda: application.deploy(self.settings, self._process_environment("deployments")),
        }
        needs: dict[str, Sequence[str]] = {name: part.needs for name, part in self.parts.items()}
        needs["seed"] = ("aws", "postgres")
        needs["application"] = ("docker",)
        needs["deployments"] = ("prefect", "worker")
        if prefect_blocks.exists():
            needs["blocks"] = ("prefect",)

        def work(name: str) -> None:
            if name in steps:
                steps[name]()
            else:
                self._start(self.parts[name])

        seconds = in_order(needs, work)
        self._say("The sandbox is up.")
        return seconds

    def _learn_bridge(self) -> None:
        if self._bridge_is_given or not self._engine.answers():
            return
        seen = self._engine.bridge()
        if seen and seen != self.settings.bridge:
            self.settings = replace(self.settings, bridge=seen)
            self.__dict__.pop("parts", None)

    def _start(self, part: Part) -> None:
        identity = self._identity(part)
        if identity is not None and identity.alive:
            if wait_until(part.healthy, GRACE_SECONDS, POLL_SECONDS):
                part.finish()
                return
            self._say(f"{part.name} runs but does not answer: starting it anew.")
            self._stop(part)
        elif part.name == "docker" and part.healthy():
            self._pid_file(part.name).unlink(missing_ok=True)
            return
        self._clear_leftovers(part)
        for listener in part.listeners:
            check_port(part.name, listener.host, listener.port, listener.variable)
        part.prepare()
        began = time.monotonic()
        identity = self._spawn(part)
        self._await_health(part, identity)
        part.finish()
        self._say(f"{part.name} is up after {time.monotonic() - began:.1f} s: {part.address}")

    def _spawn(self, part: Part) -> Identity:
        command = part.command()
        if part.supervised:
            command = python("sandbox.supervisor", str(self._child_file(part.name)), *command)
        identity = spawn(
            command,
            log=self.log_file(part.name),
            environment={**self._process_environment(part.name), **part.environment()},
            directory=postgres.data_directory(self.settings) if part.name == "postgres" else CODE,
            user=part.user(),
        )
        write_pid_file(self._pid_file(part.name), identity)
        return identity

    def _await_health(self, part: Part, identity: Identity) -> None:
        deadline = time.monotonic() + part.start_seconds
        while not part.healthy():
            if not identity.alive:
                self._pid_file(part.name).unlink(missing_ok=True)
                raise Permanent(
                    f"{part.name} ended as soon as it was started",
                    why=self._last_words(part.name),
                    do=f"Its log: {self.log_file(part.name)}",
                )
            if time.monotonic() > deadline:
                raise Permanent(
                    f"{part.name} (process {identity.pid}) does not answer after {part.start_seconds:.0f} s",
                    why=self._last_words(part.name),
                    do=f"Its log: {self.log_file(part.name)}. Then: python -m sandbox down",
                )
            time.sleep(POLL_SECONDS)

    def _last_words(self, name: str) -> str:
        try:
            lines = self.log_file(name).read_text(errors="replace").splitlines()
        except OSError:
            return "it said nothing"
        return "\n  ".join(["its last lines", *(line for line in lines[-LOG_LINES:] if line.strip())])

    def _process_environment(self, name: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN) or name.startswith(_WELCOME)
        }
        path = os.pathsep.join(filter(None, (str(CODE), kept.get("PYTHONPATH", ""))))
        return (
            kept
            | self.environment()
            | {
                "PYTHONPATH": path,
                "PYTHONUNBUFFERED": "1",
                MARK_SANDBOX: self.settings.identity,
                MARK_PART: name,
            }
        )

    # --- stopping

    def _stop_all(self) -> None:
        needs: dict[str, list[str]] = {name: [] for name in self.parts}
        for part in self.parts.values():
            for needed in part.needs:
                if needed in needs:
                    needs[needed].append(part.name)
        engine_is_ours = self._is_ours_to_stop()
        in_order(needs, lambda name: self._stop_with_orphans(self.parts[name], engine_is_ours))
        spared = set() if engine_is_ours else {i.pid for i in marked(self.settings.identity, "docker")}
        stop((i for i in marked(self.settings.identity) if i.pid not in spared), seconds=3.0)

    def _stop_with_orphans(self, part: Part, engine_is_ours: bool) -> None:
        if part.name == "docker" and not engine_is_ours:
            return
        self._stop(part)
        stop(marked(self.settings.identity, part.name), seconds=3.0)
        if part.name == "aws" and self._engine.answers():
            removed = aws.remove_containers(self.settings.recorded())
            if removed:
                self._say(f"{removed} container{'s' if removed > 1 else ''} removed.")

    def _is_ours_to_stop(self) -> bool:
        if not any(i.alive for i in (self._identity(self.parts["docker"]),) if i):
            return False
        try:
            others = set(self._engine.containers())
            ours = set(aws.containers(self.settings.recorded(), self._engine))
        except (OSError, PointsmanError):
            return True
        if others - ours:
            self._say(f"The Docker engine goes on: {len(others - ours)} containers on it are not the sandbox's.")
            return False
        return True

    def _stop(self, part: Part) -> None:
        identity = self._identity(part)
        if identity is not None and identity.alive:
            began = time.monotonic()
            clean = stop([identity], how=part.stop_signal, seconds=part.stop_seconds)
            ending = "stopped" if clean else f"killed, as it had not stopped within {part.stop_seconds:.0f} s"
            self._say(f"{part.name} {ending} after {time.monotonic() - began:.1f} s")
        self._clear_leftovers(part)
        self._pid_file(part.name).unlink(missing_ok=True)
        self._child_file(part.name).unlink(missing_ok=True)

    def _clear_leftovers(self, part: Part) -> None:
        """End what an earlier start of this part left: its children, or itself where its pid file is gone."""
        left = marked(self.settings.identity, part.name)
        if part.keeps_children:
            with suppress(PointsmanError):
                command = part.command()
                left = [identity for identity in left if command_line(identity.pid) == command]
        if part.name == "postgres" and self.settings.directories.postgres.exists():
            left += working_below(postgres.data_directory(self.settings))
        stop(left, how=part.stop_signal, seconds=part.stop_seconds)

    # --- looking

    def _status(self, part: Part) -> Status:
        identity = self._identity(part)
        if part.name == "docker" and (identity is None or not identity.alive) and part.healthy():
            identity = _peer(docker_engine.socket_path())
            if identity is None:
                return Status(part.name, "up", part.address)
        if identity is None:
            return Status(part.name, "missing", part.address)
        if not identity.alive:
            return Status(part.name, "died", part.address, identity.pid)
        state = "up" if part.healthy() else "not answering"
        worker = self._worker_of(part) or identity
        seen = worker if worker.alive else identity
        return Status(part.name, state, part.address, seen.pid, uptime(seen), memory(identity))

    def _identity(self, part: Part) -> Identity | None:
        return read_pid_file(self._pid_file(part.name))

    def _worker_of(self, part: Part) -> Identity | None:
        return read_pid_file(self._child_file(part.name) if part.supervised else self._pid_file(part.name))

    def _pid_file(self, name: str) -> Path:
        return self.settings.directories.run / f"{name}.pid"

    def _child_file(self, name: str) -> Path:
        return self.settings.directories.run / f"{name}.child.pid"

    def _named(self, name: str) -> Part:
        try:
            return self.parts[name]
        except KeyError:
            raise Refused(f"The sandbox has no part {name!r}", do=f"Its parts: {', '.join(self.parts)}.") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        home = self.settings.directories.home
        home.mkdir(parents=True, exist_ok=True)
        # The checkout's own ignore file may not know of a sandbox elsewhere.
        (home / ".gitignore").write_text("*\n")
        with (home / "lock").open("a+") as file:
            if not _try_lock(file.fileno()):
                file.seek(0)
                self._say(f"Another command is at work on this sandbox (process {file.read().strip()}): waiting.")
                if not wait_until(lambda: _try_lock(file.fileno()), LOCK_SECONDS):
                    file.seek(0)
                    raise Refused(
                        f"Process {file.read().strip()} has held this sandbox for {LOCK_SECONDS:.0f} s",
                        do="Look what it does, end it if need be, then try again.",
                    )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _peer(path: str) -> Identity | None:
    """Who listens on a local socket, as far as the kernel tells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid = struct.unpack("3i", told)[0]
    return identify(pid) if pid else None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
