"""Rollbacks, warm and cold: when the old version has all traffic, as seen from outside."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from bench.ground import Ground, spread
from core.colour import Colour
from core.errors import Permanent

__all__ = ["measure_rollback", "rollback_table"]

KINDS = ("warm", "cold")

_POLL_SECONDS = 0.05


class Watch:
    """Asks weights and `/version` again and again; knows since when both have said that one version has everything."""

    def __init__(self, ground: Ground, version: str, colour: Colour) -> None:
        self._ground, self._version, self._colour = ground, version, colour
        self._infrastructure = ground.infrastructure
        self._elbv2 = ground.operator.client("elbv2")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self.since: float | None = None
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)

    def _look_on(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            if not self._arrived():
                self.since = None
            elif self.since is None:
                self.since = time.time()

    def _arrived(self) -> bool:
        try:
            return self._all_on_target() and self._answering() == self._version
        except (OSError, HTTPException, ValueError, ClientError, BotoCoreError):
            self.failed += 1
            return False

    def _all_on_target(self) -> bool:
        arn = self._infrastructure.production_listener_arn
        listener = self._elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0]
        groups = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        weights = {group["TargetGroupArn"]: group["Weight"] for group in groups}
        arns = self._infrastructure.target_group_arns
        return bool(weights[arns[self._colour]] == 100 and weights[arns[self._colour.other]] == 0)

    def _answering(self) -> str:
        # A bare connection, fresh for each look, costs next to nothing: looking must not slow the run.
        connection = HTTPConnection("127.0.0.1", self._ground.operator.settings.ports.production, timeout=5)
        try:
            connection.request("GET", "/version")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise HTTPException(f"{answer.status} {body[:100]!r}")
        return str(json.loads(body)["version"])


def measure_rollback(ground: Ground, times: int = 10) -> dict[str, Any]:
    """Go to and fro between two versions, warm, then cold; return the seconds until all traffic had moved."""
    ground.say("a fresh version first, so that there are two to go between")
    ground.release_fresh()
    return {kind: _go_between(ground, kind, times) for kind in KINDS}


def _go_between(ground: Ground, kind: str, times: int) -> dict[str, Any]:
    runs = []
    for number in range(1, times + 1):
        if kind == "cold":
            ground.expect(ground.operator.wait(ground.operator.run("retire", at_once=True)))
        runs.append(_roll_back(ground, kind))
        ground.say(f"{kind} {number}: {runs[-1]['from_running']:.2f} s from Running")
    return {
        "from_running": spread([run["from_running"] for run in runs]),
        "from_command": spread([run["from_command"] for run in runs]),
        "to_completed": spread([run["to_completed"] for run in runs]),
        "failed_requests": sum(run["failed_requests"] for run in runs),
    }


def _roll_back(ground: Ground, kind: str) -> dict[str, Any]:
    target = ground.operator.record().healthy[-1]
    version = target.release.version
    with Watch(ground, version, ground.live.colour.other) as watch:
        began = time.time()
        run_id = ground.operator.run("rollback", to_version=version)
        run = ground.operator.wait(run_id)
    ground.expect(run)
    if f", {kind})" not in run.message:
        raise Permanent(f"The rollback to {version} was not {kind}", why=run.message)
    if watch.since is None:
        raise Permanent(f"All traffic on {version} was never seen", why=run.message)
    return {
        "from_running": watch.since - ground.first_in(run_id, "Running"),
        "from_command": watch.since - began,
        "to_completed": ground.first_in(run_id, "Completed") - began,
        "failed_requests": watch.failed,
    }


def rollback_table(found: dict[str, Any], line: Callable[..., None]) -> None:
    """Print medians and 95th percentiles."""
    for kind in KINDS:
        of_kind = found[kind]
        line(f"{kind} rollback to 100 %, n={of_kind['from_running']['n']}", "median", "p95")
        for name, title in (
            ("from_running", "from Running"),
            ("from_command", "from the command"),
            ("to_completed", "from the command to Completed"),
        ):
            line(f"  {title}", of_kind[name]["median"], of_kind[name]["p95"])
        line("  requests failed", of_kind["failed_requests"])
