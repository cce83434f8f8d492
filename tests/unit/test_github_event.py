"""What each event from GitHub leads to: payloads in, decision out."""

from typing import Any

import pytest

from core.github_event import Ignore, Pong, Reject, Release, Wanted, decide, run_key
from core.tag_pattern import TagPattern

REPOSITORY = "cursive-team/connections"
ALL = Wanted(REPOSITORY, prereleases=True)
COMMIT = "1f" * 20
TAG_OBJECT = "2e" * 20
ZEROS = "0" * 40


def push(**changes: Any) -> dict[str, Any]:
    return {
        "ref": "refs/tags/v1.2.3",
        "before": ZEROS,
        "after": TAG_OBJECT,
        "deleted": False,
        "repository": {"full_name": REPOSITORY},
        "head_commit": {"id": COMMIT},
    } | changes


@pytest.mark.parametrize(
    ("payload", "tag", "commit"),
    [
        pytest.param(push(), "v1.2.3", COMMIT, id="annotated_tag_is_released_at_its_commit"),
        pytest.param(push(after=COMMIT), "v1.2.3", COMMIT, id="lightweight_tag"),
        pytest.param(push(ref="refs/tags/v1.2.3-rc.1"), "v1.2.3-rc.1", COMMIT, id="pre_release"),
        pytest.param(push(ref="refs/tags/v1.2.3+5"), "v1.2.3+5", COMMIT, id="build_metadata"),
        pytest.param(
            push(repository={"full_name": "Cursive-Team/Connections"}),
            "v1.2.3",
            COMMIT,
            id="repository_names_have_no_case",
        ),
        pytest.param(push(head_commit={"id": "ab" * 32}), "v1.2.3", "ab" * 32, id="sha256_repository"),
    ],
)
def test_pushed_version_tag_is_released(payload: dict[str, Any], tag: str, commit: str) -> None:
    assert decide("push", payload, ALL) == Release(tag, commit)


@pytest.mark.parametrize(
    ("event", "payload", "reason"),
    [
        pytest.param("push", push(ref="refs/heads/main"), "is not a tag", id="branch"),
        pytest.param("push", push(ref="refs/heads/v1.2.3"), "is not a tag", id="branch_named_like_a_version"),
        pytest.param("push", push(ref="refs/tags/nightly"), "is not one", id="tag_without_v"),
        pytest.param("push", push(ref="refs/tags/1.2.3"), "is not one", id="version_without_v"),
        pytest.param("push", push(deleted=True, after=ZEROS, head_commit=None), "was deleted", id="deleted_tag"),
        pytest.param("push", push(deleted=True), "was deleted", id="deleted_says_so"),
        pytest.param("push", push(after=ZEROS), "was deleted", id="after_is_all_zeros"),
        pytest.param(
            "push",
            push(ref="refs/tags/vnext", deleted=True, after=ZEROS, head_commit=None),
            "was deleted",
            id="deleted_tag_that_was_no_version",
        ),
        pytest.param("push", push(repository={"full_name": "else/where"}), "'else/where'", id="another_repository"),
        pytest.param("release", {"action": "published"}, "'release'", id="another_event"),
        pytest.param("create", {"ref_type": "tag", "ref": "v1.2.3"}, "'create'", id="create_event_of_a_tag"),
    ],
)
def test_nothing_is_asked_of_us(event: str, payload: dict[str, Any], reason: str) -> None:
    decision = decide(event, payload, ALL)
    assert isinstance(decision, Ignore)
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("event", "payload", "status", "sentence"),
    [
        pytest.param(None, push(), 400, "X-GitHub-Event", id="no_event_name"),
        pytest.param("push", ["ref"], 400, "not an object", id="payload_is_a_list"),
        pytest.param("push", None, 400, "not an object", id="payload_is_null"),
        pytest.param("push", push(repository=None), 400, "repository.full_name", id="no_repository"),
        pytest.param("push", push(repository={"full_name": 7}), 400, "full_name", id="name_is_no_text"),
        pytest.param("push", push(ref=None), 400, "ref", id="no_ref"),
        pytest.param("push", push(head_commit=None), 422, "'v1.2.3' names no commit", id="tag_of_no_commit"),
        pytest.param("push", push(head_commit=[]), 400, "head_commit.id", id="commit_is_a_list"),
        pytest.param("push", push(head_commit={"id": "main"}), 400, "head_commit.id", id="commit_is_a_name"),
        pytest.param("push", push(head_commit={"id": 5}), 400, "head_commit.id", id="commit_is_a_number"),
        pytest.param("push", push(ref="refs/tags/v1.2"), 422, "v1.2", id="two_numbers"),
        pytest.param("push", push(ref="refs/tags/v01.2.3"), 422, "v01.2.3", id="leading_zero"),
        pytest.param("push", push(ref="refs/tags/vnext"), 422, "vnext", id="a_word"),
        pytest.param("push", push(ref="refs/tags/v1.2.3/x"), 422, "v1.2.3/x", id="a_path"),
        pytest.param("push", push(ref="refs/tags/v1.2.3\n"), 422, "v1.2.3", id="trailing_newline"),
        pytest.param("push", push(ref="refs/tags/v"), 422, "v", id="only_the_letter"),
    ],
)
def test_delivery_that_cannot_be_followed_is_refused(
    event: str | None, payload: object, status: int, sentence: str
) -> None:
    decision = decide(event, payload, ALL)
    assert isinstance(decision, Reject)
    assert decision.status == status
    assert sentence in decision.sentence


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        pytest.param(
            {"zen": "Keep it.", "hook": {"events": ["push"]}, "repository": {"full_name": REPOSITORY}},
            "is released",
            id="sound_hook",
        ),
        pytest.param({"hook": {"events": ["*"]}}, "is released", id="hook_sends_everything"),
        pytest.param({"hook": {"events": ["issues"]}}, "no push events", id="hook_without_pushes"),
        pytest.param({"repository": {"full_name": "else/where"}}, "ignored", id="hook_of_another_repository"),
        pytest.param({}, "is released", id="hook_that_says_nothing"),
    ],
)
def test_ping_is_answered_with_what_is_wrong_with_the_hook(payload: dict[str, Any], sentence: str) -> None:
    decision = decide("ping", payload, ALL)
    assert isinstance(decision, Pong)
    assert sentence in decision.sentence


