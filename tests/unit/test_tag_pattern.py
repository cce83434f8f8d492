"""Which tags are an environment's versions, and how tag and version name each other."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.image import ImageInputs
from core.tag_pattern import TagPattern, fault_of_pattern
from core.version import Version
from tests.unit.facts import settings_with


@pytest.mark.parametrize(
    ("pattern", "tag", "version"),
    [
        ("v*", "v1.2.3", "v1.2.3"),
        ("v*", "v1.2.3-rc.1+5", "v1.2.3-rc.1+5"),
        ("api/v*", "api/v1.2.3", "v1.2.3"),
        ("api-v*", "api-v1.2.3", "v1.2.3"),
        ("@acme/api@*", "@acme/api@1.2.3", "v1.2.3"),
        ("release-*", "release-1.2.3", "v1.2.3"),
        ("*-rc.*", "v1.2.3-rc.4", "v1.2.3-rc.4"),
        ("api/v*-rc.*", "api/v1.2.3-rc.4", "v1.2.3-rc.4"),
        ("v1.*", "v1.2.3", "v1.2.3"),
        ("api/v1.2.*", "api/v1.2.3", "v1.2.3"),
        ("1.*", "1.2.3", "v1.2.3"),
        ("api-1.*", "api-1.2.3", "v1.2.3"),
    ],
)
def test_a_tag_and_its_version_name_each_other(pattern: str, tag: str, version: str) -> None:
    found = TagPattern(pattern)
    assert found.version_of(tag) == Version.parse(version)
    assert found.tag_of(Version.parse(version)) == tag
    assert found.version_of(version) == Version.parse(version), "a human may leave the prefix out"


@pytest.mark.parametrize(
    ("pattern", "tag"),
    [
        ("v*", "1.2.3"),
        ("v*", "v1.2"),
        ("v*", "vnext"),
        ("api/v*", "web/v1.2.3"),
        ("api/v*", "api/1.2.3"),
        ("api/v*", "api/v1.2"),
        ("api/v*", "api/v1.2.3/x"),
        ("api/v*", "api/vv1.2.3"),
        ("@acme/api@*", "@acme/api@v1.2.3"),
        ("*-rc.*", "v1.2.3"),
        ("*-rc.*", "v1.2.3-beta.1"),
        ("v1.*", "v2.0.0"),
    ],
)
def test_what_is_no_version_here_is_refused(pattern: str, tag: str) -> None:
    with pytest.raises(Refused):
        TagPattern(pattern).version_of(tag)


def test_a_version_that_does_not_fit_is_told_its_tag() -> None:
    with pytest.raises(Refused, match=r"its tag would be v2\.0\.0, and source\.tag_pattern is v1\.\*"):
        TagPattern("v1.*").version_of("v2.0.0")


def test_no_prefix_comes_into_the_name_of_an_image() -> None:
    version = TagPattern("api/v*").version_of("api/v1.2.3+4")
    inputs = ImageInputs(version.tag, "c0ffee", "Dockerfile", "ab", ".", None, {})
    assert inputs.tag("test").startswith("v1.2.3_4__test.")


@pytest.mark.parametrize(
    "pattern", ["", "v1.0.0", "v *", "v~*", "v[0-9]*", "v?*", "/v*", "-v*", "a..b/v*", "a//v*", "a@{v*", "a" * 65 + "*"]
)
def test_a_pattern_that_no_tag_fits_is_refused(pattern: str) -> None:
    with pytest.raises(Refused, match=r"source\.tag_pattern"):
        settings_with(github_repository=f'"team/shop"\ntag_pattern = "{pattern}"')


def test_a_pattern_of_pre_releases_needs_an_environment_that_takes_them() -> None:
    pattern = {"github_repository": '"team/shop"\ntag_pattern = "*-rc.*"'}
    with pytest.raises(Refused, match="fits pre-releases alone"):
        settings_with(**pattern)
    assert settings_with(state_bucket='"team-shop-state"\nprereleases = true', **pattern).source.tags.only_prereleases


@pytest.mark.parametrize("text", ["v1*", "api/v12*", "v1.2*"])
def test_a_star_inside_a_number_is_no_pattern(text: str) -> None:
    fault = fault_of_pattern(text)
    assert fault is not None
    assert f"write {text[:-1]}.*" in fault
