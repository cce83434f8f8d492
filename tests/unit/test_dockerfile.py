"""Which images a Dockerfile builds on, and which of them may be another one tomorrow."""

from __future__ import annotations

import pytest

from core.dockerfile import base_images, mounted_ids, refuse_missing_mounts, runs_on_target, unpinned
from core.errors import Refused
from core.image_settings import Image

PINNED = "node:22-alpine@sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("dockerfile", "given", "images"),
    [
        pytest.param("FROM node:22\n", {}, ["node:22"], id="one"),
        pytest.param(
            "# a comment\n\nfrom node:22 as base\nFROM base\nRUN x\n", {}, ["node:22"], id="a stage of its own"
        ),
        pytest.param("FROM scratch\nCOPY . /\n", {}, [], id="nothing"),
        pytest.param("FROM --platform=linux/amd64 node:22 AS a\n", {}, ["node:22"], id="a platform"),
        pytest.param(
            "FROM a:1 AS x\nFROM b:2\nCOPY --from=x /a /b\nCOPY --from=0 /a /b\n", {}, ["a:1", "b:2"], id="stages"
        ),
        pytest.param("FROM a:1\nCOPY --chown=1 --from=busybox:1 /a /b\n", {}, ["a:1", "busybox:1"], id="copied from"),
        pytest.param(
            "FROM a:1\nRUN --mount=type=bind,from=b:2,target=/x make\n", {}, ["a:1", "b:2"], id="mounted from"
        ),
        pytest.param("ARG BASE=node:22\nFROM ${BASE}\n", {}, ["node:22"], id="an argument's default"),
        pytest.param("ARG BASE=node:22\nFROM ${BASE}\n", {"BASE": PINNED}, [PINNED], id="an argument that is given"),
        pytest.param('ARG V=22 BASE="node:$V"\nFROM $BASE\n', {}, ["node:22"], id="arguments of arguments"),
        pytest.param("FROM ${BASE:-node:22}\n", {}, ["node:22"], id="a default in its place"),
        pytest.param("ARG T\nFROM node${T:+:}${T:+22}\n", {"T": "y"}, ["node:22"], id="a word where there is a value"),
        pytest.param("ARG BASE\nFROM $BASE\n", {}, [], id="no value"),
        pytest.param("FROM a:1\nARG BASE=b:2\nFROM ${BASE}\n", {}, ["a:1"], id="an argument of a stage"),
        pytest.param("FROM \\\n  # why\n  a:1 \\\n  AS x\nFROM x\n", {}, ["a:1"], id="several lines"),
        pytest.param("# escape=`\nFROM a:1 `\n AS x\nFROM x\n", {}, ["a:1"], id="another escape"),
    ],
)
def test_the_images_that_a_dockerfile_takes_from_elsewhere(
    dockerfile: str, given: dict[str, str], images: list[str]
) -> None:
    assert list(base_images(dockerfile, given)) == images


@pytest.mark.parametrize(
    ("dockerfile", "left"),
    [
        (f"FROM {PINNED}\n", []),
        (f"FROM {PINNED} AS a\nFROM node:22\nCOPY --from=node:22 /x /y\n", ["node:22"]),
        ("FROM node@sha256:abc\n", ["node@sha256:abc"]),
        (f"# syntax=docker/dockerfile:1\nFROM {PINNED}\n", ["docker/dockerfile:1"]),
        (f"FROM {PINNED}\n# syntax=docker/dockerfile:1\n", []),
    ],
)
def test_only_a_digest_means_the_same_image_for_ever(dockerfile: str, left: list[str]) -> None:
    assert list(unpinned(dockerfile, {})) == left


