"""What an error says, and what it never does: secrets in foreign text."""

from __future__ import annotations

import pickle
import time

import pytest

from core.errors import Permanent, PointsmanError, Refused, Transient, UnknownOutcome, cut, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://app:hunter2@db.example.com:5432/app", "postgresql://app:***@db.example.com:5432/app"),
        ("https://x-access-token:abc@github.com/o/r.git", "https://x-access-token:***@github.com/o/r.git"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgres://a:p@ss@db/x and mysql://b:q@db/y", "postgres://a:***@db/x and mysql://b:***@db/y"),
        ("postgres://a:p/w@db/x", "postgres://a:***@db/x"),
        ("postgres://app:hun ter2@db/x failed", "postgres://app:***@db/x failed"),
        ("'postgres://app:hunter2@db/x', 'second'", "'postgres://app:***@db/x', 'second'"),
        ("  input: 'postgresql://app:hun ter2@db:99999/x',", "  input: '***',"),
        ("remote: ghp_0123456789abcdef0123456789abcdef0123 is expired", "remote: ghp_*** is expired"),
        ("github_pat_11AAAAAA_0123456789abcdefghijklmnop", "github_pat_***"),
        ("https://ghs_0123456789abcdef@github.com/o/r", "https://ghs_***@github.com/o/r"),
        ("glpat-0123456789abcdefghij", "glpat-***"),
        ("stripe sk_live_0123456789abcdef", "stripe sk_live_***"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def_1", "jwt ***"),
        ("Authorization: Basic YTpi", "Authorization: Basic ***"),
        ("{'authorization': 'Bearer abcdefgh'}", "{'authorization': 'Bearer ***'}"),
        ("with bearer abcdefgh.ijk", "with bearer ***"),
        ("host=db password=hunter2 dbname=app", "host=db password=*** dbname=app"),
        ("seed --admin-password hunter2 --verbose", "seed --admin-password *** --verbose"),
        ("seed --token=hunter2 --secret --verbose", "seed --token=*** --secret --verbose"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ('{"password": "hunter2", "user": "app"}', '{"password": ***, "user": "app"}'),
        ("{ password: 'hunter2', port: 5432 }", "{ password: ***, port: 5432 }"),
        ("https://example.com/?api_key=abc&page=2", "https://example.com/?api_key=***&page=2"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUt/EXAMPLE", "AWS_SECRET_ACCESS_KEY=***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "***\nend"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "***"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown, "hidden once, it stays as it is"


@pytest.mark.parametrize(
    "text",
    [
        "http://shop.example.com:8081/version answered 503",
        "http://127.0.0.1:4200 is not reachable; ask admin@example.com",
        "see https://docs.example.com: ask admin@example.com",
        "ssh://git@github.com/o/r.git",
        "git@github.com:o/r.git",
        "repository@sha256:" + "ab" * 32,
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop@sha256:" + "ab" * 32,
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/shop-AbCdEf",
        'FATAL: password authentication failed for user "app"',
        "SyntaxError: Unexpected token: }",
        "service.secrets.KEY.secret: Field required",
        "AKIAIOSFODNN7EXAMPLE is not authorized",
        "use POINTSMAN_SOURCE_TOKEN",
        "webhook and environment need the same secret.",
    ],
)
def test_what_is_no_secret_is_told(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("kind", [Refused, Permanent, Transient, UnknownOutcome])
def test_no_error_of_ours_says_a_secret(kind: type[PointsmanError]) -> None:
    error = kind("git clone https://a:hunter2@host failed", why="input: 'postgres://app:hun ter2@db'", do="Look.")
    assert str(error) == "git clone https://a:***@host failed: input: '***'. Look."
    error.step = "plan"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.step) == (str(error), "plan")


@pytest.mark.parametrize("at", range(1_940, 2_040, 3))
def test_a_secret_is_hidden_wherever_the_text_is_cut(at: int) -> None:
    text = "x" * 500 + " postgres://app:hunter2@db/x " + "y" * at
    assert "unter2" not in cut(text)
    assert "hunter" not in cut("z" * 20_000 + text)


@pytest.mark.parametrize(
    ("text", "limit", "shown"), [("abc", 3, "abc"), ("abcd", 3, "… bcd"), ("x" * 9_000 + "abc", 3, "… abc")]
)
def test_foreign_text_is_cut_and_its_end_is_kept(text: str, limit: int, shown: str) -> None:
    assert cut(text, limit) == shown


@pytest.mark.parametrize(
    "part",
    [
        *("--", "--key ", "://a:", "://a: b", "://", "password=", "password='", 'token"', "token ", "ghp_"),
        *("eyJaaaaaaaa-", "eyJaaaaaaaa.", "input: '", "authorization: ", "bearer ", "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_hiding_takes_no_time_whatever_the_text(part: str) -> None:
    text = part * (200_000 // len(part))
    began = time.monotonic()
    redact(text)
    cut(text)
    assert time.monotonic() - began < 10, "a text that takes long more than doubles with its length"
