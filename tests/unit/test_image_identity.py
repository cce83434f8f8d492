"""What an image is built from names it, and only our own record makes one in the registry ours."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.history import VersionRecord
from core.image import ImageInputs, LocalImage, PushedImage, RegistryImage, is_ours, removable
from core.image_settings import SecretSource
from core.version import Version
from tests.unit.facts import COMMIT, DIGEST, NOON, REPOSITORY, environment, live
from tests.unit.fakes import CONFIG

INPUTS = ImageInputs(
    version="v1.4.0",
    commit=COMMIT,
    dockerfile="Dockerfile",
    dockerfile_sha256="ab" * 32,
    context=".",
    target=None,
    build_args={"A": "1", "B": "2"},
)
INDEX, CHILD, OTHER = ("sha256:" + two * 32 for two in ("1d", "c1", "0e"))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "v1.4.1"},
        {"commit": "dead" * 10},
        {"dockerfile": "docker/Dockerfile"},
        {"dockerfile_sha256": "cd" * 32},
        {"context": "app"},
        {"target": "production"},
        {"build_args": {"A": "1", "B": "3"}},
        {"build_args": {"A": "2", "B": "1"}},
        {"build_args": {"A": "1"}},
        {"attestations": True},
        {"platform": "linux/arm64"},
        {"secrets": {"npmrc": "variable:NPM_TOKEN"}},
        {"ssh": ("default",)},
    ],
    ids=str,
)
def test_each_input_makes_another_image_under_another_tag(changed: dict[str, Any]) -> None:
    other = replace(INPUTS, **changed)
    assert other.digest != INPUTS.digest
    assert other.tag("production") != INPUTS.tag("production")


def test_inputs_that_came_later_leave_an_image_of_before_its_name() -> None:
    assert INPUTS.digest == "989fadd8f00829f2380afecbe1dd827717d544b0652982d15ad0091e9c878e98"


def test_another_source_of_a_secret_is_another_input_and_its_value_is_none() -> None:
    one, other = ({"npmrc": SecretSource(variable=name).name} for name in ("NPM_TOKEN", "NPM_TOKEN_OF_CI"))
    assert replace(INPUTS, secrets=one).digest != replace(INPUTS, secrets=other).digest


def test_the_order_of_build_arguments_makes_no_other_image() -> None:
    assert replace(INPUTS, build_args={"B": "2", "A": "1"}).digest == INPUTS.digest


def test_two_stages_never_meet_at_a_tag_and_each_names_version_and_inputs() -> None:
    staging, production = INPUTS.tag("staging"), INPUTS.tag("production")
    assert staging != production
    assert production == f"v1.4.0__production.{INPUTS.digest[:8]}"


IDENTIFIERS = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True).filter(
    lambda text: not any(part.isdigit() and part != "0" and part.startswith("0") for part in text.split("."))
)
VERSIONS = st.builds(
    lambda numbers, pre, build: (
        f"v{numbers[0]}.{numbers[1]}.{numbers[2]}" + (f"-{pre}" if pre else "") + (f"+{build}" if build else "")
    ),
    st.tuples(*[st.integers(0, 99)] * 3),
    st.none() | IDENTIFIERS,
    st.none() | IDENTIFIERS,
)
STAGES = st.sampled_from(["prod", "production", "staging", "a-b"])


@given(VERSIONS, VERSIONS, STAGES)
def test_no_version_has_the_tag_of_another_ones_image(built: str, version: str, stage: str) -> None:
    assert replace(INPUTS, version=built).tag(stage) != Version.parse(version).image_tag


@pytest.mark.parametrize("length", [10, 95, 96, 97, 128])
def test_a_tag_is_one_that_a_registry_takes_however_long_the_version_is(length: int) -> None:
    version = "v1.0.0-" + "a" * (length - 7)
    tag = replace(INPUTS, version=version).tag("a-stage-of-20-letters")
    assert re.fullmatch(r"v[\w.-]{0,127}", tag)
    assert tag != replace(INPUTS, version=version[:-1] + "b").tag("a-stage-of-20-letters")


def image(**facts: Any) -> PushedImage:
    return PushedImage(
        **{
            "tag": "t",
            "commit": COMMIT,
            "inputs": INPUTS.digest,
            "built": CONFIG,
            "digest": DIGEST,
            "at": NOON,
            **facts,
        }
    )


FOUND = RegistryImage(DIGEST, frozenset({DIGEST, CONFIG}), CONFIG)


@pytest.mark.parametrize(
    ("pushed", "found", "ours"),
    [
        pytest.param((), FOUND, False, id="nothing was pushed"),
        pytest.param((image(),), FOUND, True, id="the digest that was named"),
        pytest.param((image(digest=None),), FOUND, True, id="the answer was lost, the configuration is what was built"),
        pytest.param((image(built=OTHER),), FOUND, True, id="named by its digest alone"),
        pytest.param((image(built=OTHER, digest=None),), FOUND, False, id="meant to push, but another is there"),
        pytest.param((image(built=OTHER, digest=OTHER),), FOUND, False, id="another digest"),
        pytest.param((image(inputs="00" * 32),), FOUND, False, id="of other inputs"),
        pytest.param((image(commit="dead" * 10),), FOUND, False, id="of another commit"),
        pytest.param(
            (image(built=OTHER, digest=OTHER), image(digest=None)), FOUND, True, id="one of two tries at it arrived"
        ),
        pytest.param(
            (image(built=INDEX, digest=None),),
            RegistryImage(INDEX, frozenset({INDEX, CHILD, CONFIG}), CONFIG),
            True,
            id="an index as it was built",
        ),
        pytest.param(
            (image(built=CHILD, digest=None),),
            RegistryImage(INDEX, frozenset({INDEX, CHILD, CONFIG}), CONFIG),
            True,
            id="an index around what was built",
        ),
    ],
)
def test_an_image_is_ours_by_our_record_alone(
    pushed: tuple[PushedImage, ...], found: RegistryImage, ours: bool
) -> None:
    assert is_ours(found, pushed, INPUTS) is ours


# --- the record


RECORD = VersionRecord(environment="test", version="v1.4.0", commit=COMMIT)


def test_what_is_pushed_is_written_before_and_its_digest_after() -> None:
    intent = image(digest=None)
    meant = RECORD.about_to_push(intent)
    assert meant.images == (intent,)
    assert meant.about_to_push(image(digest=None, at=NOON + timedelta(1))) == meant, "the same again is the same"
    other = image(built=OTHER, digest=None)
    done = meant.about_to_push(other).pushed(intent, DIGEST)
    assert done.images == (image(), other)
    assert done.about_to_push(intent) == done, "a digest that is known is not forgotten"


def test_a_record_that_names_no_images_is_still_read() -> None:
    old = RECORD.model_dump_json(by_alias=True, exclude={"images"})
    assert VersionRecord.model_validate_json(old).images == ()


# --- what may go from the worker's disk


def local(tag: str, age: int, digest: str | None = None, repository: str = REPOSITORY) -> LocalImage:
    return LocalImage((f"{repository}:{tag}",), (f"{repository}@{digest}",) if digest else (), 1_000 - age)


def ours(version: str, age: int, digest: str | None = None) -> LocalImage:
    return local(f"{version}__test.12345678", age, digest)


def removed(images: list[LocalImage], keep: int = 1, needed: tuple[str, ...] = ()) -> list[str]:
    gone = removable(images, REPOSITORY, "test", keep=keep, needed=needed)
    return [tag.removeprefix(f"{REPOSITORY}:").partition("__")[0] for tag in gone]


def test_the_oldest_images_beyond_the_number_go() -> None:
    images = [ours("v1.0.0", 3), ours("v1.2.0", 1), ours("v1.1.0", 2), ours("v1.3.0", 0)]
    assert removed(images, keep=2) == ["v1.1.0", "v1.0.0"]
    assert removed(images, keep=4) == removed(images, keep=9) == []


def test_an_image_that_a_rollback_may_need_stays_however_old() -> None:
    images = [ours("v1.0.0", 3, DIGEST), ours("v1.1.0", 2, OTHER), ours("v1.2.0", 1, INDEX)]
    assert removed(images, needed=(DIGEST,)) == ["v1.1.0"]


@pytest.mark.parametrize(
    "foreign",
    [
        local("v0.1.0__production.12345678", 9),
        local("v0.1.0__test-2.12345678", 9),
        local("v0.1.0", 9),
        local("v0.1.0__test.12345678", 9, repository=f"{REPOSITORY}-admin"),
        local("22-alpine", 9, repository="node"),
        LocalImage((), (f"{REPOSITORY}@{OTHER}",), 0),
    ],
    ids=[
        "another stage's",
        "a longer stage's",
        "a plain version's",
        "another application's",
        "a base image",
        "untagged",
    ],
)
def test_what_is_not_this_environments_stays(foreign: LocalImage) -> None:
    assert removed([ours("v1.1.0", 0), foreign]) == []


def test_of_an_image_with_several_tags_only_ours_goes() -> None:
    both = LocalImage((f"{REPOSITORY}:v1.0.0__test.12345678", f"{REPOSITORY}:v1.0.0__production.87654321"), (), 1)
    assert removable([ours("v1.1.0", 0), both], REPOSITORY, "test", keep=1, needed=()) == (
        f"{REPOSITORY}:v1.0.0__test.12345678",
    )


def digest(n: int) -> str:
    return "sha256:" + f"{n:02d}" * 32


def was_live(n: int, hours: float) -> Any:
    one = live(f"v1.{n}.0")
    release = one.release.model_copy(update={"image": f"{REPOSITORY}@{digest(n)}"})
    return one.model_copy(update={"release": release, "since": NOON + timedelta(hours=hours)})


@pytest.mark.parametrize(
    ("since", "needed"),
    [
        pytest.param(9.0, {3}, id="only what is live"),
        pytest.param(3.0, {3, 2}, id="left at that very moment"),
        pytest.param(2.5, {3, 2}, id="live at the window's start"),
        pytest.param(1.0, {3, 2, 1}, id="all"),
    ],
)
def test_what_was_live_inside_the_window_is_needed(since: float, needed: set[int]) -> None:
    record = environment(live=was_live(3, 3), healthy=(was_live(1, 0), was_live(2, 2)))
    assert record.images_needed(NOON + timedelta(hours=since)) == {digest(n) for n in needed}
    assert environment().images_needed(NOON) == set()