@pytest.mark.parametrize(
    ("dockerfile", "secrets", "agents"),
    [
        ("FROM a:1\nRUN npm ci\n", {}, {}),
        ("FROM a:1\nRUN --mount=type=secret,id=npmrc npm ci\n", {"npmrc": False}, {}),
        ("FROM a:1\nRUN --mount=type=secret,id=npmrc,target=/r,required=true npm ci\n", {"npmrc": True}, {}),
        ("FROM a:1\nRUN --mount=type=secret,id=npmrc,required npm ci\n", {"npmrc": True}, {}),
        ("FROM a:1\nrun --network=none --mount=id=k,type=secret,env=K x\n", {"k": False}, {}),
        ("FROM a:1\nRUN --mount=type=secret,target=/root/.npmrc npm ci\n", {".npmrc": False}, {}),
        (
            "FROM a:1\nRUN --mount=type=secret,id=a \\\n  --mount=type=ssh,required=true x\n",
            {"a": False},
            {"default": True},
        ),
        (
            "FROM a:1\nRUN --mount=type=ssh,id=github x\nRUN --mount=type=secret,id=a,required=1 x\n",
            {"a": True},
            {"github": False},
        ),
        ("FROM a:1\nRUN --mount=type=cache,id=a,target=/c x\nRUN echo a--mount=type=secret,id=b\n", {}, {}),
        ("FROM a:1\n# RUN --mount=type=secret,id=a x\nCOPY --link a b\n", {}, {}),
    ],
)
def test_what_a_dockerfile_mounts_and_whether_it_must(
    dockerfile: str, secrets: dict[str, bool], agents: dict[str, bool]
) -> None:
    assert mounted_ids(dockerfile, "secret") == secrets
    assert mounted_ids(dockerfile, "ssh") == agents


NOWHERE = "which no RUN step of Dockerfile mounts"
NPMRC = {"npmrc": {"variable": "NPM_TOKEN"}}


@pytest.mark.parametrize(
    ("mount", "image", "refused"),
    [
        ("type=secret,id=npmrc,required=true", {}, "the secret mount npmrc"),
        ("type=ssh,required=true", {"secrets": NPMRC}, "the ssh mount default"),
    ],
)
def test_a_mount_that_a_step_requires_is_refused_where_the_settings_lack_it(
    mount: str, image: dict[str, object], refused: str
) -> None:
    with pytest.raises(Refused, match=refused):
        refuse_missing_mounts(f"FROM a:1\nRUN --mount={mount} x\n", Image.model_validate(image))


@pytest.mark.parametrize(
    ("mount", "image", "said"),
    [
        ("type=secret,id=npmrc,required=true", {"secrets": NPMRC}, []),
        ("type=secret,id=npmrc", {}, ["Dockerfile mounts the secret npmrc, which [image.secrets] lacks"]),
        (
            "type=cache,target=/c",
            {"secrets": NPMRC},
            ["[image.secrets] names npmrc, which no RUN step of Dockerfile mounts"],
        ),
        ("type=ssh", {"ssh": {"default": "agent"}}, []),
        ("type=cache,target=/c", {"ssh": {"x": "/k"}}, [f"[image.ssh] names x, {NOWHERE}"]),
    ],
)
def test_where_mounts_and_settings_do_not_meet_it_is_said(
    mount: str, image: dict[str, object], said: list[str]
) -> None:
    assert list(refuse_missing_mounts(f"FROM a:1\nRUN --mount={mount} x\n", Image.model_validate(image))) == said


CROSS = "FROM --platform=$BUILDPLATFORM go:1 AS build\nRUN go build\nFROM build AS test\nRUN go test\nFROM scratch\n"


@pytest.mark.parametrize(
    ("dockerfile", "runs"),
    [
        ("FROM a:1\nRUN x\n", True),
        ("FROM a:1\nCOPY a b\n", False),
        (CROSS, False),
        (CROSS + "RUN x\n", True),
        (CROSS + "COPY --from=build /x /x\n", False),
        ("FROM --platform=linux/arm64 a:1\nRUN x\n", True),
        ("from --platform=${BUILDPLATFORM} a:1\nrun x\n", False),
    ],
)
def test_a_cross_compiling_dockerfile_runs_nothing_on_its_target(dockerfile: str, runs: bool) -> None:
    assert runs_on_target(dockerfile) is runs


def test_of_several_targets_a_step_that_requires_a_mount_may_be_another_s() -> None:
    text = "FROM a:1 AS dev\nRUN --mount=type=secret,id=dev,required=true x\nFROM a:1 AS prod\nRUN y\n"
    said = refuse_missing_mounts(text, Image.model_validate({"target": "prod"}))
    assert said == ("Dockerfile mounts the secret dev, which [image.secrets] lacks",)
