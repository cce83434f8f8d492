"""Probes as steps of a run: the smoke test of the candidate, and the release seen on the production listener."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact

from core.errors import Permanent
from core.history import State
from core.smoke import CheckResult, Verdict
from operation.operation import Operation
from operation.step import Done, done, step

__all__ = ["confirm_release", "smoke_test"]


@step("smoke", "smoke-test {operation.release} in the {operation.candidate}", writes=False)
def smoke_test(operation: Operation) -> Done[None]:
    """Test the candidate through its own listener; raise `Permanent` naming the check, what was expected, what came."""
    release, colour = operation.release, operation.candidate.colour
    results, proof = operation.prober.run_checks(operation.deployed)
    create_table_artifact(
        key=f"smoke-{operation.environment}",
        table=[_row(result) for result in results],
        description=f"Smoke test of {release} in {colour}",
    )
    operation.journal.change(lambda a: a.judged(tuple(f"{r.check}: {r.verdict}" for r in results)))
    failed = [r for r in results if r.verdict is not Verdict.PASS]
    if failed:
        raise Permanent(
            f"{release.version} failed its smoke test",
            why="; ".join(f"{r.check}: expected {r.expected}, got {r.got}" for r in failed),
            do="Fix the application and release again.",
        )
    operation.journal.advance(State.VERIFIED)
    return done(f"{len(results)} checks passed at {operation.prober.endpoint(colour)}; {proof}")


def _row(result: CheckResult) -> dict[str, str]:
    return {
        "check": result.check,
        "verdict": result.verdict.value,
        "expected": result.expected,
        "got": result.got,
        "seconds": f"{result.seconds:.3f}",
    }


@step("confirm", "check that {operation.release} answers at the production listener", writes=False)
def confirm_release(operation: Operation) -> Done[None]:
    """See that the production listener answers from the release, N times in a row on each address."""
    seen, endpoint = operation.prober.see_live(operation.deployed), operation.prober.endpoint()
    answers = f"{operation.settings.traffic.answers} answers in a row from {operation.release} at {endpoint}"
    return done(f"{answers} ({seen.asked} requests); {seen.proof}")