@pytest.mark.parametrize(
    ("tag", "released"), [("v1.2.3-rc.1", False), ("v1.2.3-0", False), ("v1.2.3", True), ("v1.2.3+rc.1", True)]
)
def test_a_pre_release_is_ignored_with_the_reason_where_none_is_wanted(tag: str, released: bool) -> None:
    decision = decide("push", push(ref=f"refs/tags/{tag}"), Wanted(REPOSITORY))
    if released:
        assert decision == Release(tag, COMMIT)
    else:
        assert isinstance(decision, Ignore)
        assert decision.reason.startswith(f"'{tag}' is a pre-release")
        assert "prereleases = true" in decision.reason


def test_foreign_text_in_a_sentence_is_cut_and_on_one_line() -> None:
    decision = decide("push", push(ref="refs/heads/" + "x\n" * 5000), ALL)
    assert isinstance(decision, Ignore)
    assert len(decision.reason) < 250
    assert "\n" not in decision.reason


def test_run_key_tells_apart_environment_repository_tag_and_commit() -> None:
    release = Release("v1.2.3", COMMIT)
    keys = [
        run_key("production", REPOSITORY, release),
        run_key("sandbox", REPOSITORY, release),
        run_key("production", "else/where", release),
        run_key("production", REPOSITORY, Release("v1.2.4", COMMIT)),
        run_key("production", REPOSITORY, Release("v1.2.3", TAG_OBJECT)),
    ]
    assert len(set(keys)) == len(keys)
    assert run_key("production", REPOSITORY.upper(), release) == keys[0]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (push(repository=None), "repository.full_name"),
        (push(ref=None), "ref"),
        (push(head_commit={}), "head_commit.id"),
    ],
)
def test_what_a_delivery_lacks_is_named(payload: dict[str, Any], field: str) -> None:
    decision = decide("push", payload, ALL)
    assert isinstance(decision, Reject)
    assert decision.sentence.startswith(f"The push event has no usable {field}, ")


@pytest.mark.parametrize(("length", "shown"), [(100, "x" * 100), (101, "x" * 100 + "…")])
def test_foreign_text_is_cut_at_a_hundred_characters(length: int, shown: str) -> None:
    decision = decide("push", push(ref=f"refs/tags/{'x' * length}"), ALL)
    assert isinstance(decision, Ignore)
    assert f"'{shown}'" in decision.reason


@pytest.mark.parametrize(
    ("pattern", "tag", "released"),
    [
        ("api/v*", "api/v1.2.3", True),
        ("api/v*", "web/v1.2.3", False),
        ("api/v*", "v1.2.3", False),
        ("@acme/api@*", "@acme/api@1.2.3", True),
        ("*-rc.*", "v1.2.3-rc.1", True),
        ("*-rc.*", "v1.2.3", False),
        ("v1.*", "v1.2.3", True),
    ],
)
def test_only_tags_of_the_pattern_are_released(pattern: str, tag: str, released: bool) -> None:
    wanted = Wanted(REPOSITORY, TagPattern(pattern), prereleases=True)
    decision = decide("push", push(ref=f"refs/tags/{tag}"), wanted)
    if released:
        assert decision == Release(tag, COMMIT)
    else:
        assert decision == Ignore(f"Only tags of the form {pattern} are released; {tag!r} is not one.")
