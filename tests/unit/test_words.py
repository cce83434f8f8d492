"""Words for people."""

from __future__ import annotations

import pytest

from core.words import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_one_thing_is_said_in_the_singular(number: int, said: str) -> None:
    assert counted(number, "task") == said
