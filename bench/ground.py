"""What all measurements stand on: a sandbox that runs, with a version live, and fresh versions to release on it."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.waterfall import Latencies
from core.errors import Permanent, Refused
from core.record import Live
from emulator.settings import Settings as EmulatorSettings
from sandbox.operator import Operator, Run
from sandbox.parts import Sandbox
from sandbox.settings import CODE

__all__ = ["TREE", "Ground", "overlay", "spread", "wait_for"]

TREE = "v1.1.0"
"""The tree that every measured version has, with one migration and one file of its own on top."""


class Ground:
    """The sandbox of this checkout; `Refused` in one sentence where it is not up or nothing is live in it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.sandbox = Sandbox(CODE)
        down = [status.part for status in self.sandbox.status() if not status.good]
        if down:
            raise Refused(f"The sandbox is not up ({', '.join(down)} missing)", do="`make demo` starts it.")
        self.operator = Operator(self.sandbox)
        try:
            record = self.operator.record()
        except self.operator.client("s3").exceptions.NoSuchKey:
            raise Refused("Nothing was released in the sandbox yet", do="`make demo` does that.") from None
        if record.live is None or record.infrastructure is None:
            raise Refused("Nothing is live in the sandbox", do="`make demo` releases a version.")
        self.infrastructure = record.infrastructure

    @property
    def live(self) -> Live:
        """What is live now."""
        found = self.operator.record().live
        assert found is not None
        return found

    def emulator(self) -> EmulatorSettings:
        """Return what the running emulator was started with."""
        pid = self.sandbox.pid("aws")
        return EmulatorSettings.from_environment(psutil.Process(pid).environ())

    def require_profile(self, profile: str) -> None:
        """Raise `Refused` where the running emulator has another profile."""
        found = self.emulator().profile
        if found != profile:
            raise Refused(
                f"The sandbox runs with profile {found}",
                do=f"Start it with the other one: `POINTSMAN_EMULATOR_PROFILE={profile} make demo`.",
            )

    def latencies(self) -> Latencies:
        """Return what the emulated AWS itself takes."""
        emulator, health = self.emulator(), self.operator.settings.provision.environment.get("health_check")
        interval = float(health.get("interval", 15)) if isinstance(health, dict) else 15.0
        # A new target is healthy with its first good check, which comes within an interval: half of one on average.
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
        asked_at_once = emulator.initial_probe_interval != float("inf")
        healthy = 0.0 if asked_at_once else interval * emulator.health_interval_scale / 2
        return Latencies(emulator.task_start, healthy, emulator.weights_lag, emulator.log_delay)

    def push_fresh(self) -> str:
        """Push a version that no layer cache knows; return its tag."""
        tag = self.operator.next_tag()
        with overlay(tag) as folder:
            self.operator.push(TREE, tag=tag, overlay=folder)
        return tag

    def release_fresh(self) -> str:
        """Release a version for others to measure with; return its tag."""
        tag = self.push_fresh()
        self.expect(self.operator.wait(self.operator.run("release", tag=tag)))
        return tag

    def expect(self, run: Run, type_: str = "COMPLETED") -> None:
        """Raise `Permanent` if a run did not end as it must."""
        if run.type != type_:
            raise Permanent(f"{run.name} ended {run.state}", why=run.message, do=self.operator.page(run.id))

    def first_in(self, run_id: str, state: str) -> float:
        """Return when a run first was in a state, in seconds since the epoch."""
        states = self.operator.states(run_id)
        if state not in states:
            raise Permanent(f"Run {run_id} was never {state}", why=f"it was {', '.join(states)}")
        return datetime.fromisoformat(states[state]).timestamp()


@contextmanager
def overlay(name: str) -> Iterator[Path]:
    """A folder to lay over a version's tree: a migration and a source file that only `name` has."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        word = re.sub(r"\W", "_", name)
        migration = folder / "prisma" / "migrations" / f"20260501090000_measure_{word}"
        migration.mkdir(parents=True)
        (migration / "migration.sql").write_text(f'CREATE TABLE "measure_{word}" ("id" INTEGER PRIMARY KEY);\n')
        (folder / "src").mkdir()
        (folder / "src" / "measure.js").write_text(f"// {name}\n")
        yield folder


def wait_for(what: Callable[[], bool], seconds: float, said: str, *, poll: float = 0.05) -> None:
    """Wait until something is so; raise `Permanent` once `seconds` have passed."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise Permanent(said, why=f"waited {seconds:g} s")
        time.sleep(poll)


def spread(values: list[float]) -> dict[str, Any]:
    """Return values with their median and 95th percentile by nearest rank: of ten values the largest."""
    ordered = sorted(values)
    rank = -(-95 * len(ordered) // 100)
    return {
        "n": len(values),
        "median": round(median(values), 3),
        "p95": round(ordered[rank - 1], 3),
        "values": [round(value, 3) for value in values],
    }
