"""Looks through an image on the engine, its configuration, history and every file of its layers, for texts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from systems.docker import DockerHost, engine_errors

__all__ = ["Found", "find_texts"]

_PART = 1024 * 1024

_PACKING = 900.0
"""Seconds that the engine may take to its first byte: it writes out all layers before, several GB of some images."""

Found = tuple[str, str]
"""What was found, by its name, and where: a file of a layer, or the image's configuration."""


def find_texts(host: DockerHost, image: str, texts: Mapping[str, Iterable[str]]) -> tuple[Found, ...]:
    """Return where an image holds one of the texts of a name, each place once; nothing of the texts is in the answer.

    The whole image is read, as `docker image save` gives it: about a second for 150 MB. Raises `Permanent` or
    `Transient` where the engine does not give it.
    """
    needles = {name: tuple(text.encode() for text in wanted) for name, wanted in texts.items()}
    with engine_errors(host, f"{image} could not be looked through") as client:
        client.api.timeout = _PACKING
        parts: Iterator[bytes] = client.api.get_image(image)
        found = list(_in_archive(_stream(parts), needles, "the image's configuration or history"))
    return tuple(dict.fromkeys(found))


def _in_archive(stream: IO[bytes], needles: Mapping[str, tuple[bytes, ...]], outside: str) -> Iterator[Found]:
    """Look through an archive; what is an archive in it is a layer, and all else is `outside` of one."""
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            head = content.read(_PART)
            whole = _stream(_rest(head, content))
            if _is_layer(head):
                yield from _in_layer(whole, needles)
            else:
                yield from ((name, outside) for name in sorted(_named_in(whole, needles)))


def _in_layer(stream: IO[bytes], needles: Mapping[str, tuple[bytes, ...]]) -> Iterator[Found]:
    with tarfile.open(fileobj=stream, mode="r|*") as layer:
        for member in layer:
            path = f"/{member.name}"
            named = f"{member.name}\0{member.linkname}".encode(errors="surrogateescape")
            yield from ((name, path) for name in sorted(_named_in(io.BytesIO(named), needles)))
            content = layer.extractfile(member) if member.isfile() else None
            if content is not None:
                yield from ((name, path) for name in sorted(_named_in(content, needles)))


def _named_in(content: IO[bytes], needles: Mapping[str, tuple[bytes, ...]]) -> set[str]:
    """Return the names whose texts a stream holds; two parts of it overlap by the longest text."""
    overlap = max((len(text) for wanted in needles.values() for text in wanted), default=1) - 1
    found: set[str] = set()
    tail = b""
    while part := content.read(_PART):
        window = tail + part
        found |= {name for name, wanted in needles.items() if any(text in window for text in wanted)}
        tail = window[-overlap:] if overlap else b""
    return found


def _is_layer(head: bytes) -> bool:
    """Whether a file begins like an archive: a plain one, or one that gzip packed."""
    return head[257:262] == b"ustar" or head[:2] == b"\x1f\x8b"


def _rest(head: bytes, content: IO[bytes]) -> Iterator[bytes]:
    yield head
    while part := content.read(_PART):
        yield part


class _Parts(io.RawIOBase):
    """Parts that arrive one after the other, to be read once."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._left = parts, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what is next; return how many bytes that was, none at the end."""
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = memoryview(part)
        into = memoryview(buffer)
        length = min(len(into), len(self._left))
        into[:length], self._left = self._left[:length], self._left[length:]
        return length


def _stream(parts: Iterator[bytes]) -> IO[bytes]:
    return io.BufferedReader(_Parts(parts), _PART)
