"""An image that CI built: waited for, and taken by the digest that an annotated git tag records at the same commit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.image_settings import Platform
from core.prebuilt import PrebuiltImage, RecordTag, recorded_digest, refuse_other_image, tag_for
from core.preflight.judgement import Verdict
from core.preflight.source import judge_workflows
from core.version import Version
from operation.operation import Operation
from tasks.checkout import Checkout
from tasks.image import build_image, push_image
from tests.unit.facts import COMMIT, DIGEST, REPOSITORY, settings_with
from tests.unit.fakes import CONFIG, IMAGE, INDEX, Block, FakeAws, Fault, unreachable
from tests.unit.git_host import commit, git, make_repository

OTHER, CHILD, ARM = ("sha256:" + two * 32 for two in ("0e", "c1", "a7"))
WORKFLOW = Path(__file__).resolve().parents[2] / "examples/prebuilt/image.yml"


def message(*digests: str) -> str:
    return "\n".join(["Image of v1.1.0", "", *(f"Image-Digest: {digest}" for digest in digests)])


@pytest.mark.parametrize("digests", [(DIGEST,), (DIGEST, DIGEST)])
def test_the_digest_of_a_tag_at_the_same_commit_is_taken(digests: tuple[str, ...]) -> None:
    assert recorded_digest(RecordTag("image/v1.1.0", COMMIT, message(*digests)), COMMIT) == DIGEST


@pytest.mark.parametrize(
    ("at", "text", "why"),
    [
        (COMMIT, None, "not an annotated tag"),
        ("dead" * 10, message(DIGEST), "it is at commit deaddeaddead"),
        (None, message(DIGEST), "it is at commit none"),
        (COMMIT, "", "no line Image-Digest"),
        (COMMIT, f"see {DIGEST}", "no line Image-Digest"),
        (COMMIT, f"no Image-Digest: {DIGEST}", "no line Image-Digest"),
        (COMMIT, message(DIGEST, OTHER), "has 2 lines Image-Digest"),
        (COMMIT, message("latest"), "names 'latest', which is not a digest"),
        (COMMIT, message(DIGEST[:-1]), "which is not a digest"),
        (COMMIT, message(DIGEST + "00"), "which is not a digest"),
    ],
)
def test_a_tag_that_records_anything_else_is_refused(at: str | None, text: str | None, why: str) -> None:
    with pytest.raises(Refused) as refusal:
        recorded_digest(RecordTag("image/v1.1.0", at, text), COMMIT)
    assert why in refusal.value.why


@pytest.mark.parametrize(
    ("platforms", "platform", "taken"),
    [
        (("linux/amd64",), "linux/amd64", True),
        (("linux/amd64",), "linux/arm64", False),
        (("linux/arm64",), "linux/arm64", True),
        (("linux/amd64", "linux/amd64"), "linux/amd64", False),
        (("linux/amd64", "unknown"), "linux/amd64", True),
        ((), "linux/amd64", False),
    ],
)
def test_the_image_is_for_the_platform_once(platforms: tuple[str, ...], platform: Platform, taken: bool) -> None:
    if taken:
        refuse_other_image(PrebuiltImage(DIGEST, platforms), platform)
        return
    with pytest.raises(Permanent, match=f"not for {platform}"):
        refuse_other_image(PrebuiltImage(DIGEST, platforms), platform)


@pytest.mark.parametrize(("pattern", "name"), [("image/{tag}", "image/v1.1.0"), ("{tag}", "v1.1.0")])
def test_the_git_tag_is_named_after_the_version(pattern: str, name: str) -> None:
    assert tag_for(pattern, Version.parse("v1.1.0")) == name


# --- the step, with real git repositories


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = make_repository(tmp_path / "app")
    commit(made, "v1.1.0")
    git(made, "tag", "v1.1.0")
    return made


@pytest.fixture
def checkout(source: Path, tmp_path: Path) -> Checkout:
    return Checkout(Version.parse("v1.1.0"), git(source, "rev-parse", "HEAD"), tmp_path, ())


@pytest.fixture
def settings(operation: Operation, source: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def configure(more: str) -> None:
        assert isinstance(operation.block, Block)
        text = f'prebuilt = 0.3\n[image]\nimage_source = "prebuilt"\n{more}\n'
        operation.block.settings = settings_with(text, url=json.dumps(str(source)))

    configure("")
    # No docker client is needed, and none is asked.
    monkeypatch.setattr("tasks.image.docker.build", lambda *_, **__: pytest.fail("something was built"))
    monkeypatch.setattr("tasks.image.docker.push", lambda *_, **__: pytest.fail("something was pushed"))
    return configure


def record(source: Path, digest: str, *, at: str = "v1.1.0", name: str = "image/v1.1.0") -> None:
    messages = ("--message", "Image", "--message", f"Image-Digest: {digest}")
    git(source, "tag", "--annotate", *messages, name, f"{at}^{{commit}}")


def hold(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, architecture: str = "amd64") -> None:
    aws.ecr.manifests[DIGEST] = (IMAGE, {"config": {"digest": CONFIG}, "layers": []})
    configuration = json.dumps({"os": "linux", "architecture": architecture}).encode()
    monkeypatch.setattr("systems.ecr._read_configuration", lambda _url: configuration)


def test_the_recorded_image_is_released_without_a_build_and_whatever_its_tags_are(
    operation: Operation,
    aws: FakeAws,
    settings: None,
    source: Path,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws.ecr.images["v1.1.0"] = OTHER
    hold(aws, monkeypatch)
    record(source, DIGEST)
    reference = push_image.fn(operation, build_image.fn(operation, checkout))
    assert reference == f"{REPOSITORY}@{DIGEST}"
    assert operation.release.image == reference
    assert [(s.name, s.outcome) for s in operation.journal.steps] == [("build", "skipped"), ("push", "skipped")]
    assert f"image/v1.1.0 in git records {DIGEST}" in operation.journal.steps[0].detail


def test_a_release_waits_for_the_tag_and_then_for_the_image(
    operation: Operation,
    aws: FakeAws,
    settings: None,
    source: Path,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[str] = []

    def sleep(_seconds: float) -> None:
        looks.append("look")
        if len(looks) == 2:
            record(source, DIGEST)
        if len(looks) == 4:
            hold(aws, monkeypatch)

    monkeypatch.setattr("systems.polling.time.sleep", sleep)
    settings_of = operation.settings.timing
    assert settings_of.prebuilt == 0.3
    assert isinstance(operation.block, Block)
    patient = operation.settings.model_copy(update={"timing": settings_of.model_copy(update={"prebuilt": 60})})
    operation.block.settings = patient
    aws.ecr.fail("batch_get_image", Fault(unreachable()))
    assert build_image.fn(operation, checkout).digest == DIGEST
    assert len(looks) == 4


def test_the_version_s_own_message_can_be_the_record(
    operation: Operation,
    aws: FakeAws,
    settings: Callable[[str], None],
    source: Path,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings('prebuilt = { recorded_in = "{tag}" }')
    git(source, "tag", "--delete", "v1.1.0")
    record(source, DIGEST, at="main", name="v1.1.0")
    hold(aws, monkeypatch)
    assert build_image.fn(operation, checkout).digest == DIGEST


def test_a_tag_at_another_commit_is_refused(
    operation: Operation,
    aws: FakeAws,
    settings: None,
    source: Path,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold(aws, monkeypatch)
    commit(source, "something else")
    record(source, DIGEST, at="main")
    with pytest.raises(Refused, match="records no digest of the version's image"):
        build_image.fn(operation, checkout)


def test_a_tag_without_annotation_is_refused(
    operation: Operation, settings: None, source: Path, checkout: Checkout
) -> None:
    git(source, "tag", "image/v1.1.0", "v1.1.0")
    with pytest.raises(Refused, match="not an annotated tag"):
        build_image.fn(operation, checkout)


def test_an_image_for_another_platform_is_refused(
    operation: Operation,
    aws: FakeAws,
    settings: None,
    source: Path,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold(aws, monkeypatch, "arm64")
    record(source, DIGEST)
    with pytest.raises(Permanent, match="not for linux/amd64: it is for linux/arm64"):
        build_image.fn(operation, checkout)


def test_an_index_is_taken_by_its_child_for_the_platform(
    operation: Operation, aws: FakeAws, settings: None, source: Path, checkout: Checkout
) -> None:
    children: list[dict[str, Any]] = [
        {"digest": CHILD, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": ARM, "platform": {"os": "linux", "architecture": "arm64"}},
    ]
    aws.ecr.manifests[DIGEST] = (INDEX, {"mediaType": INDEX, "manifests": children})
    record(source, DIGEST)
    assert build_image.fn(operation, checkout).digest == DIGEST


@pytest.mark.parametrize(
    ("recorded", "why"),
    [(False, "has no git tag image/v1.1.0"), (True, f"the image {DIGEST}, which the git tag image/v1.1.0 records")],
)
def test_what_does_not_come_in_time_is_named(
    operation: Operation, settings: None, source: Path, checkout: Checkout, recorded: bool, why: str
) -> None:
    if recorded:
        record(source, DIGEST)
    with pytest.raises(Permanent, match=r"did not come within 0\.3 s") as failure:
        build_image.fn(operation, checkout)
    assert why in failure.value.why


# --- the workflow to copy


def test_the_workflow_to_copy_only_pushes_an_image_and_is_let_pass_where_releases_wait_for_it() -> None:
    texts = {".github/workflows/image.yml": WORKFLOW.read_text()}
    assert judge_workflows(texts).verdict is Verdict.FAIL
    assert judge_workflows(texts, may_push=True).verdict is Verdict.PASS
    deploys = WORKFLOW.read_text() + "      - run: aws ecs update-service --service x\n"
    assert judge_workflows({".github/workflows/image.yml": deploys}, may_push=True).verdict is Verdict.FAIL


def test_the_workflow_s_record_is_what_a_release_reads(source: Path) -> None:
    script = WORKFLOW.read_text().partition("          git tag ")[2].partition("\n")[0]
    made = script.replace("$VERSION", "v1.1.0").replace("$DIGEST", DIGEST)
    git(source, "tag", *shlex.split(made))
    shown = git(source, "for-each-ref", "--format=%(contents)", "refs/tags/image/v1.1.0")
    head = git(source, "rev-parse", "HEAD")
    assert recorded_digest(RecordTag("image/v1.1.0", head, shown), head) == DIGEST
