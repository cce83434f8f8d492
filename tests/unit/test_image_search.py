"""Texts are found in an image wherever they are: in a plain or a packed layer, in its configuration, across parts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker.errors
import pytest

from core.errors import Transient
from systems.image_search import find_texts

KEY = "a-key-of-some-length"


def archive(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as made:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return written.getvalue()


class Engine:
    """An engine whose one image comes in parts of `size` bytes."""

    def __init__(self, content: bytes, size: int, breaks: Exception | None = None) -> None:
        self.content, self.size, self.breaks = content, size, breaks

    @property
    def api(self) -> Engine:
        return self

    @contextmanager
    def get_client(self) -> Iterator[Engine]:
        yield self

    def get_image(self, image: str) -> Iterator[bytes]:
        assert image == "sha256:1"
        for start in range(0, len(self.content), self.size):
            yield self.content[start : start + self.size]
        if self.breaks:
            raise self.breaks


def looked(files: Mapping[str, bytes], size: int = 1000, **texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    host: Any = Engine(archive(files), size)
    return find_texts(host, "sha256:1", texts or {"npmrc": (KEY,)})


BIG = b"x" * (1024 * 1024 - 5) + KEY.encode() + b"y" * 100
OUTSIDE = "the image's configuration or history"


@pytest.mark.parametrize("size", [1, 1000, 10**7])
@pytest.mark.parametrize(
    ("files", "places"),
    [
        ({"a/layer.tar": archive({"root/.npmrc": f"t={KEY}".encode()}), "m.json": b"{}"}, ["/root/.npmrc"]),
        ({"blobs/sha256/ab": archive({"b": KEY.encode()}, "w:gz")}, ["/b"]),
        ({"a/layer.tar": archive({"a": b"x", f"of/{KEY}": b""})}, [f"/of/{KEY}"]),
        ({"c.json": f'{{"Env": ["T={KEY}"]}}'.encode()}, [OUTSIDE]),
        ({"a/layer.tar": archive({"a": b"nothing"}), "c.json": b"{}"}, []),
        ({"a/layer.tar": archive({"a": KEY[:-1].encode(), "b": KEY[-1:].encode()})}, []),
        ({"a/layer.tar": archive({})}, []),
    ],
)
def test_each_place_is_named(files: dict[str, bytes], places: list[str], size: int) -> None:
    assert [place for _, place in looked(files, size)] == places


def test_a_text_across_two_parts_of_a_file_is_found() -> None:
    assert looked({"a/layer.tar": archive({"big": BIG})}, size=700_001) == (("npmrc", "/big"),)


def test_each_name_has_texts_of_its_own_and_a_place_is_said_once() -> None:
    files = {"a/layer.tar": archive({"f": b"one two one"})}
    assert looked(files, a=("one", "two"), b=("two",), c=("three",)) == (("a", "/f"), ("b", "/f"))


def test_an_engine_that_breaks_off_is_no_proof() -> None:
    host: Any = Engine(archive({"a": b"x"}), 100, docker.errors.DockerException("reset"))
    with pytest.raises(Transient, match="could not be looked through"):
        find_texts(host, "sha256:1", {"npmrc": (KEY,)})
