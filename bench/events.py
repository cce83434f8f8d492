"""A webhook's delivery, a killed process, and the sandbox at rest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import docker

from bench.ground import Ground, spread, wait_for
from core.errors import Permanent
from sandbox.docker_engine import containers
from sandbox.observer import Observer
from sandbox.process import identify, memory

__all__ = ["kill_table", "measure_kill", "measure_memory", "measure_webhook", "memory_table", "webhook_table"]

_NO_COMMIT = "0f" * 20
_REST_SECONDS = 5.0


def measure_webhook(ground: Ground, times: int = 5) -> dict[str, Any]:
    """Deliver tags that do not exist: each run starts as any other, and ends at its checkout having changed nothing."""
    answered, running = [], []
    for number in range(1, times + 1):
        began = time.time()
        run_id = ground.operator.deliver(f"v0.0.{int(began)}", _NO_COMMIT)
        answered.append(time.time() - began)
        ground.expect(ground.operator.wait(run_id), "FAILED")
        running.append(ground.first_in(run_id, "Running") - began)
        ground.say(f"{number}: Running after {running[-1]:.2f} s")
    return {"to_answer": spread(answered), "to_running": spread(running)}


def webhook_table(found: dict[str, Any], line: Callable[..., None]) -> None:
    """Print medians and 95th percentiles."""
    line(f"webhook delivery, n={found['to_running']['n']}", "median", "p95")
    line("  to its answer", found["to_answer"]["median"], found["to_answer"]["p95"])
    line("  to the run Running", found["to_running"]["median"], found["to_running"]["p95"])


def measure_kill(ground: Ground, times: int = 3) -> dict[str, Any]:
    """Kill releases at `apply` with SIGKILL; return the seconds until the environment is consistent again."""
    seconds, seen_crashed = [], []
    for number in range(1, times + 1):
        consistent, crashed = _kill_at_apply(ground)
        seconds.append(consistent)
        seen_crashed.append(crashed)
        ground.say(f"{number}: consistent after {consistent:.2f} s")
    return {"to_consistent": spread(seconds), "to_crashed": spread(seen_crashed)}


def _kill_at_apply(ground: Ground) -> tuple[float, float]:
    operator, observer = ground.operator, Observer(ground.operator)
    before, live = observer.look(), ground.live
    tag = ground.push_fresh()
    run_id = operator.run("release", tag=tag)
    wait_for(lambda: _open_step(ground, tag) == "apply", 120, f"{tag} never came to apply", poll=0.02)
    lease = operator.record().lease
    if lease is None or lease.version != tag:
        raise Permanent(f"{tag} does not hold the environment", why="it was to be killed at apply")
    began = time.time()
    os.kill(lease.owner.pid, signal.SIGKILL)
    home = {live.colour.value: 100, live.colour.other.value: 0}

    def consistent() -> bool:
        return operator.record().lease is None and dict(operator.weights()) == home

    wait_for(consistent, 60, f"{tag} was killed and not settled")
    seconds = time.time() - began
    faults = observer.faults(before, live=live.release.version)
    if faults:
        raise Permanent(f"The environment is not as it was before {tag} was killed", why="; ".join(faults))
    ground.expect(operator.wait(run_id, timeout=60), "CRASHED")
    return seconds, ground.first_in(run_id, "Crashed") - began


def _open_step(ground: Ground, tag: str) -> str | None:
    try:
        attempts = ground.operator.history(tag).attempts
    except ground.operator.client("s3").exceptions.NoSuchKey:
        return None
    steps = attempts[-1].steps if attempts else ()
    return steps[-1].name if steps and steps[-1].outcome is None else None


def kill_table(found: dict[str, Any], line: Callable[..., None]) -> None:
    """Print medians and the slowest."""
    line(f"kill -9 at apply, n={found['to_consistent']['n']}", "median", "p95")
    line("  to hold free and weights home", found["to_consistent"]["median"], found["to_consistent"]["p95"])
    line("  to the run Crashed", found["to_crashed"]["median"], found["to_crashed"]["p95"])


def measure_memory(ground: Ground) -> dict[str, Any]:
    """Return the MiB of each part while nothing is asked of it, and of the application's containers beside them."""
    wait_for(lambda: ground.operator.record().lease is None, 60, "the sandbox is not at rest")
    time.sleep(_REST_SECONDS)
    parts = {status.part: round(status.memory or 0.0, 1) for status in ground.sandbox.status()}
    return {
        "parts": parts,
        "sum_of_parts": round(sum(parts.values()), 1),
        "application_containers": round(_containers_memory(ground), 1),
    }


def _containers_memory(ground: Ground) -> float:
    total = 0.0
    client = docker.from_env()
    try:
        for name in containers(ground.sandbox.settings):
            pid = client.containers.get(name).attrs["State"]["Pid"]
            process = identify(pid) if pid else None
            total += memory(process) if process else 0.0
    finally:
        client.close()
    return total


def memory_table(found: dict[str, Any], line: Callable[..., None]) -> None:
    """Print MiB by part."""
    line("memory at rest", "MiB")
    for part, mib in found["parts"].items():
        line(f"  {part}", mib)
    line("  sum of the parts", found["sum_of_parts"])
    line("  the application's containers", found["application_containers"])
