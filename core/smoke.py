"""Verdicts on what a candidate answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from core.errors import cut
from core.health_check import HealthCheck, matches
from core.serving import Deployed, Serving, judge_serving
from core.settings import SmokeCheck

__all__ = ["Answer", "CheckResult", "Identity", "Streak", "Verdict", "judge_answered", "judge_check", "judge_identity"]


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "PASS"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Answer:
    """What came back: a status and a body, or an error in words."""

    status: int | None
    body: str = ""
    seconds: float = 0.0
    error: str = ""
    location: str = ""


@dataclass(frozen=True)
class Identity:
    """Which release an answer must come from."""

    version: str
    revision: str


@dataclass(frozen=True)
class CheckResult:
    """One check's verdict with what was expected and what came."""

    check: str
    verdict: Verdict
    expected: str
    got: str
    seconds: float


def judge_check(check: SmokeCheck, answer: Answer) -> CheckResult:
    """Return the verdict on one smoke check."""
    expected, got = _expected(check), _got(answer)
    passed = not answer.error and answer.status == check.status
    passed = passed and (check.contains is None or check.contains in answer.body)
    passed = passed and (check.location is None or _points_at(check.location, answer.location))
    if passed and answer.seconds > check.within_seconds:
        passed, expected = False, f"{expected} within {check.within_seconds:g} s"
        got = f"{answer.status} after {answer.seconds:.1f} s"
    if passed:
        # Bodies may hold people's data, and a good one tells nothing more.
        got = f"{answer.status}{f' to {check.location}' if check.location else ''}"
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return CheckResult(f"{check.method} {check.path}", verdict, expected, got, answer.seconds)


def _expected(check: SmokeCheck) -> str:
    to = f" to {check.location}" if check.location else ""
    holding = f" with {check.contains!r} in the body" if check.contains else ""
    return f"{check.status}{to}{holding}"


def _got(answer: Answer) -> str:
    to = f"to {cut(answer.location, 200)}" if answer.location else ""
    return answer.error or " ".join(part for part in (str(answer.status), to, cut(answer.body, 200)) if part).strip()


def _points_at(wanted: str, location: str) -> bool:
    """Whether a Location header names the address, or for a wanted path that path on whatever host."""
    if not wanted.startswith("/"):
        return location == wanted
    try:
        parts = urlsplit(location)
    except ValueError:
        return False
    return urlunsplit(("", "", parts.path, parts.query, parts.fragment)) == wanted


def judge_identity(path: str, identity: Identity, answered: dict[str, object] | None, answer: Answer) -> CheckResult:
    """Return whether the answer of the version path comes from the release expected."""
    expected = f"{identity.version} ({identity.revision})"
    if answered is None:
        return CheckResult(f"GET {path}", Verdict.FAIL, expected, _got(answer), answer.seconds)
    came = Identity(str(answered.get("version")), str(answered.get("revision")))
    verdict = Verdict.PASS if came == identity else Verdict.FAIL
    return CheckResult(f"GET {path}", verdict, expected, f"{came.version} ({came.revision})", answer.seconds)


def judge_answered(check: HealthCheck, answer: Answer, seen: Serving | None, deployed: Deployed) -> CheckResult:
    """Return whether AWS says that a release answers, and an address gave an answer that is the application's.

    `seen` is what AWS said, None where it did not answer.
    """
    reason = "AWS did not answer" if seen is None else judge_serving(seen, deployed)
    expected = f"all requests to healthy tasks of {deployed.definition_name}, and {check.matcher} from {check.path}"
    if reason is None and (answer.status is None or not matches(answer.status, check.matcher)):
        reason = _got(answer)
    if reason is not None or seen is None:
        return CheckResult("targets", Verdict.FAIL, expected, str(reason), answer.seconds)
    got = f"{len(seen.healthy)} of them, and {answer.status}"
    return CheckResult("targets", Verdict.PASS, expected, got, answer.seconds)


@dataclass(frozen=True)
class Streak:
    """What one address answered so far: how many right answers in a row, and how long it answered wrongly.

    Only a wrong answer costs patience: the time since the last right one. A right answer never does, however slow.
    """

    at: float
    right: int = 0
    right_since: float = 0.0
    wrong_for: float = 0.0

    def after(self, *, right: bool, now: float) -> Streak:
        """Return the streak after one more answer."""
        if right:
            return Streak(now, self.right + 1, self.right_since if self.right else now, self.wrong_for)
        return Streak(now, 0, 0.0, self.wrong_for + now - self.at)

    def lasted(self, now: float) -> float:
        """Seconds since the first of the right answers in a row; none if the last answer was wrong."""
        return now - self.right_since if self.right else 0.0
