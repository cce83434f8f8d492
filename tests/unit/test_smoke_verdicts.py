"""Verdicts on what a candidate answered: which check, what was expected, what came."""

from __future__ import annotations

from typing import Any

import pytest

from core.settings import SmokeCheck
from core.smoke import Answer, Identity, Verdict, judge_check, judge_identity

READY = SmokeCheck(path="/readyz")
IDENTITY = Identity("v1.1.0", "abc123abc123")


@pytest.mark.parametrize(
    ("check", "answer", "verdict", "expected", "got"),
    [
        (READY, Answer(200, "ok", 0.1), Verdict.PASS, "200", "200"),
        (READY, Answer(503, "no database", 0.1), Verdict.FAIL, "200", "503 no database"),
        (READY, Answer(204, "", 0.1), Verdict.FAIL, "200", "204"),
        (READY, Answer(302, "", 0.1), Verdict.FAIL, "200", "302"),
        (READY, Answer(None, "", 5.0, "ReadTimeout: "), Verdict.FAIL, "200", "ReadTimeout: "),
        (SmokeCheck(path="/x", status=404), Answer(404), Verdict.PASS, "404", "404"),
        (SmokeCheck(path="/x", status=404), Answer(200), Verdict.FAIL, "404", "200"),
        (
            SmokeCheck(path="/x", contains="hello"),
            Answer(200, "say hello"),
            Verdict.PASS,
            "200 with 'hello' in the body",
            "200",
        ),
        (
            SmokeCheck(path="/x", contains="hello"),
            Answer(200, "bye"),
            Verdict.FAIL,
            "200 with 'hello' in the body",
            "200 bye",
        ),
        (
            SmokeCheck(path="/x", contains="hello"),
            Answer(500, "hello"),
            Verdict.FAIL,
            "200 with 'hello' in the body",
            "500 hello",
        ),
        (
            SmokeCheck(path="/x", within_seconds=1),
            Answer(200, "", 1.5),
            Verdict.FAIL,
            "200 within 1 s",
            "200 after 1.5 s",
        ),
        (SmokeCheck(path="/x", within_seconds=1), Answer(200, "", 1.0), Verdict.PASS, "200", "200"),
    ],
)
def test_a_check_says_what_was_expected_and_what_came(
    check: SmokeCheck, answer: Answer, verdict: Verdict, expected: str, got: str
) -> None:
    result = judge_check(check, answer)
    assert (result.verdict, result.expected, result.got) == (verdict, expected, got)


def test_a_check_is_named_by_its_method_and_path() -> None:
    assert judge_check(SmokeCheck(path="/orders", method="POST"), Answer(200)).check == "POST /orders"


def test_a_long_body_is_cut() -> None:
    assert len(judge_check(READY, Answer(500, "x" * 10_000)).got) < 300


@pytest.mark.parametrize(
    ("answered", "answer", "verdict", "got"),
    [
        ({"version": "v1.1.0", "revision": "abc123abc123"}, Answer(200), Verdict.PASS, "v1.1.0 (abc123abc123)"),
        (
            {"version": "v1.1.0", "revision": "abc123abc123", "colour": "blue"},
            Answer(200),
            Verdict.PASS,
            "v1.1.0 (abc123abc123)",
        ),
        ({"version": "v1.0.0", "revision": "abc123abc123"}, Answer(200), Verdict.FAIL, "v1.0.0 (abc123abc123)"),
        ({"version": "v1.1.0", "revision": "000000000000"}, Answer(200), Verdict.FAIL, "v1.1.0 (000000000000)"),
        ({"version": "v1.1.0"}, Answer(200), Verdict.FAIL, "v1.1.0 (None)"),
        ({}, Answer(200), Verdict.FAIL, "None (None)"),
        (None, Answer(404, "not found"), Verdict.FAIL, "404 not found"),
        (None, Answer(None, error="ConnectError: refused"), Verdict.FAIL, "ConnectError: refused"),
    ],
)
def test_an_answer_comes_from_a_release_if_version_and_revision_are_its(
    answered: dict[str, Any] | None, answer: Answer, verdict: Verdict, got: str
) -> None:
    result = judge_identity("/version", IDENTITY, answered, answer)
    assert (result.verdict, result.expected, result.got) == (verdict, "v1.1.0 (abc123abc123)", got)
