"""A command that migrates, with `psql` against a real Postgres: its exit code and its status are the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Permanent
from operation.operation import Operation
from tests.integration.real_tasks import Application
from tests.postgres import running_postgres
from tests.unit.conftest import aws, no_prefect, no_run_log, no_waiting, operation  # noqa: F401
from tests.unit.fakes import FakeAws

pytestmark = pytest.mark.integration

SECTION = """
engine = "command"
entry_point = ["/bin/sh", "-c"]
command = ['cat db/*.sql | psql "$DATABASE_URL" -v ON_ERROR_STOP=1']
status = ['test "$(psql "$DATABASE_URL" -Atc "SELECT count(*) FROM pg_tables WHERE tablename IN ($TABLES)")" = 2']
directory = "db"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as address:
        yield address


@pytest.fixture
def app(server: str, tmp_path: Path, operation: Operation, aws: FakeAws) -> Application:  # noqa: F811
    (tmp_path / "db").mkdir()
    for name in ("a", "b"):
        (tmp_path / "db" / f"{name}.sql").write_text(f"CREATE TABLE IF NOT EXISTS {name} ();\n")
    made = Application(operation, aws, server, tmp_path, tmp_path, SECTION)
    made.variables["TABLES"] = "'a', 'b'"
    return made


def test_it_runs_on_each_release_and_its_status_is_asked(app: Application) -> None:
    for _ in range(2):
        assert app.migrate().endswith("exited with 0, and so did its status command")
        assert len(app.ran) == 2
    assert app.query("SELECT to_regclass('a'), to_regclass('b')") == "a|b"
    assert app.operation.records.environment().migrations == ("a.sql", "b.sql")


def test_what_fails_in_the_database_fails_the_release(app: Application) -> None:
    (app.repository / "db" / "c.sql").write_text("CREATE TABLE broken (;\n")
    with pytest.raises(Permanent, match=r"The migration command of v1\.1\.0 exited with [1-9]") as failure:
        app.migrate()
    assert "syntax error" in failure.value.why
    assert len(app.ran) == 1


def test_a_success_that_its_status_denies_is_none(app: Application) -> None:
    app.variables["TABLES"] = "'a', 'elsewhere'"
    with pytest.raises(Permanent, match=r"The status command of v1\.1\.0 exited with 1"):
        app.migrate()
    assert app.operation.records.environment().migrations == ()
