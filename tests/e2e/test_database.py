"""The database is asked: a migration that the image hides is refused, and an operator resolves one that failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from core.history import State
from sandbox.observer import Observer
from sandbox.operator import Operator, Run
from sandbox.settings import CODE
from sandbox.traffic import Client

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("something_live")]

FAULTY = "20260501090000_add_organiser"


@pytest.fixture
def name(operator: Operator) -> str:
    """The name of a migration that no release had before."""
    return f"20290101000000_hidden_{operator.next_tag().replace('.', '_')}"


@pytest.fixture
def no_failed_migration(operator: Operator) -> Iterator[None]:
    """Whatever the test leaves, the next release can migrate."""
    yield
    _execute(operator, "DELETE FROM _prisma_migrations WHERE finished_at IS NULL AND rolled_back_at IS NULL")


def overlay_of(folder: Path, name: str, *, hidden: bool) -> Path:
    """An overlay with one more migration, which `.dockerignore` hides or does not hide from the image."""
    path = folder / "prisma" / "migrations" / name / "migration.sql"
    path.parent.mkdir(parents=True)
    path.write_text(f'CREATE TABLE "{name}" ("id" INTEGER PRIMARY KEY);\n')
    (folder / ".dockerignore").write_text("prisma/migrations\n" if hidden else "node_modules\n")
    return folder


def test_a_migration_that_dockerignore_hides_is_refused_and_the_corrected_version_migrates(
    operator: Operator, observer: Observer, client: Client, name: str, tmp_path: Path
) -> None:
    before, was = observer.look(), operator.live
    hidden = release(operator, overlay_of(tmp_path / "hidden", name, hidden=True))
    assert hidden.type == "FAILED"
    assert "failed at migrate: The image lacks migration" in hidden.message
    assert ".dockerignore" in hidden.message
    assert operator.live == was
    assert name not in observer.look().migrations
    assert name not in operator.record().migrations
    assert observer.faults(before, live=was) == []

    shown = release(operator, overlay_of(tmp_path / "shown", name, hidden=False))
    assert shown.type == "COMPLETED", shown.message
    assert name in observer.look().migrations
    assert name in operator.record().migrations


@pytest.mark.usefixtures("no_failed_migration")
def test_an_operator_resolves_a_failed_migration_by_the_command_that_the_message_names(
    operator: Operator, observer: Observer, client: Client
) -> None:
    was, failed_tag = operator.live, operator.next_tag()
    failed = release(operator, "migration")
    assert failed.type == "FAILED"
    command = f"python -m flows run sandbox -- prisma migrate resolve --rolled-back {FAULTY}"
    assert command in failed.message
    assert operator.live == was

    # It stays in the way of every release until somebody has said what became of it.
    again = release(operator, None)
    assert again.type == "FAILED"
    assert f"Migration {FAULTY} failed in this database and is not resolved" in again.message
    assert command in again.message

    status = run_by_hand(operator, "--version", failed_tag, "--", "prisma", "migrate", "status")
    assert status.returncode == 1, "the command's own exit code"
    assert FAULTY in status.stdout
    resolved = run_by_hand(operator, *command.split()[5:])
    assert resolved.returncode == 0, resolved.stdout + resolved.stderr
    assert f"Migration {FAULTY} marked as rolled back" in resolved.stdout

    entry = operator.record().commands[-1]
    assert (entry.command, entry.exit_code) == (f"prisma migrate resolve --rolled-back {FAULTY}", 0)
    assert operator.record().lease is None
    assert FAULTY not in observer.look().failed_migrations

    good = release(operator, None)
    assert good.type == "COMPLETED", good.message
    steps = {step.name: step for step in operator.history(operator.live).attempts[-1].steps}
    assert steps["migrate"].outcome == "skipped"
    assert operator.history(operator.live).state is State.HEALTHY


def release(operator: Operator, overlay: Path | str | None) -> Run:
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag, overlay=overlay)
    return operator.wait(operator.run("release", tag=tag))


def run_by_hand(operator: Operator, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", "run", "sandbox", *words],
        cwd=CODE,
        env={**os.environ, **operator.sandbox.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _execute(operator: Operator, query: str) -> None:
    with psycopg.connect(operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]) as connection:
        connection.execute(query)
