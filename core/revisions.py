"""Alembic's revisions: a graph in which each names those that it goes on from, of which the table holds only the heads.

https://alembic.sqlalchemy.org/en/latest/branches.html
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from core.errors import Refused

__all__ = ["Revision", "applied_by", "in_order", "parse_revision"]


@dataclass(frozen=True)
class Revision:
    """One revision: its id, those that it goes on from, and those that must be applied before it as well."""

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def parse_revision(file: str, source: str) -> Revision:
    """Return the revision of a file's source, which is read and never run; raise `Refused` for what is none."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise Refused(f"The migration {file} is not valid Python", why=str(error), do="Fix the file.") from error
    found: dict[str, tuple[str, ...]] = {}
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _VARIABLES:
                found[target.id] = _names(file, target.id, getattr(statement, "value", None))
    if len(found.get("revision", ())) != 1 or "down_revision" not in found:
        raise Refused(
            f"The migration {file} is not a revision of Alembic",
            why="it does not assign both `revision` and `down_revision`",
            do="Move the file out of migration.directory, or make it with `alembic revision`.",
        )
    depends_on, labels = found.get("depends_on", ()), found.get("branch_labels", ())
    return Revision(found["revision"][0], found["down_revision"], depends_on, labels)


_VARIABLES = ("revision", "down_revision", "depends_on", "branch_labels")


def _names(file: str, variable: str, value: ast.expr | None) -> tuple[str, ...]:
    try:
        given = ast.literal_eval(value) if value is not None else None
        names = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    except (ValueError, TypeError):
        names = (None,)
    if not all(isinstance(name, str) for name in names):
        raise Refused(
            f"The migration {file} computes its `{variable}`",
            why="a revision is read without being run, so it must be written out",
            do=f"Assign texts to `{variable}`, as `alembic revision` does.",
        )
    return names


def in_order(revisions: Sequence[Revision]) -> tuple[str, ...]:
    """Return the revisions' ids, each behind all that it needs.

    Raises `Refused`, naming the revisions, unless they are one graph with a single head: `alembic upgrade head` applies
    nothing of several.
    """
    ids = [revision.id for revision in revisions]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise Refused(f"The revision {twice[0]} exists twice", why="Alembic ignores one of them", do="Rename one.")
    needs = _needs(revisions)
    heads = sorted(set(ids) - {down for revision in revisions for down in revision.down})
    try:
        ordered = tuple(TopologicalSorter({one: sorted(needs[one]) for one in sorted(needs)}).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise Refused("The revisions go round in a circle", why=circle, do="Fix their `down_revision`.") from error
    if len(heads) > 1:
        raise Refused(
            f"The revisions have {len(heads)} heads: {', '.join(heads)}",
            why="branches that were never merged; `alembic upgrade head` refuses to choose",
            do=f"Merge them: `alembic merge {' '.join(heads)}`, and commit the revision that it makes.",
        )
    return ordered  # whatever is not the only head leads to it, so that one comes last


def _needs(revisions: Iterable[Revision]) -> dict[str, frozenset[str]]:
    """Return what each revision needs directly, by id."""
    revisions = tuple(revisions)
    labelled = {label: revision.id for revision in revisions for label in revision.labels}
    ids = {revision.id for revision in revisions}
    needs = {}
    for revision in revisions:
        needed = frozenset(labelled.get(name, name) for name in (*revision.down, *revision.depends_on))
        missing = sorted(needed - ids)
        if missing:
            raise Refused(
                f"The revision {revision.id} goes on from {missing[0]}, which is not in the repository",
                why="its file is missing, or is named by a part of its id",
                do="Commit the file, or name the whole id.",
            )
        needs[revision.id] = needed
    return needs


def applied_by(heads: Collection[str], revisions: Sequence[Revision]) -> frozenset[str]:
    """Return which of the revisions are applied where the table holds these heads: they and all that they need."""
    needs, applied = _needs(revisions), set[str]()
    open_ones = [head for head in heads if head in needs]
    while open_ones:
        revision = open_ones.pop()
        if revision not in applied:
            applied.add(revision)
            open_ones += needs[revision]
    return frozenset(applied)
