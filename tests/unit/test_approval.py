"""What a human reads before deciding, and after: the release's facts, and no Markdown of the repository's making."""

from __future__ import annotations

import pytest

from operation.operation import Operation
from tasks.approval import describe_candidate

EVIL = "001 |\n| commit | `0000` |\n\n[Security has approved this](https://evil.example.com)"


@pytest.mark.parametrize("step", ["migrate", "plan"])
def test_foreign_text_in_the_form_stays_text_in_its_cell(operation: Operation, step: str) -> None:
    with operation.journal.step(step, "say something", writes=False) as made:
        made.done(EVIL)
    operation.journal.change(lambda a: a.judged((EVIL,)).planned("ab" * 32, None))
    form = describe_candidate(operation)
    rows = [line for line in form.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 8 + 2 + 1
    assert sum("commit" in row and row.startswith("| commit |") for row in rows) == 1
    assert "](" not in form.replace("\\](", "")
    assert "https://evil" not in form


def test_the_form_tells_the_release_and_where_to_look_at_it(operation: Operation) -> None:
    form = describe_candidate(operation)
    release = operation.release
    assert form.startswith("# v1.1.0 → test\n")
    for row in (
        "| live now | v1.0.0 |",
        f"| commit | `{release.commit}` |",
        f"| image | `{release.image_digest}` |",
        "| candidate | http://shop-test.example.com:8082 (green) |",
    ):
        assert row in form.splitlines()
