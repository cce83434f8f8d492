"""Alembic's graph: in order, with one head, and what a table of heads says is applied."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.revisions import Revision, applied_by, in_order, parse_revision

A, B, C = Revision("a", ()), Revision("b", ("a",)), Revision("c", ("b",))
D_OF_B, MERGE = Revision("d", ("b",)), Revision("m", ("c", "d"))
BRANCHED = (MERGE, D_OF_B, C, B, A)


@pytest.mark.parametrize(
    ("rule", "revisions", "ordered"),
    [
        ("none", (), ()),
        ("one", (A,), ("a",)),
        ("by what each goes on from, and not by name", (Revision("0", ("z",)), Revision("z", ())), ("z", "0")),
        ("a branch that is merged", BRANCHED, ("a", "b", "c", "d", "m")),
        ("two bases that are merged", (Revision("y", ()), A, Revision("m", ("a", "y"))), ("a", "y", "m")),
        (
            "a dependency comes first",
            (Revision("a", ()), Revision("b", ("a",), ("x",)), Revision("x", ("a",)), Revision("m", ("b", "x"))),
            ("a", "x", "b", "m"),
        ),
        (
            "a dependency by its branch's label",
            (Revision("x", (), (), ("lib",)), Revision("b", (), ("lib",)), Revision("m", ("b", "x"))),
            ("x", "b", "m"),
        ),
    ],
)
def test_revisions_are_ordered_by_their_graph(
    rule: str, revisions: tuple[Revision, ...], ordered: tuple[str, ...]
) -> None:
    assert in_order(revisions) == ordered, rule
    assert in_order(tuple(reversed(revisions))) == ordered, rule


@pytest.mark.parametrize(
    ("revisions", "what", "named"),
    [
        ((A, B, Revision("x", ("a",))), "The revisions have 2 heads: b, x", "alembic merge b x"),
        ((A, Revision("x", ())), "The revisions have 2 heads: a, x", "alembic merge a x"),
        ((A, B, Revision("b", ("a",))), "The revision b exists twice", "Rename"),
        ((C, A), "The revision c goes on from b, which is not in the repository", "Commit"),
        ((Revision("a", (), ("x",)),), "The revision a goes on from x, which is not in the repository", "whole id"),
        ((Revision("a", ("b",)), Revision("b", ("a",))), "The revisions go round in a circle", "down_revision"),
    ],
)
def test_a_graph_that_alembic_cannot_upgrade_is_refused_by_name(
    revisions: tuple[Revision, ...], what: str, named: str
) -> None:
    with pytest.raises(Refused) as refusal:
        in_order(revisions)
    assert refusal.value.what == what
    assert named in refusal.value.do
    assert refusal.value.why


@pytest.mark.parametrize(
    ("heads", "applied"),
    [
        ((), ""),
        (("a",), "a"),
        (("c",), "abc"),
        (("c", "d"), "abcd"),
        (("m",), "abcdm"),
        (("unknown",), ""),
        (("unknown", "b"), "ab"),
    ],
)
def test_a_head_stands_for_all_that_it_goes_on_from(heads: tuple[str, ...], applied: str) -> None:
    assert applied_by(heads, BRANCHED) == frozenset(applied)


@pytest.mark.parametrize(
    ("source", "revision"),
    [
        ("revision = 'a'\ndown_revision = None\n", A),
        ("revision: str = 'b'\ndown_revision: Union[str, None] = 'a'\n", B),
        ("revision = 'm'\ndown_revision = ('c', 'd')\nbranch_labels = None\ndepends_on = None\n", MERGE),
        ("revision = 'm'\ndown_revision = ['c', 'd']\n", MERGE),
        (
            "revision = 'a'\ndown_revision = None\nbranch_labels = ('x', 'y')\ndepends_on = 'q'\n",
            Revision("a", (), ("q",), ("x", "y")),
        ),
        ("import os\nraise SystemExit(os.remove('/'))\nrevision = 'a'\ndown_revision = None\n", A),
    ],
)
def test_a_revision_is_read_and_never_run(source: str, revision: Revision) -> None:
    assert parse_revision("a.py", source) == revision


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("revision = ", "The migration a.py is not valid Python"),
        ("revision = 'a\0'", "The migration a.py is not valid Python"),
        ("", "The migration a.py is not a revision of Alembic"),
        ("revision = 'a'\n", "The migration a.py is not a revision of Alembic"),
        ("revision = None\ndown_revision = None\n", "The migration a.py is not a revision of Alembic"),
        ("revision: str\ndown_revision = None\n", "The migration a.py is not a revision of Alembic"),
        ("def f():\n  revision = 'a'\n  down_revision = None\n", "The migration a.py is not a revision of Alembic"),
        ("revision = make()\ndown_revision = None\n", "The migration a.py computes its `revision`"),
        ("revision = 'a'\ndown_revision = 'b' + c\n", "The migration a.py computes its `down_revision`"),
        ("revision = 'a'\ndown_revision = 5\n", "The migration a.py computes its `down_revision`"),
        ("revision = 'a'\ndown_revision = ('b', 5)\n", "The migration a.py computes its `down_revision`"),
    ],
)
def test_a_file_that_is_no_revision_is_refused_by_name(source: str, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_revision("a.py", source)
    assert refusal.value.what == what
    assert refusal.value.do
