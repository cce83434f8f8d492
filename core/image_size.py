"""How large an image is, layer by layer: packed, as the registry stores it and each start of a task pulls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.markdown import code, table

__all__ = ["ImageSize", "Layer", "growth_warning", "layers_of", "shown_bytes"]

_SHOWN = 200


@dataclass(frozen=True)
class Layer:
    """One layer: its digest, its packed bytes, and the step that made it, as the image's history says."""

    digest: str
    size: int
    made_by: str


@dataclass(frozen=True)
class ImageSize:
    """An image's layers, from the first."""

    layers: tuple[Layer, ...]

    @property
    def total(self) -> int:
        """All layers together, in bytes."""
        return sum(layer.size for layer in self.layers)

    def describe(self, title: str, before: ImageSize | None) -> str:
        """Return it in Markdown, the largest layers first; layers that `before` has too are not pulled again."""
        known = {layer.digest for layer in before.layers} if before else set()
        rows = [
            (shown_bytes(layer.size), "" if layer.digest in known else "new", code(layer.made_by[:_SHOWN]))
            for layer in sorted(self.layers, key=lambda layer: layer.size, reverse=True)
        ]
        new = sum(layer.size for layer in self.layers if layer.digest not in known)
        said = f"{shown_bytes(self.total)} in {len(self.layers)} layers"
        compared = (
            f", {_signed(self.total - before.total)} than what is live; {shown_bytes(new)} are new" if before else ""
        )
        return f"# {title}\n\n{said}{compared}, packed.\n\n{table(rows, ('size', '', 'made by'), numbers=(0,))}"


def layers_of(manifest: Mapping[str, Any], configuration: Mapping[str, Any]) -> ImageSize:
    """Return the layers that an image's manifest lists, with what its configuration's history says of them.

    History entries that made no layer are marked: https://github.com/opencontainers/image-spec/blob/main/config.md
    """
    history: Sequence[Mapping[str, Any]] = configuration.get("history") or ()
    made = [str(entry.get("created_by") or "") for entry in history if not entry.get("empty_layer")]
    listed: Sequence[Mapping[str, Any]] = manifest.get("layers") or ()
    # A history that does not fit tells nothing of any layer.
    said: Iterable[str] = made if len(made) == len(listed) else [""] * len(listed)
    return ImageSize(
        tuple(
            Layer(str(layer.get("digest", "")), int(layer.get("size", 0)), by)
            for layer, by in zip(listed, said, strict=True)
        )
    )


def growth_warning(now: ImageSize, before: ImageSize | None, limit: int) -> str | None:
    """Return a warning where an image is larger than the one before it by more than `limit` bytes."""
    if before is None or now.total - before.total <= limit:
        return None
    known = {layer.digest for layer in before.layers}
    new = [layer for layer in now.layers if layer.digest not in known]
    largest = max(new, key=lambda layer: layer.size, default=None)
    by = (
        f", most of it by {largest.made_by[:_SHOWN]!r} ({shown_bytes(largest.size)})"
        if largest and largest.made_by
        else ""
    )
    return (
        f"the image grew from {shown_bytes(before.total)} to {shown_bytes(now.total)}, by more than "
        f"{shown_bytes(limit)}{by}: each start of a task pulls it"
    )


def shown_bytes(size: int) -> str:
    """Return bytes in decimal units, as docker says them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(size) >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _signed(difference: int) -> str:
    return f"{shown_bytes(abs(difference))} {'more' if difference >= 0 else 'less'}"
