"""What ECR's scan found decides about a release only where the settings ask for it, and then never unread."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.findings import Finding, ImageScan, Severity, refuse_severe_findings
from operation.journal import EndedAttempt
from operation.operation import Operation
from systems.ecr import read_scan
from tasks.approval import describe_candidate
from tasks.findings import check_findings, note_findings
from tasks.summary import describe_attempt
from tests.unit.facts import DIGEST, REPOSITORY, settings_with
from tests.unit.fakes import FakeAws, refusal, unreachable

INDEX, CHILD = ("sha256:" + two * 32 for two in ("1d", "c1"))
LOG4SHELL = {"name": "CVE-2021-44228", "severity": "CRITICAL"}
SWEET32 = {"name": "CVE-2016-2183", "severity": "HIGH"}


def answer(status: str, *findings: dict[str, str], **more: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding["severity"]] = counts.get(finding["severity"], 0) + 1
    found = {"findings": list(findings), "findingSeverityCounts": counts}
    return {"imageScanStatus": {"status": status}, "imageScanFindings": found, **more}


def gated(operation: Operation, monkeypatch: pytest.MonkeyPatch, limit: str, waits: float = 60) -> Operation:
    settings = settings_with(f'[image]\nrefuse_findings = "{limit}"\n')
    timing = settings.timing.model_copy(update={"scan": waits})
    monkeypatch.setattr(operation.block, "settings", settings.model_copy(update={"timing": timing}))
    return operation


def details(operation: Operation) -> dict[str, str]:
    return {step.name: step.detail for step in operation.journal.steps}


# --- the decision


@pytest.mark.parametrize(
    ("scan", "said"),
    [
        (ImageScan(None), "no scan: scanning is off, or it has not begun"),
        (ImageScan("IN_PROGRESS"), "scan not finished"),
        (ImageScan("PENDING"), "scan not finished"),
        (ImageScan("FAILED", "it broke"), "scan failed: it broke"),
        (ImageScan("UNSUPPORTED_IMAGE"), "scan unsupported image"),
        (ImageScan("COMPLETE"), "no findings"),
        (ImageScan("ACTIVE", counts={"LOW": 0}), "no findings"),
        (
            ImageScan("COMPLETE", counts={"LOW": 12, "CRITICAL": 1, "UNDEFINED": 2, "HIGH": 3}),
            "1 critical, 3 high, 12 low, 2 undefined",
        ),
    ],
)
def test_a_scan_is_told_in_a_line_worst_first(scan: ImageScan, said: str) -> None:
    assert str(scan) == said


@pytest.mark.parametrize(
    ("limit", "severity", "refused"),
    [
        ("CRITICAL", "CRITICAL", True),
        ("CRITICAL", "HIGH", False),
        ("HIGH", "CRITICAL", True),
        ("HIGH", "HIGH", True),
        ("HIGH", "MEDIUM", False),
        ("INFORMATIONAL", "INFORMATIONAL", True),
        ("INFORMATIONAL", "UNDEFINED", False),
    ],
)
def test_what_is_as_severe_as_the_limit_is_refused_by_its_name(limit: Severity, severity: str, refused: bool) -> None:
    scan = ImageScan("COMPLETE", "", (Finding("CVE-2026-1", severity),), {severity: 1})
    if refused:
        with pytest.raises(Refused, match=rf"v1\.1\.0 has 1 finding of severity {limit} or above: CVE-2026-1"):
            refuse_severe_findings(scan, limit, "v1.1.0")
    else:
        refuse_severe_findings(scan, limit, "v1.1.0")


@pytest.mark.parametrize("status", [None, "IN_PROGRESS", "FAILED", "SCAN_ELIGIBILITY_EXPIRED", "A_NEW_ONE"])
def test_a_scan_without_a_result_is_refused_too(status: str | None) -> None:
    with pytest.raises(Refused, match="Nobody knows what is wrong with the image"):
        refuse_severe_findings(ImageScan(status), "CRITICAL", "v1.1.0")


def test_of_many_findings_the_first_are_named_and_all_are_counted() -> None:
    named = tuple(Finding(f"CVE-2026-{number}", "CRITICAL") for number in range(12))
    with pytest.raises(Refused, match=r"has 30 findings .*CVE-2026-9 and 20 more \(30 critical\)"):
        refuse_severe_findings(ImageScan("COMPLETE", "", named, {"CRITICAL": 30}), "HIGH", "v1.1.0")


def test_what_is_named_is_refused_though_nothing_counts_it() -> None:
    with pytest.raises(Refused, match="CVE-2026-1"):
        refuse_severe_findings(ImageScan("COMPLETE", "", (Finding("CVE-2026-1", "HIGH"),)), "HIGH", "v1.1.0")


# --- what ECR says


def test_a_scan_is_read_over_all_its_pages(operation: Operation, aws: FakeAws) -> None:
    aws.ecr.scans[DIGEST] = [answer("COMPLETE", LOG4SHELL, nextToken="2"), answer("COMPLETE", SWEET32)]
    scan = read_scan(operation.aws, "team/shop", DIGEST)
    assert scan.findings == (Finding("CVE-2021-44228", "CRITICAL"), Finding("CVE-2016-2183", "HIGH"))
    assert [call.get("nextToken") for name, call in aws.ecr.calls if name == "describe_image_scan_findings"] == [
        None,
        "2",
    ]


def test_findings_of_enhanced_scanning_are_read(operation: Operation, aws: FakeAws) -> None:
    enhanced = [
        {"severity": "HIGH", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-7"}},
        {"severity": "LOW", "title": "A key in a layer"},
    ]
    found = {"enhancedFindings": enhanced, "findingSeverityCounts": {"HIGH": 1, "LOW": 1}}
    aws.ecr.scans[DIGEST] = [{"imageScanStatus": {"status": "ACTIVE"}, "imageScanFindings": found}]
    scan = read_scan(operation.aws, "team/shop", DIGEST)
    assert scan.finished
    assert scan.findings == (Finding("CVE-2026-7", "HIGH"), Finding("A key in a layer", "LOW"))


def test_of_an_index_its_image_is_what_was_scanned(operation: Operation, aws: FakeAws) -> None:
    aws.ecr.hold_index("v1.1.0", INDEX, {"digest": CHILD, "platform": {"os": "linux", "architecture": "amd64"}})
    aws.ecr.scans[INDEX] = [{"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}]
    aws.ecr.scans[CHILD] = [answer("COMPLETE", SWEET32)]
    assert str(read_scan(operation.aws, "team/shop", INDEX)) == "1 high"


# --- the steps


def test_without_the_setting_nothing_is_asked_before_the_slot_is_touched(operation: Operation, aws: FakeAws) -> None:
    check_findings.fn(operation)
    assert aws.ecr.calls == []
    assert details(operation)["scan"] == "[image] refuse_findings is not set"


def test_the_gate_waits_until_the_scan_is_finished(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ecr.scans[DIGEST] = [answer("IN_PROGRESS"), answer("IN_PROGRESS"), answer("COMPLETE", SWEET32)]
    check_findings.fn(gated(operation, monkeypatch, "CRITICAL"))
    assert details(operation)["scan"] == "1 high"


@pytest.mark.parametrize("answers", [[], [answer("IN_PROGRESS")], [answer("FAILED")]])
def test_the_gate_does_not_open_without_a_result(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]
) -> None:
    aws.ecr.scans[DIGEST] = answers
    with pytest.raises(Refused, match=r"refuse_findings asks for its result"):
        check_findings.fn(gated(operation, monkeypatch, "CRITICAL", waits=0.05))


def test_the_gate_refuses_by_name(operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.ecr.scans[DIGEST] = [answer("COMPLETE", LOG4SHELL, SWEET32)]
    with pytest.raises(Refused, match=r"CVE-2021-44228 \(1 critical, 1 high\)"):
        check_findings.fn(gated(operation, monkeypatch, "CRITICAL"))


def test_who_may_not_read_the_scan_is_told_by_the_gate(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ecr.broken["describe_image_scan_findings"] = lambda: refusal("AccessDeniedException")
    with pytest.raises(Permanent, match="AWS does not allow reading the scan"):
        check_findings.fn(gated(operation, monkeypatch, "CRITICAL"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda: refusal("AccessDeniedException"), "not known: AWS does not allow reading the scan"),
        (unreachable, "not known: AWS could not be reached"),
    ],
)
def test_a_scan_that_nobody_can_read_costs_a_line_and_no_release(
    operation: Operation, aws: FakeAws, fault: Any, said: str
) -> None:
    aws.ecr.broken["describe_image_scan_findings"] = fault
    note_findings.fn(operation)
    assert details(operation)["findings"].startswith(said)


def test_summary_and_approval_say_what_was_found(operation: Operation, aws: FakeAws) -> None:
    aws.ecr.scans[DIGEST] = [answer("COMPLETE", LOG4SHELL)]
    note_findings.fn(operation)
    row = "| findings in the image | 1 critical |"
    assert row in describe_candidate(operation).splitlines()
    ended = EndedAttempt("test", "v1.1.0", "c0ffee", operation.journal.attempt, operation.journal.steps)
    assert row in describe_attempt(ended).splitlines()
    assert operation.release.image == f"{REPOSITORY}@{DIGEST}"
