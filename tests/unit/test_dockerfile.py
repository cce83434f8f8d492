"""Which images a Dockerfile builds on, and which of them may be another one tomorrow."""

from __future__ import annotations

import pytest

from core.dockerfile import base_images, unpinned

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
