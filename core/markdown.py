"""Tables for people in Prefect's UI: foreign text appears in their cells as text, never as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["Markdown", "cell", "code", "table"]

_MEANS_SOMETHING = re.compile(r"([\\`*\[\]<>|#~!])")
# GitHub's Markdown makes links of bare addresses too: https://github.github.com/gfm/#autolinks-extension-
_LINKS_ITSELF = re.compile(r"(://|\bwww\.)", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown, of our own making."""


def code(text: str) -> Markdown:
    """Return text as code; what would end it is left out."""
    kept = _on_one_line(text).replace("`", "").replace("|", "")
    return Markdown(f"`{kept}`" if kept else "")


def cell(text: str) -> str:
    """Return text as a table's cell shows it: on one line, with nothing in it that formats, links or ends the cell."""
    if isinstance(text, Markdown):
        return text
    escaped = _MEANS_SOMETHING.sub(r"\\\1", _on_one_line(text))
    return _LINKS_ITSELF.sub(lambda found: found.group().replace("/", r"\/").replace(".", r"\."), escaped)


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ("", ""), numbers: Sequence[int] = ()) -> str:
    """Return a Markdown table; the columns whose positions are in `numbers` are right-aligned."""
    ruler = "".join("---:|" if place in numbers else "---|" for place, _ in enumerate(head))
    return "\n".join([_row(head), f"|{ruler}", *map(_row, rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def _on_one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
