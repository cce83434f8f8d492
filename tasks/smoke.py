"""HTTP probes of a release: its smoke checks, and answers in a row that name it. Each on a connection of its own."""

from __future__ import annotations

import json
import time

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from core.colour import Colour
from core.errors import Permanent
from core.record import State
from core.release import Release
from core.settings import EnvironmentSettings, SmokeCheck
from core.smoke import CheckResult, Identity, Streak, Verdict, judge_check, judge_identity
from systems.http import Endpoint, ask
from tasks.operation import Operation, run_logger, step_task

__all__ = [
    "Endpoint",
    "addresses_of",
    "confirm_release",
    "endpoint_of",
    "identify",
    "pause_between_probes",
    "probe_release",
    "smoke_test",
]


def endpoint_of(settings: EnvironmentSettings, alb_dns_name: str, colour: Colour | None) -> Endpoint:
    """Return the test listener of a colour, or the production listener for None."""
    traffic = settings.traffic
    scheme = "https" if traffic.https and colour is None else "http"
    production = 443 if traffic.https else settings.ports.production
    port = production if colour is None else settings.ports.test(colour)
    host = (traffic.host if colour is None else None) or alb_dns_name
    given = [traffic.connect_to] if isinstance(traffic.connect_to, str) else traffic.connect_to or []
    return Endpoint(scheme, host, port, tuple(given))


def addresses_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the addresses to ask; those that this machine has no route to are left out, with a word."""
    found = endpoint.addresses()
    if found.left_out:
        run_logger().info("%s is not asked at %s: no route from here", endpoint, ", ".join(found.left_out))
    return found.reachable


@step_task("smoke")
def smoke_test(operation: Operation) -> None:
    """Test the candidate through its own listener; raise `Permanent` naming the check, what was expected, what came."""
    settings, colour = operation.settings, operation.candidate
    endpoint = endpoint_of(settings, operation.infrastructure.alb_dns_name, colour)
    with operation.step("smoke", f"smoke-test {operation.release} at {endpoint}", writes=False) as step:
        results = _run_checks(operation, endpoint)
        create_table_artifact(
            key=f"smoke-{operation.environment}",
            table=[
                {
                    "check": r.check,
                    "verdict": r.verdict.value,
                    "expected": r.expected,
                    "got": r.got,
                    "seconds": f"{r.seconds:.3f}",
                }
                for r in results
            ],
            description=f"Smoke test of {operation.release} in {colour}",
        )
        operation.note(verdicts=tuple(f"{r.check}: {r.verdict}" for r in results))
        failed = [r for r in results if r.verdict is not Verdict.PASS]
        if failed:
            raise Permanent(
                f"{operation.version} failed its smoke test",
                why="; ".join(f"{r.check}: expected {r.expected}, got {r.got}" for r in failed),
                do="Correct the application and release again.",
            )
        step.done(f"{len(results)} checks passed")
    operation.advance(State.VERIFIED)


def _run_checks(operation: Operation, endpoint: Endpoint) -> list[CheckResult]:
    settings = operation.settings
    address = addresses_of(endpoint)[0]
    results: list[CheckResult] = []
    logger = get_run_logger()
    for check in (None, *settings.smoke.checks):
        for attempt in range(settings.smoke.attempts):
            if attempt:
                time.sleep(settings.timing.poll)
            operation.check()
            if check is None:
                result = identify(settings, endpoint, address, operation.release)
            else:
                result = judge_check(check, ask(endpoint, address, check))
            if result.verdict is Verdict.PASS:
                break
        logger.info("%s: %s, expected %s, got %s", result.check, result.verdict, result.expected, result.got)
        results.append(result)
    return results


def identify(
    settings: EnvironmentSettings, endpoint: Endpoint, address: str, release: Release, *, within: float = 5.0
) -> CheckResult:
    """Ask one address once which release it is; return whether it is the one expected."""
    path = settings.traffic.version_path
    answer = ask(endpoint, address, SmokeCheck(path=path, within_seconds=within))
    try:
        answered = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        answered = None
    if not isinstance(answered, dict):
        answered = None
    return judge_identity(path, Identity(release.version, release.revision), answered, answer)


def probe_release(operation: Operation, endpoint: Endpoint, release: Release, *, patience: float) -> int:
    """Return how many answers it took until each address gave enough in a row from `release`, on fresh connections.

    Raises `Permanent` if one address answered wrongly for longer than `patience`. Right answers may be slow.
    """
    total = 0
    for address in addresses_of(endpoint):
        streak = Streak(time.monotonic())
        while streak.right < operation.settings.traffic.answers:
            operation.check()
            result = identify(operation.settings, endpoint, address, release, within=max(5.0, patience / 2))
            streak = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
            total += 1
            if streak.right == 0:
                if streak.wrong_for > patience:
                    raise Permanent(
                        f"{endpoint} does not answer from {release}",
                        why=f"expected {operation.settings.traffic.answers} answers in a row from {result.expected} at "
                        f"{address}, got {result.got}",
                    )
                pause_between_probes(operation)
    return total


def pause_between_probes(operation: Operation) -> None:
    """Wait a moment, since what is probed may just be changing."""
    time.sleep(min(operation.settings.timing.poll, 1.0))


@step_task("confirm")
def confirm_release(operation: Operation) -> None:
    """See that the production listener answers from the release, N times in a row on each address."""
    endpoint = endpoint_of(operation.settings, operation.infrastructure.alb_dns_name, None)
    with operation.step("confirm", f"see {operation.release} answer at {endpoint}", writes=False) as step:
        seen = probe_release(operation, endpoint, operation.release, patience=operation.settings.timing.confirm)
        step.done(f"{operation.settings.traffic.answers} answers in a row from {operation.release}, {seen} asked")
