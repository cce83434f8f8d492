"""A check, its verdict, and what a whole preflight found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.errors import PointsmanError, Refused, redact
from core.markdown import Markdown, table
from core.settings import EnvironmentSettings
from core.words import counted

__all__ = [
    "NOT_YET",
    "Check",
    "Finding",
    "Judgement",
    "Report",
    "Verdict",
    "failed",
    "failed_by",
    "names_of",
    "passed",
    "unknown",
]

_LONGEST = 600
HEAD = ("Check", "Verdict", "Seen", "Fix")


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"
    FAIL = "FAIL"
    NOT_YET = "not yet"  # the environment has nothing yet that could be looked at
    UNKNOWN = "not checked"


@dataclass(frozen=True)
class Check:
    """One assumption. `fix` may name `{stage}`, `{bucket}` and the other names of `names_of`."""

    name: str
    looks_at: str
    fails_when: str
    fix: str
    fast: bool = False
    """Whether each release looks at it before it begins: a moment's work, which starts no task."""

    def fix_for(self, names: Mapping[str, str]) -> str:
        """Return what to do, in an environment's own names."""
        return self.fix.format(**names)


def names_of(settings: EnvironmentSettings) -> dict[str, str]:
    """Return the names that fixes use."""
    return {
        "stage": settings.stage,
        "bucket": settings.state_bucket,
        "region": settings.region,
        "account": settings.aws_account_number,
        "cluster": settings.cluster,
        "repository": settings.source.github_repository,
        "instance": settings.preflight.database_instance or "<instance>",
    }


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on; `fix` replaces the check's own where more is known."""

    verdict: Verdict
    seen: str
    fix: str = ""


NOT_YET = Judgement(Verdict.NOT_YET, "provision first")


def passed(seen: str) -> Judgement:
    """Return that the assumption holds."""
    return Judgement(Verdict.PASS, seen)


def failed(seen: str, fix: str = "") -> Judgement:
    """Return that it does not hold, by what was seen."""
    return Judgement(Verdict.FAIL, seen, fix)


def failed_by(error: PointsmanError) -> Judgement:
    """Return that it does not hold, by what an adapter said; what to do is the check's to say."""
    return failed(f"{error.what}: {error.why}" if error.why else error.what)


def unknown(reason: str) -> Judgement:
    """Return that it was not looked at, and why."""
    return Judgement(Verdict.UNKNOWN, reason)


@dataclass(frozen=True)
class Finding:
    """One check as it ended."""

    check: Check
    verdict: Verdict
    seen: str
    fix: str

    @classmethod
    def of(cls, check: Check, judgement: Judgement, names: Mapping[str, str]) -> Finding:
        """Return a check's finding: only what failed has a fix."""
        fix = (judgement.fix or check.fix_for(names)) if judgement.verdict is Verdict.FAIL else ""
        return cls(check, judgement.verdict, _shortened(judgement.seen), fix)


def _shortened(seen: str) -> str:
    """Return what was seen without secrets; its beginning is kept, which names the thing."""
    shown = redact(seen)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " …"


@dataclass(frozen=True)
class Report:
    """All findings of one preflight, in the order of the catalogue."""

    findings: Sequence[Finding]

    def of(self, verdict: Verdict) -> list[Finding]:
        """Return the findings with a verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    @property
    def failed(self) -> list[Finding]:
        """What does not hold."""
        return self.of(Verdict.FAIL)

    @property
    def message(self) -> str:
        """How many checks failed, and which, in a sentence."""
        rest = [
            f"{len(self.of(verdict))} {word}"
            for verdict, word in (
                (Verdict.PASS, "passed"),
                (Verdict.NOT_YET, "not yet applicable"),
                (Verdict.UNKNOWN, "not checked"),
            )
            if self.of(verdict)
        ]
        names = ", ".join(finding.check.name for finding in self.failed)
        broken = f"{len(self.failed)} of {counted(len(self.findings), 'check')} failed: {names}" if self.failed else ""
        return "; ".join(filter(None, [broken, ", ".join(rest)])) + "."

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return a row for each finding, what failed first."""
        ordered = sorted(self.findings, key=lambda finding: finding.verdict is not Verdict.FAIL)
        return [(finding.check.name, str(finding.verdict), finding.seen, finding.fix) for finding in ordered]

    def markdown(self, stage: str) -> str:
        """Return the report as a page."""
        rows = [
            (name, Markdown(f"**{verdict}**") if verdict == Verdict.FAIL else verdict, seen, fix)
            for name, verdict, seen, fix in self.rows()
        ]
        return f"# Preflight of {stage}\n\n{self.message}\n\n{table(rows, HEAD)}"

    def text(self) -> str:
        """Return the report for a terminal: a line a check, and its fix below what failed."""
        width = max((len(finding.check.name) for finding in self.findings), default=0)
        lines = []
        for name, verdict, seen, fix in self.rows():
            lines.append(f"{verdict:11}  {name:{width}}  {seen}")
            if fix:
                lines.append(f"{'':11}  {'':{width}}  → {fix}")
        return "\n".join([*lines, "", self.message])

    def refuse_failed(self, subject: str) -> None:
        """Raise `Refused` naming each failed check with its fix."""
        if self.failed:
            raise Refused(
                f"{subject} was not begun: {counted(len(self.failed), 'preflight check')} failed",
                why="; ".join(f"{finding.check.name} ({finding.seen})" for finding in self.failed),
                do=" ".join(f"{finding.check.name}: {finding.fix}" for finding in self.failed),
            )


def in_order(checks: Iterable[Check], judged: Mapping[str, Judgement], names: Mapping[str, str]) -> Report:
    """Return the report of those checks that were judged."""
    return Report([Finding.of(check, judged[check.name], names) for check in checks if check.name in judged])
