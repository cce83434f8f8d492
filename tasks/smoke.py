"""HTTP probes of a release: its smoke checks, and answers in a row that name it. Each on a connection of its own."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

import httpx
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from core.colour import Colour
from core.errors import Permanent
from core.record import State
from core.release import Release
from core.settings import EnvironmentSettings, SmokeCheck
from core.smoke import Answer, CheckResult, Identity, Verdict, judge_check, judge_identity
from tasks.operation import Operation, step_task

__all__ = ["Endpoint", "confirm_release", "endpoint_of", "probe_release", "smoke_test"]


@dataclass(frozen=True)
class Endpoint:
    """A listener as a client reaches it: the name it asks for and, where that does not resolve, an address."""

    scheme: str
    host: str
    port: int
    connect_to: str | None = None

    def addresses(self) -> tuple[str, ...]:
        """Return every address that the name resolves to."""
        if self.connect_to:
            return (self.connect_to,)
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise Permanent(
                f"The name {self.host} does not resolve",
                why=str(error),
                do="Set traffic.host or traffic.connect_to.",
            ) from error
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def endpoint_of(settings: EnvironmentSettings, alb_dns_name: str, colour: Colour | None) -> Endpoint:
    """Return the test listener of a colour, or the production listener for None."""
    traffic = settings.traffic
    scheme = "https" if traffic.https and colour is None else "http"
    production = 443 if traffic.https else settings.ports.production
    port = production if colour is None else settings.ports.test(colour)
    host = (traffic.host if colour is None else None) or alb_dns_name
    return Endpoint(scheme, host, port, traffic.connect_to)


def ask(endpoint: Endpoint, address: str, check: SmokeCheck) -> Answer:
    """Send one request on a fresh connection to one address, as curl does with --connect-to."""
    began = time.monotonic()
    host = f"[{address}]" if ":" in address else address
    try:
        with httpx.Client(timeout=check.within_seconds, trust_env=False) as client:
            answer = client.request(
                check.method,
                f"{endpoint.scheme}://{host}:{endpoint.port}{check.path}",
                content=check.body,
                headers={
                    "Host": f"{endpoint.host}:{endpoint.port}",
                    "Connection": "close",
                    **({"Content-Type": "application/json"} if check.body else {}),
                },
                extensions={"sni_hostname": endpoint.host},
            )
        return Answer(answer.status_code, answer.text, time.monotonic() - began)
    except httpx.HTTPError as error:
        return Answer(None, "", time.monotonic() - began, f"{type(error).__name__}: {error}")


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
    address = endpoint.addresses()[0]
    results: list[CheckResult] = []
    logger = get_run_logger()
    for check in (None, *settings.smoke.checks):
        for attempt in range(settings.smoke.attempts):
            if attempt:
                time.sleep(settings.timing.poll)
            operation.check()
            if check is None:
                result = _identify(settings, endpoint, address, operation.release)
            else:
                result = judge_check(check, ask(endpoint, address, check))
            if result.verdict is Verdict.PASS:
                break
        logger.info("%s: %s, expected %s, got %s", result.check, result.verdict, result.expected, result.got)
        results.append(result)
    return results


def _identify(settings: EnvironmentSettings, endpoint: Endpoint, address: str, release: Release) -> CheckResult:
    path = settings.traffic.version_path
    answer = ask(endpoint, address, SmokeCheck(path=path))
    try:
        answered = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        answered = None
    if not isinstance(answered, dict):
        answered = None
    return judge_identity(path, Identity(release.version, release.revision), answered, answer)


def probe_release(operation: Operation, endpoint: Endpoint, release: Release, *, deadline: float) -> int:
    """Return how many answers in a row came from `release`, on each address of the endpoint, on fresh connections.

    Raises `Permanent` if not enough came in a row within `deadline` seconds.
    """
    wanted = operation.settings.traffic.answers
    total = 0
    end = time.monotonic() + deadline
    for address in endpoint.addresses():
        in_a_row = 0
        while in_a_row < wanted:
            operation.check()
            result = _identify(operation.settings, endpoint, address, release)
            in_a_row = in_a_row + 1 if result.verdict is Verdict.PASS else 0
            if in_a_row < wanted and time.monotonic() > end:
                raise Permanent(
                    f"{endpoint} does not answer from {release}",
                    why=f"expected {wanted} answers in a row from {result.expected}, got {result.got}",
                )
            total += 1
    return total


@step_task("confirm")
def confirm_release(operation: Operation) -> None:
    """See that the production listener answers from the release, N times in a row on each address."""
    endpoint = endpoint_of(operation.settings, operation.infrastructure.alb_dns_name, None)
    with operation.step("confirm", f"see {operation.release} answer at {endpoint}", writes=False) as step:
        seen = probe_release(operation, endpoint, operation.release, deadline=30.0)
        step.done(f"{operation.settings.traffic.answers} answers in a row from {operation.release}, {seen} asked")
