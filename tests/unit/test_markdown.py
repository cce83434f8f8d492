"""Foreign text in a table stays text."""

from __future__ import annotations

import pytest

from core.markdown import Markdown, cell, code, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3 migrations", "3 migrations"),
        ("20260501090000_add_organiser", "20260501090000_add_organiser"),
        ("a | b", r"a \| b"),
        ("a\\| b", r"a\\\| b"),
        ("a\n| b\r\n", r"a \| b"),
        ("[approved](https://evil.example.com)", r"\[approved\](https:\/\/evil.example.com)"),
        ("https://evil.example.com", r"https:\/\/evil.example.com"),
        ("www.evil.example.com", r"www\.evil.example.com"),
        ("<b>**x**</b>", r"\<b\>\*\*x\*\*\</b\>"),
        ("`x` # y", r"\`x\` \# y"),
        ("right\u202eto left\u0000", "right to left"),
        (Markdown("[ours](https://example.com)"), "[ours](https://example.com)"),
    ],
)
def test_a_cell_shows_text_as_it_is(text: str, shown: str) -> None:
    assert cell(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("c0ffee", "`c0ffee`"), ("a`|`b\nc", "`ab c`"), ("", "")])
def test_code_cannot_be_ended_from_within(text: str, shown: str) -> None:
    assert cell(code(text)) == shown


def test_a_table_has_as_many_rows_as_it_was_given() -> None:
    rows = [("001 |\n| commit | `x` |\n\n[ok](https://evil)", "1.0")]
    made = table(rows, head=("what", "seconds"), numbers=(1,))
    assert made == (
        "| what | seconds |\n|---|---:|\n| 001 \\| \\| commit \\| \\`x\\` \\| \\[ok\\](https:\\/\\/evil) | 1.0 |\n"
    )
