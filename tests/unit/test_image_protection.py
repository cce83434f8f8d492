"""No rule of the registry expires what a record may return to."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.environment import PROJECT
from core.colour import Colour
from core.errors import Permanent, UnknownOutcome
from core.image_protection import KEPT_PATTERN, ProtectedImage, keep_tag, returnable
from core.record import EnvironmentRecord, RollbackIntent
from operation.operation import Operation
from systems.ecr import add_tag
from tasks.image_protection import keep_images
from tests.unit.facts import NOON, environment, live
from tests.unit.fakes import FakeAws, Fault, lost, refusal

ONE, TWO, THREE = (f"sha256:{letter * 64}" for letter in "123")


def lived(version: str, digest: str) -> object:
    made = live(version)
    return made.model_copy(
        update={"release": made.release.model_copy(update={"image": f"x.example.com/team/shop@{digest}"})}
    )


BEFORE, NOW = lived("v1.0.0", ONE), lived("v1.1.0", TWO)
INTENT = RollbackIntent(target=BEFORE, leaving=lived("v1.2.0", THREE), flow_run_id="r", at=NOON)


@pytest.mark.parametrize(
    ("record", "digests"),
    [
        (environment(), []),
        (environment(live=NOW), [TWO]),
        (environment(live=NOW, healthy=(BEFORE,)), [TWO, ONE]),
        (environment(live=NOW, healthy=(BEFORE, NOW)), [TWO, ONE]),
        (environment(live=NOW, healthy=(BEFORE,), rolled_back=(BEFORE.release.revision,)), [TWO, ONE]),  # type: ignore[attr-defined]
        (environment(live=NOW, rollback=INTENT), [TWO, ONE, THREE]),
    ],
)
def test_what_a_record_may_return_to(record: EnvironmentRecord, digests: list[str]) -> None:
    assert returnable(record) == tuple(ProtectedImage("team/shop", digest) for digest in digests)


def test_the_tag_names_stage_and_digest() -> None:
    assert keep_tag("production", ONE) == "keep__production.111111111111"
    assert fnmatch.fnmatchcase(keep_tag("production", ONE), KEPT_PATTERN)


# --- the registry's rules, as the root `account` writes them


@dataclass(frozen=True)
class Stored:
    tags: tuple[str, ...]
    pushed: int


Rule = Mapping[str, object]


def expired(images: Sequence[Stored], rules: Sequence[Rule]) -> set[Stored]:
    """What ECR's rules for tagged images expire: what a rule matches is kept from those of a lower priority.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    gone: set[Stored] = set()
    matched: set[Stored] = set()
    for rule in rules:
        pattern, count = str(rule["pattern"]), int(str(rule["count"]))
        fitting = [image for image in images if any(fnmatch.fnmatchcase(tag, pattern) for tag in image.tags)]
        newest_first = sorted(fitting, key=lambda image: image.pushed, reverse=True)
        gone |= set(newest_first[count:]) - matched
        matched |= set(fitting)
    return gone


def rules_of_the_root(kept: int) -> list[Rule]:
    """The rules in the root's own order: that of what is kept, one a stage, and that of earlier tags."""
    text = (PROJECT / "terraform/account/repository.tf").read_text()
    first = re.search(r"rulePriority = 1\b.*?tagPatternList = (\[.*?\]).*?countNumber\s*= (\d+)", text, re.DOTALL)
    assert first is not None
    (pattern,) = json.loads(first.group(1))
    assert pattern == KEPT_PATTERN
    stages = [{"pattern": f"v*__{stage}.*", "count": kept} for stage in ("production", "staging")]
    return [{"pattern": pattern, "count": int(first.group(2))}, *stages, {"pattern": "v*", "count": kept}]


@given(pushes=st.lists(st.tuples(st.sampled_from(["production", "staging"]), st.booleans()), max_size=60))
def test_what_was_live_stays_however_much_is_pushed_after_it(pushes: list[tuple[str, bool]]) -> None:
    images = []
    for number, (stage, went_live) in enumerate(pushes):
        digest = f"sha256:{number:064x}"[::-1]
        kept = (keep_tag(stage, f"sha256:{number:012x}{'0' * 52}"),) if went_live else ()
        images.append(Stored((f"v1.0.{number}__{stage}.{digest[:8]}", *kept), number))
    gone = expired(images, rules_of_the_root(kept=3))
    assert not any(tag.startswith("keep__") for image in gone for tag in image.tags)
    for stage in ("production", "staging"):
        own = [image for image in images if f"__{stage}." in image.tags[0]]
        assert not gone & set(own[-3:]), "the newest of each stage stay as well"
        assert {image for image in own[:-3] if len(image.tags) == 1} <= gone, "what never went live is expired"


# --- the step


@pytest.fixture
def ours(operation: Operation, aws: FakeAws) -> Operation:
    operation.records.change_environment(
        lambda r: r.model_copy(update={"live": NOW, "healthy": (BEFORE,), "environment": "test"})
    )
    aws.ecr.images = {"v1.0.0__test.1": ONE, "v1.1.0__test.2": TWO}
    return operation


def kept(aws: FakeAws) -> set[str]:
    return {digest for tag, digest in aws.ecr.images.items() if tag.startswith("keep__test.")}


def test_what_a_record_may_return_to_is_tagged_once(ours: Operation, aws: FakeAws) -> None:
    keep_images.fn(ours)
    assert kept(aws) == {ONE, TWO}
    keep_images.fn(ours)
    assert aws.ecr.count("put_image") == 2
    assert {step.name: step.detail for step in ours.journal.steps}["keep images"] == "all of them are tagged"


def test_an_image_that_cannot_be_tagged_fails_no_release_and_no_other_image(ours: Operation, aws: FakeAws) -> None:
    del aws.ecr.images["v1.1.0__test.2"]
    keep_images.fn(ours)
    assert kept(aws) == {ONE}
    assert {s.name: s.detail for s in ours.journal.steps}["keep images"] == "1 image tagged; 1 could not be"


@pytest.mark.parametrize("lands", [True, False])
def test_after_a_lost_answer_the_next_release_looks(ours: Operation, aws: FakeAws, lands: bool) -> None:
    aws.ecr.fail("put_image", Fault(lost(), lands=lands))
    with pytest.raises(UnknownOutcome):
        add_tag(ours.aws, "team/shop", ONE, "keep__test.1")
    assert add_tag(ours.aws, "team/shop", ONE, "keep__test.1") is not lands


@pytest.mark.parametrize("code", ["ImageAlreadyExistsException", "ImageTagAlreadyExistsException"])
def test_a_tag_that_came_meanwhile_is_enough(ours: Operation, aws: FakeAws, code: str) -> None:
    aws.ecr.fail("put_image", Fault(refusal(code)))
    assert add_tag(ours.aws, "team/shop", ONE, "keep__test.1")


def test_an_index_is_kept_as_such(ours: Operation, aws: FakeAws) -> None:
    aws.ecr.hold_index("v2", THREE, {"digest": ONE})
    assert add_tag(ours.aws, "team/shop", THREE, "keep__test.3")
    with pytest.raises(Permanent, match="AWS refused looking for image"):
        add_tag(ours.aws, "team/shop", f"sha256:{'9' * 64}", "keep__test.9")


def test_the_colour_says_nothing() -> None:
    assert returnable(environment(live=live("v1.0.0", Colour.GREEN))) == returnable(environment(live=live("v1.0.0")))
