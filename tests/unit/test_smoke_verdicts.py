"""Verdicts on what a candidate answered: which check, what was expected, what came."""

from __future__ import annotations

from typing import Any

import pytest

from core.settings import Smoke, SmokeCheck
from core.smoke import Answer, Identity, Streak, Verdict, judge_check, judge_identity

READY = SmokeCheck(path="/readyz")
TO_LOGIN = SmokeCheck(path="/", status=302, location="/login?next=/")
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
        (SmokeCheck(path="/", status=301), Answer(301, location="https://x/y"), Verdict.PASS, "301", "301"),
        (TO_LOGIN, Answer(302, location="/login?next=/"), Verdict.PASS, "302 to /login?next=/", "302 to /login?next=/"),
        (
            TO_LOGIN,
            Answer(302, location="https://shop.example.com/login?next=/"),
            Verdict.PASS,
            "302 to /login?next=/",
            "302 to /login?next=/",
        ),
        (TO_LOGIN, Answer(302, location="/login"), Verdict.FAIL, "302 to /login?next=/", "302 to /login"),
        (TO_LOGIN, Answer(302, "moved"), Verdict.FAIL, "302 to /login?next=/", "302 moved"),
        (TO_LOGIN, Answer(200, "hello"), Verdict.FAIL, "302 to /login?next=/", "200 hello"),
        (
            SmokeCheck(path="/", status=301, location="https://shop.example.com/"),
            Answer(301, location="http://shop.example.com/"),
            Verdict.FAIL,
            "301 to https://shop.example.com/",
            "301 to http://shop.example.com/",
        ),
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


@pytest.mark.parametrize("answered", [None, {"version": "v1.1.0", "revision": "abc123abc123"}])
def test_an_answer_is_told_with_the_request_and_the_time_it_took(answered: dict[str, Any] | None) -> None:
    result = judge_identity("/version", IDENTITY, answered, Answer(200, "", 0.25))
    assert (result.check, result.seconds) == ("GET /version", 0.25)
    assert judge_check(READY, Answer(200, "", 0.25)).seconds == 0.25


@pytest.mark.parametrize(("length", "cut"), [(200, False), (201, True)])
def test_a_body_is_cut_at_two_hundred_characters(length: int, cut: bool) -> None:
    answer = Answer(500, "x" * length)
    for result in (judge_check(READY, answer), judge_identity("/version", IDENTITY, None, answer)):
        assert ("…" in result.got) is cut
        assert result.got.count("x") == 200


@pytest.mark.parametrize(
    ("rule", "answers", "lasted"),
    [
        ("no answer yet", [], 0.0),
        ("since the first right one", [(True, 3.0), (True, 5.0)], 7.0),
        ("not since before a wrong one", [(True, 1.0), (False, 2.0), (True, 6.0)], 4.0),
        ("none after a wrong one", [(True, 1.0), (False, 2.0)], 0.0),
    ],
)
def test_a_row_of_right_answers_has_lasted_since_its_first(
    rule: str, answers: list[tuple[bool, float]], lasted: float
) -> None:
    streak = Streak(0.0)
    for right, at in answers:
        streak = streak.after(right=right, now=at)
    assert streak.lasted(10.0) == lasted, rule


def test_a_check_is_sent_with_the_host_and_headers_of_all_but_those_of_its_own() -> None:
    smoke = Smoke(host="shop.example.com", headers={"X-Tenant": "acme", "Accept": "*/*"})
    check = SmokeCheck(path="/", headers={"x-tenant": "other"})
    assert smoke.as_sent(check).headers == {"Accept": "*/*", "x-tenant": "other"}
    assert smoke.as_sent(check).host == "shop.example.com"
    assert smoke.as_sent(SmokeCheck(path="/", host="api.example.com")).host == "api.example.com"
