"""A release waits for its commit's checks at GitHub, and refuses red ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.github_checks import CheckState, SeenCheck, Verdict, judge_checks, of_run, of_status, refuse_foreign_api
from core.version import Version
from operation.operation import Operation
from tasks.checkout import Checkout
from tasks.checks import await_checks
from tests.unit.facts import COMMIT, owner, settings_with
from tests.unit.fakes import FakeAws, Secret, operation_of
from tests.unit.github_api import TOKEN, GitHubApi, serving

SOURCE = Checkout(Version.parse("v1.1.0"), COMMIT, Path("/nowhere"), ())
GREEN, PENDING, RED = CheckState.GREEN, CheckState.PENDING, CheckState.RED


@pytest.fixture
def github() -> Iterator[GitHubApi]:
    with serving() as api:
        yield api


def waiting(github: GitHubApi, *checks: str, token: str | None = TOKEN, **facts: str) -> Operation:
    """A run of an environment that waits for checks: for a minute, which no good end needs, unless told otherwise."""
    named = ", ".join(f'"{check}"' for check in checks)
    source = f'"team/shop"\nchecks = [{named}]\ngithub_api = "{facts.get("api", github.url)}"'
    settings = settings_with(
        poll=f"0.001\nchecks_poll = 0.01\nchecks = {facts.get('within', '60')}",
        url=facts.get("url", '"https://127.0.0.1/team/shop.git"'),
        github_repository=source,
    )
    return operation_of(FakeAws(), settings, owner(), source_credentials=Secret(token) if token else None)


def wait(github: GitHubApi, *checks: str, **facts: Any) -> str:
    return await_checks.fn.__wrapped__(waiting(github, *checks, **facts), SOURCE).detail  # type: ignore[attr-defined, no-any-return]


pytestmark = pytest.mark.usefixtures("no_run_log")


# --- the decision


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (("completed", "success"), GREEN),
        (("completed", "neutral"), GREEN),
        (("completed", "skipped"), GREEN),
        (("completed", "failure"), RED),
        (("completed", "cancelled"), RED),
        (("completed", "timed_out"), RED),
        (("completed", "action_required"), RED),
        (("completed", "stale"), RED),
        (("completed", "startup_failure"), RED),
        (("queued", None), PENDING),
        (("in_progress", None), PENDING),
        (("waiting", None), PENDING),
    ],
)
def test_what_a_check_run_says(run: tuple[str, str | None], state: CheckState) -> None:
    assert of_run("build", *run).state is state


@pytest.mark.parametrize(
    ("said", "state"), [("success", GREEN), ("pending", PENDING), ("failure", RED), ("error", RED)]
)
def test_what_a_status_says(said: str, state: CheckState) -> None:
    assert of_status("build", said).state is state


@pytest.mark.parametrize(
    ("rule", "seen", "verdict"),
    [
        ("all are green", [("build", GREEN), ("test", GREEN)], Verdict(GREEN)),
        ("others do not matter", [("build", GREEN), ("test", GREEN), ("lint", RED)], Verdict(GREEN)),
        ("one that is not there is waited for", [("build", GREEN)], Verdict(PENDING, "test: not there")),
        ("red counts before pending", [("build", PENDING), ("test", RED)], Verdict(RED, "test: said")),
        ("each of a name", [("build", GREEN), ("build", PENDING), ("test", GREEN)], Verdict(PENDING, "build: said")),
        ("one red of a name", [("build", GREEN), ("build", RED), ("test", GREEN)], Verdict(RED, "build: said")),
    ],
)
def test_the_worst_of_the_named_checks_decides(rule: str, seen: list[tuple[str, CheckState]], verdict: Verdict) -> None:
    found = [SeenCheck(name, state, "said") for name, state in seen]
    assert judge_checks(("build", "test"), found) == verdict, rule


@pytest.mark.parametrize(
    ("source", "api", "refused"),
    [
        ("https://github.com/team/shop.git", "https://api.github.com", None),
        ("git@github.com:team/shop.git", "https://api.github.com", None),
        ("ssh://git@github.com/team/shop.git", "https://api.github.com", None),
        ("https://git.example.com/team/shop.git", "https://git.example.com/api/v3", None),
        ("https://git.example.com/team/shop.git", "https://api.github.com", "another host"),
        ("https://github.com/team/shop.git", "https://api.github.com.example.com", "another host"),
        ("https://github.com/team/shop.git", "http://api.github.com", "unencrypted"),
        (".sandbox/git/shop.git", "https://api.github.com", "another host"),
    ],
)
def test_the_token_is_shown_to_the_sources_own_host(source: str, api: str, refused: str | None) -> None:
    if refused is None:
        refuse_foreign_api(source, api)
    else:
        with pytest.raises(Refused, match=refused):
            refuse_foreign_api(source, api)


# --- the step, against an HTTP server


def test_a_release_goes_on_once_its_checks_are_green(github: GitHubApi) -> None:
    github.ran(COMMIT, "build", "success")
    github.statuses[COMMIT] = [{"context": "ci/legacy", "state": "success"}]
    assert wait(github, "build", "ci/legacy") == f"build, ci/legacy: green on {COMMIT[:12]}"
    assert github.paths[0] == f"/repos/team/shop/commits/{COMMIT}/check-runs?filter=latest&per_page=100"


def test_a_check_that_is_under_way_is_waited_for(github: GitHubApi) -> None:
    github.ran(COMMIT, "build", None)
    github.later = {5: [{"name": "build", "status": "completed", "conclusion": "success"}]}
    assert wait(github, "build").startswith("build: green")
    assert len(github.paths) >= 5


def test_every_page_is_read(github: GitHubApi) -> None:
    for number in range(7):
        github.ran(COMMIT, f"lint-{number}", "success")
    github.ran(COMMIT, "build", "success")
    github.page_size = 3
    assert wait(github, "build").startswith("build: green")
    assert [path for path in github.paths if "page=3" in path], "the third page has it"


def test_a_red_check_refuses_at_once(github: GitHubApi) -> None:
    github.ran(COMMIT, "build", "failure")
    with pytest.raises(Refused, match=r"The commit of v1\.1\.0 failed its checks: build: failure"):
        wait(github, "build")
    assert len(github.paths) == 2, "one look"


def test_a_red_check_on_the_last_page_refuses(github: GitHubApi) -> None:
    github.ran(COMMIT, "build", "success")
    github.ran(COMMIT, "build", "failure")
    github.page_size = 1
    with pytest.raises(Refused, match="build: failure"):
        wait(github, "build")


@pytest.mark.parametrize(("name", "words"), [("build", "build: in_progress"), ("biuld", "biuld: not there")])
def test_a_check_that_is_not_green_in_time_refuses_and_is_named(github: GitHubApi, name: str, words: str) -> None:
    github.ran(COMMIT, "build", None)
    with pytest.raises(Refused, match=rf"were not green within 0\.3 s: {words}"):
        wait(github, name, within="0.3")


THROTTLED = (403, {"x-ratelimit-remaining": "0"})


@pytest.mark.parametrize("fault", [(502, {}), (503, {}), (429, {}), THROTTLED, (403, {"Retry-After": "1"})])
def test_an_outage_is_waited_for(github: GitHubApi, fault: tuple[int, dict[str, str]]) -> None:
    github.ran(COMMIT, "build", "success")
    github.faults = [fault] * 3
    assert wait(github, "build").startswith("build: green")


def test_an_outage_that_lasts_is_told(github: GitHubApi) -> None:
    github.faults = [(502, {})] * 10_000
    with pytest.raises(Refused, match="GitHub does not answer: 502") as refusal:
        wait(github, "build", within="0.3")
    assert "githubstatus.com" in refusal.value.do


def test_nobody_who_listens_is_an_outage(github: GitHubApi) -> None:
    with pytest.raises(Refused, match="GitHub does not answer: ConnectError"):
        wait(github, "build", api="http://127.0.0.1:1", within="0.3")


@pytest.mark.parametrize(
    ("token", "fault"),
    [("wrong", None), (TOKEN, (404, {})), (TOKEN, (403, {})), (TOKEN, (301, {"Location": "http://127.0.0.1:1/"}))],
)
def test_what_github_refuses_is_not_waited_for(
    github: GitHubApi, token: str, fault: tuple[int, dict[str, str]] | None
) -> None:
    github.faults = [fault] if fault else []
    with pytest.raises(Permanent, match="GitHub refuses to say") as refusal:
        wait(github, "build", token=token)
    assert token not in str(refusal.value)
    assert len(github.paths) == 1


def test_a_page_at_another_host_is_not_shown_the_token(github: GitHubApi) -> None:
    github.ran(COMMIT, "a", "success")
    github.ran(COMMIT, "b", "success")
    github.page_size, github.next_host = 1, "http://127.0.0.2:1"
    with pytest.raises(Permanent, match="leads to another host"):
        wait(github, "build")


def test_without_a_token_nothing_is_asked(github: GitHubApi) -> None:
    with pytest.raises(Refused, match=r"has no token to read them.*POINTSMAN_SOURCE_TOKEN"):
        wait(github, "build", token=None)
    assert github.paths == []
