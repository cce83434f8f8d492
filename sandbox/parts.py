"""The sandbox as a whole: its parts, started in the order of what they need, stopped in the reverse one.

`Sandbox(root).up()` and `.down()` may be called at any time and any number of times: each looks first at
what is there. A lock lets one work at a time. Nothing here imports Prefect, nor boto3 before `up` needs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import Refused
from sandbox import application, docker_engine, environment, environment_file, postgres, prefect_blocks
from sandbox.aws import Emulator
from sandbox.docker_engine import DockerEngine
from sandbox.keeper import Status, end_rest, look, start_part, stop_part
from sandbox.lock import locked
from sandbox.order import in_order, reversed_needs
from sandbox.part import Part
from sandbox.postgres import Postgres
from sandbox.prefect_server import PrefectServer
from sandbox.prefect_worker import Worker
from sandbox.process import marked, stop
from sandbox.reconciler import Reconciler
from sandbox.seed import seed
from sandbox.settings import CODE, Settings
from sandbox.webhook_receiver import WebhookReceiver

__all__ = ["PARTS", "Sandbox"]

PARTS: tuple[Callable[[Settings], Part], ...] = (
    DockerEngine,
    Postgres,
    Emulator,
    PrefectServer,
    Worker,
    Reconciler,
    WebhookReceiver,
)
"""What a sandbox consists of, each after those it needs."""


@dataclass(frozen=True)
class Step:
    """Something done at each `up` besides the parts' start, once those that it needs are up."""

    needs: tuple[str, ...]
    work: Callable[[Settings], None]


STEPS = {
    "seed": Step(("aws", "postgres"), seed),
    "blocks": Step(("prefect",), prefect_blocks.register),
    "application": Step(("docker",), application.prepare),
    "deployments": Step(("prefect", "worker"), application.deploy),
}


class Sandbox:
    """The sandbox whose state lies in `<root>/.sandbox`; `say` is told in a sentence what happens."""

    def __init__(
        self,
        root: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _line: None,
        parts: Sequence[Callable[[Settings], Part]] = PARTS,
    ) -> None:
        self.say, self._make_parts = say, parts
        self._bridge_is_given = "POINTSMAN_SANDBOX_BRIDGE" in (os.environ if environ is None else environ)
        self.settings = Settings.load(CODE if root is None else root, environ)
        self._learn_bridge()

    def up(self) -> dict[str, float]:
        """Start what does not run and return the seconds that each step took; PointsmanError says why not."""
        with self._locked():
            return self._start_all()

    def down(self) -> None:
        """Stop all that is this sandbox's: parts, orphans, containers; the Docker engine if we started it."""
        with self._locked():
            self._stop_all()
        self.say("The sandbox is down: no process and no container of it is left.")

    def reset(self) -> dict[str, float]:
        """Stop everything, delete all data, and start again."""
        with self._locked():
            self._stop_all()
            data = postgres.data_directory(self.settings)
            for entry in self.settings.directories.home.iterdir():
                if entry.name not in ("lock", ".gitignore"):
                    _delete(entry)
            _delete(data)
            return self._start_all()

    def restart(self, name: str) -> None:
        """Stop one part, if it runs, and start it again."""
        with self._locked():
            stop_part(self._named(name), self.say)
            start_part(self._named(name), self.say)

    def start(self, name: str) -> None:
        """Start one part, if it does not run."""
        with self._locked():
            start_part(self._named(name), self.say)

    def stop(self, name: str) -> None:
        """Stop one part and leave it stopped."""
        with self._locked():
            stop_part(self._named(name), self.say)

    def pid(self, name: str) -> int | None:
        """Return the process that does the part's work, if it lives: below a supervisor, not the supervisor's."""
        worker = self._named(name).worker()
        return worker.pid if worker and worker.alive else None

    def status(self) -> list[Status]:
        """Return what is seen of each part just now."""
        with ThreadPoolExecutor(len(self.parts)) as pool:
            return list(pool.map(look, self.parts.values()))

    def environment(self) -> dict[str, str]:
        """Return what a command needs in its environment to work against this sandbox, the keys included."""
        return environment.of_a_command(self.settings)

    def webhook_secret(self) -> str:
        """Return what a delivery to this sandbox's receiver is signed with."""
        return prefect_blocks.webhook_secret(self.settings)

    def _start_all(self) -> dict[str, float]:
        self.settings.remember()
        environment_file.write(self.settings)
        # Where its bridge lies is known once the engine runs, and Postgres is to listen there.
        start_part(self.parts["docker"], self.say)
        self._learn_bridge()

        def begin(name: str) -> None:
            if name in STEPS:
                STEPS[name].work(self.settings)
            else:
                start_part(self.parts[name], self.say)

        # A sandbox of some parts alone leaves out the steps that the others are needed for.
        steps = {name: step for name, step in STEPS.items() if set(step.needs) <= self.parts.keys()}
        seconds = in_order({name: thing.needs for name, thing in (self.parts | steps).items()}, begin)
        self.say("The sandbox is up.")
        return seconds

    def _learn_bridge(self) -> None:
        """Take the bridge from the engine, if one runs and none is given; make the parts, which stand on it."""
        seen = None if self._bridge_is_given else docker_engine.bridge()
        if seen:
            self.settings = replace(self.settings, bridge=seen)
        self.parts = {part.name: part for part in (make(self.settings) for make in self._make_parts)}

    def _stop_all(self) -> None:
        going_on = {name for name, part in self.parts.items() if part.shared and self._goes_on(part)}

        def end(name: str) -> None:
            if name not in going_on:
                stop_part(self.parts[name], self.say)
                end_rest(self.parts[name], self.say)

        in_order(reversed_needs({name: part.needs for name, part in self.parts.items()}), end)
        spared = {i.pid for name in going_on for i in marked(self.settings.identity, name)}
        stop((i for i in marked(self.settings.identity) if i.pid not in spared), seconds=3.0)

    def _goes_on(self, part: Part) -> bool:
        """Whether a shared part stays when the sandbox ends: it is not ours, or others use it too."""
        started = part.started()
        if started is None or not started.alive:
            return True
        others = part.used_by_others()
        if others:
            self.say(f"{part.name} goes on: {others}.")
        return bool(others)

    def _named(self, name: str) -> Part:
        try:
            return self.parts[name]
        except KeyError:
            raise Refused(f"The sandbox has no part {name!r}", do=f"Its parts: {', '.join(self.parts)}.") from None

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.settings.directories.home, self.say)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
