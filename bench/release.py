"""A release of a fresh version against the same commands by hand, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.by_hand import STEPS, ByHand
from bench.ground import Ground
from bench.waterfall import critical_path, needs_of_a_release, waterfall

__all__ = ["measure_release", "release_table"]


def measure_release(ground: Ground, times: int = 3) -> dict[str, Any]:
    """Release and do it by hand in turn; return both sides' seconds, medians and ratios.

    Every version has a migration and a file of its own, so that each build really builds and each migration migrates;
    the layer with the dependencies is cached for both. Nothing is counted of the first, which makes slots and caches.
    """
    released: list[dict[str, Any]] = []
    by_hand: list[dict[str, float]] = []
    with ByHand(ground) as hand:
        ground.say("one of each first, not counted")
        _release(ground)
        hand.release()
        for number in range(1, times + 1):
            released.append(_release(ground))
            by_hand.append(hand.release())
            ground.say(f"{number}: release {released[-1]['seconds']:.1f} s, by hand {sum(by_hand[-1].values()):.1f} s")
    names = list(released[0]["steps"])
    flow = median(run["seconds"] for run in released)
    command = median(run["seconds_from_command"] for run in released)
    hand_total = median(sum(steps.values()) for steps in by_hand)
    steps_by_hand = {name: round(median(steps[name] for steps in by_hand), 3) for name in STEPS}
    migration = median(hand.migrations[1:])
    paper, path = critical_path(needs_of_a_release(steps_by_hand, ground.latencies(), migration=migration))
    without_init = median(sum(steps.values()) - steps["init"] for steps in by_hand)
    return {
        "n": times,
        "release": {
            "steps": {name: round(median(run["steps"][name] for run in released), 3) for name in names},
            "seconds": round(flow, 3),
            "seconds_from_command": round(command, 3),
            "sum_of_steps": round(median(sum(run["steps"].values()) for run in released), 3),
            "sum_of_steps_to_flow": round(median(sum(r["steps"].values()) / r["seconds"] for r in released), 3),
            "runs": released,
        },
        "by_hand": {
            "steps": steps_by_hand,
            "migration_itself": migration,
            "seconds": round(hand_total, 3),
            "seconds_without_init": round(without_init, 3),
            "runs": by_hand,
        },
        "profile": ground.emulator().profile,
        "critical_path": {"seconds": round(paper, 3), "path": path, "ratio": round(flow / paper, 3)},
        "ratio": round(flow / hand_total, 3),
        "ratio_from_command": round(command / hand_total, 3),
        "ratio_without_init": round(flow / without_init, 3),
    }


def _release(ground: Ground) -> dict[str, Any]:
    tag = ground.push_fresh()
    began = time.time()
    run_id = ground.operator.run("release", tag=tag)
    run = ground.operator.wait(run_id)
    ground.expect(run)
    attempt = ground.operator.history(tag).attempts[-1]
    return {
        "version": tag,
        "seconds": round(ground.first_in(run_id, "Completed") - ground.first_in(run_id, "Running"), 3),
        "seconds_from_command": round(ground.first_in(run_id, "Completed") - began, 3),
        "steps": {step.name: step.seconds or 0.0 for step in attempt.steps},
        "outcomes": {step.name: step.outcome for step in attempt.steps},
        "waterfall": [[bar.step, bar.start, bar.seconds] for bar in waterfall(attempt.steps)],
    }


def release_table(found: dict[str, Any], line: Callable[..., None]) -> None:
    """Print both sides beside each other."""
    release, hand = found["release"], found["by_hand"]
    line(f"release of a fresh version, medians of {found['n']}", "release", "by hand")
    for name in [*release["steps"], *(n for n in STEPS if n not in release["steps"])]:
        line(f"  {name}", release["steps"].get(name), hand["steps"].get(name))
    line("  sum of steps", release["sum_of_steps"], hand["seconds"])
    line("  from Running to Completed", release["seconds"], hand["seconds"])
    line("  from the command to Completed", release["seconds_from_command"])
    line("  ratio, from Running", found["ratio"])
    line("  ratio, from the command", found["ratio_from_command"])
    line("  ratio, from Running, by hand without init", found["ratio_without_init"])
    line("  sum of step times / flow wall time", release["sum_of_steps_to_flow"])
    paper = found["critical_path"]
    line(f"  critical path on paper, profile {found['profile']}", paper["seconds"])
    line("  release / critical path", paper["ratio"])
    line(f"    {' → '.join(paper['path'])}")
    line("waterfall of the last one: starts at, takes", "start", "seconds")
    for name, start, seconds in release["runs"][-1]["waterfall"]:
        line(f"  {name}", start, seconds)
