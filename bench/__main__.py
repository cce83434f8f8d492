"""`python -m bench [release|rollback|webhook|kill|memory]`: figures of the running sandbox, measured and kept.

They go to `.sandbox/bench.json`; a part that is measured alone replaces its own figures there and no others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.events import kill_table, measure_kill, measure_memory, measure_webhook, memory_table, webhook_table
from bench.ground import Ground
from bench.release import measure_release, release_table
from bench.rollback import measure_rollback, rollback_table
from core.errors import PointsmanError

__all__ = ["main"]

Measure = Callable[[Ground], dict[str, Any]]
Print = Callable[[dict[str, Any], Callable[..., None]], None]

PARTS: dict[str, tuple[Measure, Print]] = {
    "memory": (measure_memory, memory_table),
    "release": (measure_release, release_table),
    "rollback": (measure_rollback, rollback_table),
    "webhook": (measure_webhook, webhook_table),
    "kill": (measure_kill, kill_table),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for, print it and write it down; 1 with one sentence where that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the running sandbox.")
    parser.add_argument("part", nargs="?", choices=PARTS, help="only this part; all of them if left out")
    parser.add_argument("--profile", choices=["plain", "aws"], help="the profile that the emulator must have")
    asked = parser.parse_args(arguments)
    part = asked.part
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        ground = Ground(say)
        if asked.profile:
            ground.require_profile(asked.profile)
        for name in [part] if part else PARTS:
            say(f"measuring {name}")
            about = {
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "cpus": os.cpu_count(),
                "load_before": round(os.getloadavg()[0], 2),
            }
            _keep(ground, {name: about | PARTS[name][0](ground)})
    except (PointsmanError, OSError, httpx.HTTPError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _print(ground, [part] if part else list(PARTS))
    return 0


def _file(ground: Ground) -> Path:
    return ground.sandbox.settings.directories.home / "bench.json"


def _keep(ground: Ground, found: dict[str, Any]) -> None:
    _file(ground).write_text(json.dumps(_kept(ground) | found, indent=1) + "\n")


def _kept(ground: Ground) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_file(ground).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _print(ground: Ground, names: list[str]) -> None:
    figures = _kept(ground)

    def line(title: str, *values: object) -> None:
        shown = (f"{v:.2f}" if isinstance(v, float) else "-" if v is None else str(v) for v in values)
        print(f"{title:44}" + "".join(f"{value:>10}" for value in shown))

    for name in names:
        print()
        PARTS[name][1](figures[name], line)
        line("  load before", figures[name]["load_before"])
    print(f"\nAll values: {_file(ground)}")


if __name__ == "__main__":
    sys.exit(main())
