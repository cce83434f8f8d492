"""A Python application that knows nothing of Pointsman, beside the first: live, failed, rolled back, under a client."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from sandbox.example import Example, add, find_example
from sandbox.operator import Operator, Run
from sandbox.parts import Sandbox
from sandbox.postgres import database_url
from sandbox.traffic import Client

pytestmark = [pytest.mark.e2e, pytest.mark.long]

FIRST, SECOND = "8f1c2d3e4a5b", "b7d0a1c9e2f4"


@pytest.fixture(scope="module")
def example(sandbox: Sandbox) -> Example:
    found = find_example("notes")
    add(sandbox.settings, found, sandbox.say)
    return found


@pytest.fixture(scope="module")
def notes(sandbox: Sandbox, example: Example) -> Operator:
    """The operator of notes, whose v1.0.0 is live and holds a note."""
    operator = Operator(sandbox, sandbox.say, example)
    assert operator.provision().type == "COMPLETED"
    run = release(operator, "v1.0.0", push=False)
    assert run.type == "COMPLETED", run.message
    httpx.post(f"{operator.application}/notes", json={"text": "kept"}, trust_env=False).raise_for_status()
    return operator


def release(operator: Operator, tag: str, *, push: bool = True, overlay: str | None = None) -> Run:
    if push:
        operator.push(tag, overlay=overlay)
    return operator.wait(operator.run("release", tag=tag), timeout=300)


def heads(operator: Operator) -> list[str]:
    """What the database's own table says."""
    with psycopg.connect(database_url(operator.sandbox.settings, "notes")) as connection:
        return [head for (head,) in connection.execute("SELECT version_num FROM alembic_version").fetchall()]


def columns(operator: Operator) -> set[str]:
    """Which columns the newest note has: v1.1.0 answers with one more."""
    return set(httpx.get(f"{operator.application}/notes", trust_env=False).raise_for_status().json()[0])


def test_it_is_live_unchanged(notes: Operator) -> None:
    assert httpx.get(f"{notes.application}/version", trust_env=False).status_code == 404, "it has no such endpoint"
    assert heads(notes) == [FIRST]
    assert columns(notes) == {"id", "text"}
    live = notes.record().live
    assert live is not None
    assert live.release.version == "v1.0.0"


def test_it_goes_on_and_back_and_fails_without_a_failed_request(notes: Operator) -> None:
    with Client(notes.application, path="/notes") as client:
        run = release(notes, "v1.1.0")
        assert run.type == "COMPLETED", run.message
        assert heads(notes) == [SECOND]
        assert columns(notes) == {"id", "text", "pinned"}

        warm = notes.wait(notes.run("rollback"))
        assert warm.type == "COMPLETED", warm.message
        assert columns(notes) == {"id", "text"}
        assert heads(notes) == [SECOND], "a rollback leaves the database as it is"

        crashed = release(notes, "v1.1.1", overlay="crash")
        assert crashed.type == "FAILED"
        assert columns(notes) == {"id", "text"}

        migration = release(notes, "v1.1.2", overlay="migration")
        assert migration.type == "FAILED"
        assert "c4e8f0a6b1d3" in migration.message, migration.message
        assert heads(notes) == [SECOND]

        for tag in ("v1.1.3", "v1.1.4"):  # so that v1.0.0 runs in neither slot
            again = release(notes, tag)
            assert again.type == "COMPLETED", again.message
        cold = notes.wait(notes.run("rollback", to_version="v1.0.0"), timeout=300)
        assert cold.type == "COMPLETED", cold.message
        assert columns(notes) == {"id", "text"}
        seen = client.seen()
    assert seen.sent > 0
    assert seen.failed == 0, seen.failures[:5]


def test_what_proves_it_stands_in_the_summary(notes: Operator) -> None:
    found = notes.api.get("/artifacts/release-notes/latest").raise_for_status().json()
    proofs = [line for line in found["data"].splitlines() if " seen by " in line]
    assert [line.split("|")[1].strip() for line in proofs] == ["the candidate was seen by", "live was seen by"]
    assert all("healthy targets are tasks of" in line for line in proofs), proofs
