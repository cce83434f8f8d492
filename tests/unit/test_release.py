"""A release is version, image and configuration; its revision tells releases apart by these three and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import Refused
from core.release import Configuration, Release
from tests.unit.facts import COMMIT, configuration, release, settings_with

BASE = release("v1.0.0", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})


@pytest.mark.parametrize(
    ("why", "other"),
    [
        ("version", release("v1.0.1", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
        ("build metadata", release("v1.0.0+1", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
        (
            "image",
            release(
                "v1.0.0", digest="sha256:" + "cd" * 32, variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"}
            ),
        ),
        ("a variable's value", release("v1.0.0", variables={"A": "1", "B": "3"}, secrets={"KEY": "arn:key::"})),
        ("a variable's name", release("v1.0.0", variables={"A": "1", "C": "2"}, secrets={"KEY": "arn:key::"})),
        ("a variable less", release("v1.0.0", variables={"A": "1"}, secrets={"KEY": "arn:key::"})),
        ("two values swapped", release("v1.0.0", variables={"A": "2", "B": "1"}, secrets={"KEY": "arn:key::"})),
        ("a secret's name", release("v1.0.0", variables={"A": "1", "B": "2"}, secrets={"LOCK": "arn:key::"})),
        ("a secret's reference", release("v1.0.0", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:other::"})),
        ("cpu", release("v1.0.0", cpu=512, variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
        ("memory", release("v1.0.0", memory=1024, variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
        (
            "architecture",
            release("v1.0.0", cpu_architecture="ARM64", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"}),
        ),
        ("port", release("v1.0.0", container_port=80, variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
    ],
)
def test_another_version_image_or_configuration_is_another_revision(why: str, other: Release) -> None:
    assert other.revision != BASE.revision, why


@pytest.mark.parametrize(
    ("why", "other"),
    [
        ("the same again", release("v1.0.0", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"})),
        ("the order of names", release("v1.0.0", variables={"B": "2", "A": "1"}, secrets={"KEY": "arn:key::"})),
        ("the commit", BASE.model_copy(update={"commit": "0" * 40})),
        (
            "where it names itself",
            release("v1.0.0", variables={"A": "1", "B": "2"}, secrets={"KEY": "arn:key::"}, version_path="/version"),
        ),
        ("the registry's name", BASE.model_copy(update={"image": f"elsewhere/shop@{BASE.image_digest}"})),
    ],
)
def test_whatever_else_differs_is_the_same_revision(why: str, other: Release) -> None:
    assert other.revision == BASE.revision, why


def test_what_came_later_leaves_a_release_of_before_its_revision() -> None:
    assert BASE.revision == "e4eb682e2bad"
    of_before = BASE.model_dump(mode="json")
    del of_before["configuration"]["cpu_architecture"]
    again = Release.model_validate(of_before)
    assert (again.revision, again.platform) == (BASE.revision, "linux/amd64")


def test_the_image_s_platform_is_the_tasks_architecture() -> None:
    arm = Configuration.of(settings_with('[image]\nplatform = "linux/arm64"'), {})
    assert arm.cpu_architecture == "ARM64"
    assert BASE.model_copy(update={"configuration": arm}).platform == "linux/arm64"


def test_a_revision_is_twelve_hex_digits_and_survives_the_record() -> None:
    again = Release.model_validate_json(BASE.model_dump_json())
    assert again.revision == BASE.revision
    assert len(BASE.revision) == 12
    assert set(BASE.revision) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "image", ["repo:v1.0.0", "repo@sha256:abc", "repo@sha512:" + "ab" * 32, "repo@sha256:" + "AB" * 32, ""]
)
def test_an_image_is_known_by_its_digest_and_never_by_a_tag(image: str) -> None:
    with pytest.raises(ValidationError):
        Release(version="v1.0.0", commit=COMMIT, image=image, configuration=configuration())


def test_secrets_stand_in_a_configuration_by_reference() -> None:
    settings = settings_with(
        '[service.variables]\nLOG = "info"\n[service.secrets.DATABASE_URL]\nsecret = "team/shop"\nkey = "URL"\n'
    )
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/shop-AbCdEf"
    made = Configuration.of(settings, {"team/shop": arn})
    assert made.secrets == {"DATABASE_URL": f"{arn}:URL::"}
    assert made.variables == {"LOG": "info"}


@pytest.mark.parametrize("more", ['[migration]\ncommand = ["true"]', "[approval]\nrequired = false", ""])
def test_a_setting_that_no_container_sees_leaves_the_configuration_as_it_is(more: str) -> None:
    facts: dict[str, Any] = {}
    assert Configuration.of(settings_with(more), facts).digest == Configuration.of(settings_with(), facts).digest


@pytest.mark.parametrize(
    ("more", "recorded"),
    [("", "/version"), ('[traffic]\nversion_path = "/v"\n', "/v"), ("[traffic]\n#version_path\n", "")],
)
def test_a_release_records_where_it_names_itself_or_that_it_does_not(more: str, recorded: str) -> None:
    assert Configuration.of(settings_with(more), {}).version_path == recorded


def test_a_secret_that_the_environment_was_not_provisioned_with_is_refused_by_name() -> None:
    settings = settings_with('[service.secrets.KEY]\nsecret = "team/other"\nkey = "k"\n')
    with pytest.raises(Refused, match=r"test was not provisioned with the secrets team/other.*provision/test"):
        Configuration.of(settings, {"team/shop": "arn"})


def test_several_secrets_that_are_missing_are_all_named_with_the_reason() -> None:
    settings = settings_with(
        '[service.secrets.A]\nsecret = "team/b"\nkey = "k"\n[service.secrets.B]\nsecret = "team/a"\nkey = "k"\n'
    )
    with pytest.raises(Refused, match="with the secrets team/a, team/b: ") as refusal:
        Configuration.of(settings, {})
    assert "execution role" in refusal.value.why


def test_what_the_load_balancer_asks_stands_in_the_configuration_and_makes_no_other_one() -> None:
    asked = Configuration.of(settings_with().model_copy(), {})
    assert asked.health_check_path == settings_with().service.health_check_path
    assert asked.digest == asked.model_copy(update={"health_check_path": "/other"}).digest
