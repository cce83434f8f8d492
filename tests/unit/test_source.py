"""Where git may go for a source, and whom its token belongs to."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.source import (
    allowed_protocols,
    host_of,
    protocol_of,
    refuse_other_commit,
    refuse_token_in_the_clear,
    user_info_in,
)
from core.version import Version


@pytest.mark.parametrize(
    ("url", "protocol", "host"),
    [
        ("https://github.com/o/r.git", "https", "https://github.com/"),
        ("HTTPS://github.com:8443/o/r", "https", "https://github.com:8443/"),
        ("https://user:password@github.com/o/r", "https", "https://github.com/"),
        ("http://git.example.com/r", "http", "http://git.example.com/"),
        ("ssh://git@github.com/o/r", "ssh", None),
        ("git@github.com:o/r.git", "ssh", None),
        ("github.com:o/r.git", "ssh", None),
        ("git://example.com/r", "git", None),
        ("file:///srv/r.git", "file", None),
        ("/srv/r.git", "file", None),
        (".sandbox/git/r.git", "file", None),
        ("./a:b", "file", None),
        ("codecommit::eu-west-1://r", "codecommit", None),
        ("ext::sh -c date", "ext", None),
    ],
)
def test_a_url_speaks_one_protocol_to_one_host(url: str, protocol: str, host: str | None) -> None:
    assert protocol_of(url) == protocol
    assert host_of(url) == host
    assert allowed_protocols(url)[0] == protocol
    assert set(allowed_protocols(url)) == {protocol, "https", "ssh"}


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("https://github.com/o/r.git", False),
        ("https://github.com/o/r@v1.git", False),
        ("https://token@github.com/o/r.git", True),
        ("https://user:password@github.com/o/r.git", True),
        ("https://:password@github.com/o/r.git", True),
        ("ssh://git@github.com/o/r", False),
        ("ssh://git:password@github.com/o/r", True),
        ("git@github.com:o/r.git", False),
        ("/srv/user@host/r.git", False),
    ],
)
def test_credentials_in_a_url_are_seen(url: str, holds: bool) -> None:
    assert user_info_in(url) is holds


@pytest.mark.parametrize("url", ["https://github.com/o/r", "git@github.com:o/r", "ssh://git@github.com/o/r", "/srv/r"])
def test_a_token_is_kept_from_no_encrypted_source(url: str) -> None:
    refuse_token_in_the_clear(url)


@pytest.mark.parametrize(
    "url", ["http://github.com/o/r", "HTTP://github.com/o/r", "git://github.com/o/r", "ftp://github.com/o/r"]
)
def test_a_token_is_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(Refused, match=r"unencrypted: source\.url begins with (http|git|ftp)://.*Use https"):
        refuse_token_in_the_clear(url)


COMMIT = "c0ffee0" + "1" * 33


@pytest.mark.parametrize("announced", [None, "", COMMIT, COMMIT[:7], COMMIT[:12].upper()])
def test_the_commit_that_a_run_is_for_is_released(announced: str | None) -> None:
    refuse_other_commit(Version.parse("v1.0.0"), announced, COMMIT)


@pytest.mark.parametrize("announced", ["c", COMMIT[:6], COMMIT[:39] + "2", COMMIT + "0", "main"])
def test_any_other_commit_is_refused(announced: str) -> None:
    with pytest.raises(Refused, match=r"v1\.0\.0 moved since it was announced.*the tag now points to c0ffee011111"):
        refuse_other_commit(Version.parse("v1.0.0"), announced, COMMIT)


def test_both_commits_are_told_by_twelve_digits_and_what_to_do() -> None:
    with pytest.raises(
        Refused, match=r"started for commit a{12}, but the tag now points to c0ffee011111\. "
    ) as refusal:
        refuse_other_commit(Version.parse("v1.0.0"), "a" * 40, COMMIT)
    assert "new tag" in refusal.value.do
