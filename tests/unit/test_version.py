"""A version is a tag: strict SemVer 2.0 with a leading v, ordered by precedence, and a registry can hold its name."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refused
from core.version import Version

IDENTIFIERS = st.from_regex(r"\A[0-9A-Za-z-]{1,6}\Z").filter(lambda i: not (i.isdigit() and len(i) > 1 and i[0] == "0"))
DOTTED = st.lists(IDENTIFIERS, min_size=1, max_size=3).map(".".join)
NUMBERS = st.integers(0, 3)
VERSIONS = st.builds(
    lambda core, pre, build: Version.parse(
        "v" + ".".join(map(str, core)) + (f"-{pre}" if pre else "") + (f"+{build}" if build else "")
    ),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.none() | DOTTED,
    st.none() | DOTTED,
)


@pytest.mark.parametrize(
    "tag",
    [
        "v0.0.0",
        "v1.4.0",
        "v10.20.30",
        "v99999999999999999999.0.0",
        "v1.0.0-rc.1",
        "v1.0.0-alpha",
        "v1.0.0-0A.is.legal",
        "v1.0.0--.-",
        "v1.0.0-alpha+001",
        "v1.0.0+20260301.sha-5114f85",
        "v1.0.0+0.build.1-rc.10000aaa-kk-0.1",
    ],
)
def test_a_tag_of_strict_semver_with_a_leading_v_is_a_version(tag: str) -> None:
    assert str(Version.parse(tag)) == tag


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "v",
        "1.4.0",
        "V1.4.0",
        "vv1.4.0",
        "v1",
        "v1.4",
        "v1.4.0.1",
        "v01.4.0",
        "v1.04.0",
        "v1.4.00",
        "v1.4.0-",
        "v1.4.0-01",
        "v1.4.0-rc..1",
        "v1.4.0-rc_1",
        "v1.4.0+",
        "v1.4.0+a+b",
        "v-1.4.0",
        "v1.4.x",
        "v 1.4.0",
        " v1.4.0",
        "v1.4.0 ",
        "v1.4.0\n",
        "v1.4.0\r",
        "v١.4.0",
        "v1.4.0-é",
        "release-1.4.0",
        "v1.4.0/../v1.3.0",
    ],
)
def test_anything_else_is_refused_by_name(tag: str) -> None:
    with pytest.raises(Refused, match="is not a valid version tag") as refusal:
        Version.parse(tag)
    assert repr(tag) in refusal.value.what
    assert "strict SemVer 2.0" in refusal.value.why
    assert refusal.value.do


@pytest.mark.parametrize(("length", "fits"), [(127, True), (128, True), (129, False)])
def test_a_tag_is_no_longer_than_an_image_tag(length: int, fits: bool) -> None:
    tag = "v1.0.0-" + "a" * (length - len("v1.0.0-"))
    if fits:
        assert Version.parse(tag).image_tag == tag
    else:
        with pytest.raises(Refused, match="too long: an image tag has at most 128 characters, and this one has 129"):
            Version.parse(tag)


# https://semver.org/#spec-item-11
ASCENDING = (
    "v0.9.9",
    "v1.0.0-0",
    "v1.0.0-1",
    "v1.0.0-alpha",
    "v1.0.0-alpha.1",
    "v1.0.0-alpha.beta",
    "v1.0.0-beta",
    "v1.0.0-beta.2",
    "v1.0.0-beta.11",
    "v1.0.0-rc.1",
    "v1.0.0",
    "v1.0.1",
    "v1.2.0",
    "v1.10.0",
    "v2.0.0",
)


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ASCENDING)))
def test_versions_are_ordered_by_semver_precedence(older: str, newer: str) -> None:
    a, b = Version.parse(older), Version.parse(newer)
    assert a < b
    assert a <= b
    assert b > a
    assert b >= a
    assert a != b
    assert max(a, b) == b


@pytest.mark.parametrize(
    ("one", "other"),
    [("v1.0.0+a", "v1.0.0+b"), ("v1.0.0", "v1.0.0+a"), ("v1.0.0-rc.1+1", "v1.0.0-rc.1+2")],
)
def test_build_metadata_makes_another_version_that_is_neither_older_nor_newer(one: str, other: str) -> None:
    a, b = Version.parse(one), Version.parse(other)
    assert a != b
    assert not a < b
    assert not b < a
    assert not a > b
    assert not b > a
    assert a <= b <= a
    assert a >= b >= a


@given(VERSIONS, VERSIONS)
def test_of_two_versions_at_most_one_is_the_newer(a: Version, b: Version) -> None:
    assert not (a > b and b > a)
    assert not (a > b and a < b)


@given(VERSIONS, VERSIONS)
def test_two_versions_never_share_an_image_tag(a: Version, b: Version) -> None:
    assert (a.image_tag == b.image_tag) == (a == b)


def test_an_image_tag_holds_an_underscore_where_the_version_has_a_plus() -> None:
    assert Version.parse("v1.0.0-rc.1+build.7").image_tag == "v1.0.0-rc.1_build.7"
