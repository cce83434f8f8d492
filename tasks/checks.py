"""The checks of a release's commit, as GitHub has them: waited for, and refused where one is red."""

from __future__ import annotations

from core.errors import Refused, Transient
from core.github_checks import CheckState, Verdict, judge_checks, refuse_foreign_api
from operation.operation import Operation
from operation.step import Done, done, step
from systems.github import GitHub
from systems.log import run_logger
from systems.polling import polls
from tasks.checkout import Checkout

__all__ = ["await_checks"]


@step("checks", "wait for the checks of {source.version} at GitHub", writes=False)
def await_checks(operation: Operation, source: Checkout) -> Done[None]:
    """Wait until the checks that the environment asks for are green on the release's commit.

    Raises `Refused` for a red one, or where they are not green within `timing.checks`, an outage of GitHub included.
    """
    wanted = operation.settings.source.checks
    github, timing = _github(operation), operation.settings.timing
    verdict, outage, told = Verdict(CheckState.PENDING, "not looked at yet"), "", ""
    for _ in polls(every=timing.checks_poll, within=timing.checks, check=operation.lease.check):
        try:
            verdict, outage = judge_checks(wanted, github.checks_of(source.commit)), ""
        except Transient as error:
            outage = str(error)
        if not outage and verdict.state is CheckState.GREEN:
            return done(f"{', '.join(wanted)}: green on {source.commit[:12]}")
        if not outage and verdict.state is CheckState.RED:
            raise Refused(
                f"The commit of {source.version} failed its checks",
                why=f"{verdict.words} (commit {source.commit[:12]})",
                do="Fix it and tag the new commit; if the check was wrong, run it again at GitHub, then press Retry.",
            )
        told = _say(outage or f"Waiting for checks of {source.commit[:12]}: {verdict.words}", told)
    raise Refused(
        f"The checks of {source.version} were not green within {timing.checks:g} s",
        why=outage or verdict.words,
        do="Press Retry once they are; see https://www.githubstatus.com where GitHub does not answer. A check that is "
        "not there may have another name: `source.checks` wants the name that the commit shows at GitHub.",
    )


def _say(words: str, told: str) -> str:
    if words != told:
        run_logger().info("%s", words)
    return words


def _github(operation: Operation) -> GitHub:
    source, block = operation.settings.source, operation.block.source_credentials
    token = str(block.get()) if block else ""
    if not token:
        raise Refused(
            f"{operation.environment} waits for checks at GitHub and has no token to read them",
            why=f"source.checks is {', '.join(source.checks)}",
            do=f"Set POINTSMAN_SOURCE_TOKEN and run `python -m blocks register {operation.environment}`.",
        )
    refuse_foreign_api(source.url, source.github_api)
    return GitHub(source.github_api, source.github_repository, token)
