"""What GitHub says of a commit's checks, and whether a release may follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from core.errors import Refused
from core.source import protocol_of

__all__ = ["CheckState", "SeenCheck", "Verdict", "judge_checks", "of_run", "of_status", "refuse_foreign_api"]


class CheckState(StrEnum):
    """What one check says."""

    GREEN = "green"
    PENDING = "pending"
    RED = "red"


# What branch protection takes for passed: https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/
# collaborating-on-repositories-with-code-quality-features/about-status-checks
_PASSED = frozenset({"success", "neutral", "skipped"})


@dataclass(frozen=True)
class SeenCheck:
    """One check run or commit status by its name, and what it said."""

    name: str
    state: CheckState
    said: str


def of_run(name: str, status: str, conclusion: str | None) -> SeenCheck:
    """Return a check run: https://docs.github.com/en/rest/checks/runs."""
    if status != "completed" or conclusion is None:
        return SeenCheck(name, CheckState.PENDING, status)
    return SeenCheck(name, CheckState.GREEN if conclusion in _PASSED else CheckState.RED, conclusion)


def of_status(context: str, state: str) -> SeenCheck:
    """Return a commit status: https://docs.github.com/en/rest/commits/statuses."""
    known = {"success": CheckState.GREEN, "pending": CheckState.PENDING}
    return SeenCheck(context, known.get(state, CheckState.RED), state)


@dataclass(frozen=True)
class Verdict:
    """Whether a release may follow: the state of the worst check, and in words what each that is not green says."""

    state: CheckState
    words: str = ""


def judge_checks(wanted: Sequence[str], seen: Iterable[SeenCheck]) -> Verdict:
    """Return the verdict on the checks that a release waits for.

    A name that several check runs have, such as those of a branch's push and of a tag's, is green once all of them
    are. One that nobody has begun is waited for.
    """
    listed = list(seen)
    words: dict[CheckState, list[str]] = {CheckState.RED: [], CheckState.PENDING: []}
    for name in wanted:
        mine = [check for check in listed if check.name == name]
        if not mine:
            words[CheckState.PENDING].append(f"{name}: not there")
        for check in mine:
            if check.state is not CheckState.GREEN:
                words[check.state].append(f"{name}: {check.said}")
    for state, told in words.items():
        if told:
            return Verdict(state, ", ".join(told))
    return Verdict(CheckState.GREEN)


def refuse_foreign_api(source: str, api: str) -> None:
    """Raise `Refused` if the source's token would be shown to a host that is not the source's own, or unencrypted.

    GitHub's API is at api.github.com, that of a GitHub Enterprise Server at its own host.
    """
    parts = urlsplit(api)
    own = _hostname(source)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise Refused(
            "The source token would be sent unencrypted", why=f"source.github_api is {api}", do="Use https://."
        )
    if own is None or parts.hostname not in (own, f"api.{own}"):
        raise Refused(
            "The source token would be shown to another host",
            why=f"source.github_api is at {parts.hostname}, and source.url at {own or 'no host'}",
            do="Set source.github_api to the API of the host that source.url names.",
        )


# https://docs.github.com/en/authentication/troubleshooting-ssh/using-ssh-over-the-https-port
_OF_GITHUB = {"ssh.github.com": "github.com", "www.github.com": "github.com"}


def _hostname(url: str) -> str | None:
    host = None
    if "://" in url:
        host = urlsplit(url).hostname
    elif protocol_of(url) == "ssh":
        host = url.partition(":")[0].rpartition("@")[2].lower()
    return _OF_GITHUB.get(host, host) if host else None
