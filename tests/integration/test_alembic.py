"""Alembic itself against a real Postgres: what it applies is what the table is read to say."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from core.errors import Permanent, Refused
from operation.operation import Operation
from tests.integration.real_tasks import Application
from tests.postgres import query, running_postgres
from tests.unit.conftest import aws, no_prefect, no_run_log, no_waiting, operation  # noqa: F401
from tests.unit.fakes import FakeAws

pytestmark = pytest.mark.integration

TABLE = "CREATE TABLE alembic_version (version_num varchar(32)); "
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as address:
        yield address


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.name)) % 10**9}"
    query(server, f"CREATE DATABASE {name}")
    return server.replace("/postgres", f"/{name}")


@pytest.fixture
def app(database: str, tmp_path: Path, operation: Operation, aws: FakeAws) -> Application:  # noqa: F811
    folder = tmp_path / "app"
    (folder / "alembic" / "versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\n")
    (folder / "alembic" / "env.py").write_text(ENV)
    (folder / "alembic" / "script.py.mako").touch()
    made = Application(operation, aws, database, folder, folder, 'engine = "alembic"')
    revise(made, "a1", None, "op.execute('CREATE TABLE a ()')")
    revise(made, "b2", "a1", "op.execute('CREATE TABLE b ()')")
    return made


def revise(app: Application, name: str, down: str | tuple[str, ...] | None, up: str, down_sql: str = "pass") -> Path:
    path = app.repository / "alembic" / "versions" / f"{name}_step.py"
    path.write_text(
        dedent(
            f"""
            from alembic import op
            revision: str = {name!r}
            down_revision = {down!r}

            def upgrade() -> None:
                {up}

            def downgrade() -> None:
                {down_sql}
            """
        )
    )
    return path


def heads(app: Application) -> str:
    return app.query("SELECT version_num FROM alembic_version ORDER BY 1")


def test_a_fresh_database_is_read_and_then_migrated(app: Application) -> None:
    assert app.migrate() == "according to its table the database is at b2; 2 migrations applied"
    assert len(app.ran) == 2
    assert heads(app) == "b2"
    assert app.query("SELECT to_regclass('a'), to_regclass('b')") == "a|b"
    record = app.operation.records.environment()
    assert record.migrations == ("a1", "b2")
    assert record.database is not None
    assert record.database.engine == "alembic"


def test_reading_makes_no_table(app: Application) -> None:
    for path in (app.repository / "alembic" / "versions").glob("*.py"):
        path.unlink()
    assert app.migrate().endswith("nothing was pending")
    assert app.query("SELECT to_regclass('alembic_version') IS NULL") == "t"


def test_what_is_applied_is_not_applied_again_and_what_is_new_takes_one_task(app: Application) -> None:
    app.migrate()
    assert app.migrate().endswith("nothing was pending")
    assert len(app.ran) == 1
    revise(app, "c3", "b2", "op.execute('CREATE TABLE c ()')")
    assert app.migrate().endswith("1 migration applied")
    assert len(app.ran) == 1
    attempt = app.operation.journal.attempt
    assert (attempt.schema_head_before, attempt.schema_head_after) == ("b2", "c3")
    assert heads(app) == "c3"


def test_a_branch_and_its_merge_are_applied(app: Application) -> None:
    app.migrate()
    revise(app, "c3", "a1", "op.execute('CREATE TABLE c ()')")
    revise(app, "d4", ("b2", "c3"), "pass")
    assert app.migrate() == "according to its table the database is at d4; 2 migrations applied"
    assert app.operation.records.environment().migrations == ("a1", "b2", "c3", "d4")


def test_a_database_in_the_midst_of_a_branch_has_two_heads_and_is_read_so(app: Application) -> None:
    revise(app, "c3", "a1", "op.execute('CREATE TABLE c ()')")
    revise(app, "d4", ("b2", "c3"), "pass")
    app.query(TABLE + "INSERT INTO alembic_version VALUES ('b2'), ('c3')")
    assert app.migrate().endswith("1 migration applied")
    assert heads(app) == "d4"


def test_several_heads_are_refused_by_name_before_anything_runs(app: Application) -> None:
    revise(app, "c3", "a1", "pass")
    with pytest.raises(Refused, match=r"2 heads: b2, c3") as refusal:
        app.migrate()
    assert "alembic merge b2 c3" in refusal.value.do
    assert app.ran == []


def test_a_migration_that_fails_is_told_with_the_databases_error_and_what_was_applied_before_it_is_known(
    app: Application,
) -> None:
    revise(app, "c3", "b2", "op.execute('CREATE TABLE a ()')")
    with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed") as failure:
        app.migrate()
    assert '(psycopg.errors.DuplicateTable) relation "a" already exists' in failure.value.why
    assert "`python -m flows run test -- alembic stamp c3`" in failure.value.do
    assert app.operation.records.environment().migrations == ("a1", "b2")
    assert heads(app) == "b2"
    revise(app, "c3", "b2", "op.execute('CREATE TABLE c ()')")
    assert app.migrate().endswith("1 migration applied")


def test_a_revision_that_the_repository_lacks_is_refused_with_the_ways_out(app: Application) -> None:
    app.migrate()
    revise(app, "c3", "b2", "pass")
    app.migrate()
    (app.repository / "alembic" / "versions" / "c3_step.py").unlink()
    revise(app, "x9", "b2", "pass")
    with pytest.raises(
        Refused, match="Migration c3 is applied in this database but is not in the repository"
    ) as refusal:
        app.migrate()
    assert "alembic downgrade <revision>" in refusal.value.do
    assert "alembic stamp --purge <revision>" in refusal.value.do
    assert heads(app) == "c3"


def test_an_older_version_that_is_asked_for_meets_the_newer_schema_as_it_was_read(app: Application) -> None:
    revise(app, "c3", "b2", "pass")
    app.migrate()
    (app.repository / "alembic" / "versions" / "c3_step.py").unlink()
    assert app.migrate(newer_allowed=True).endswith("nothing was pending")
    assert app.migrate(newer_allowed=True).endswith("nothing was pending")
    assert app.operation.records.environment().migrations == ("a1", "b2", "c3")


def test_an_older_version_with_a_revision_of_its_own_has_no_way_from_there(app: Application) -> None:
    revise(app, "c3", "b2", "pass")
    app.migrate()
    (app.repository / "alembic" / "versions" / "c3_step.py").unlink()
    revise(app, "x9", "b2", "pass")
    with pytest.raises(Refused, match="Alembic cannot apply x9 to a database that is at c3"):
        app.migrate(newer_allowed=True)


def test_a_table_that_nobody_remembers_is_never_taken_for_an_empty_one(app: Application) -> None:
    app.query(TABLE + "INSERT INTO alembic_version VALUES ('zz')")
    with pytest.raises(Refused, match="Migration zz is applied"):
        app.migrate()
    with pytest.raises(Refused, match="cannot apply a1 to a database that is at zz"):
        app.migrate(newer_allowed=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: (image / "alembic/versions/b2_step.py").unlink(), "The image lacks migration b2"),
        (
            lambda image: (image / "alembic/versions/b2_step.py").write_text(
                "revision = 'b2'\ndown_revision = 'a1'\ndef upgrade(): pass\n"
            ),
            "The image's migration b2 differs",
        ),
        (
            lambda image: (image / "alembic/versions/c3.py").write_text(
                "revision = 'c3'\ndown_revision = 'b2'\ndef upgrade(): pass\n"
            ),
            "The image has migration c3",
        ),
    ],
    ids=["lacks one", "another content", "one too many"],
)
def test_an_image_of_other_revisions_is_refused(app: Application, tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    app.image = tmp_path / "image"
    shutil.copytree(app.repository, app.image)
    change(app.image)
    with pytest.raises(Refused, match=said):
        app.migrate()
    assert app.query("SELECT to_regclass('alembic_version') IS NULL") == "t"


def test_a_table_that_changed_after_it_was_read_is_not_migrated(app: Application) -> None:
    app.between = lambda: app.query(TABLE + "INSERT INTO alembic_version VALUES ('a1')")
    with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed"):
        app.migrate()
    assert heads(app) == "a1"


def test_a_command_that_does_nothing_is_not_believed(app: Application, tmp_path: Path) -> None:
    app.set('engine = "alembic"\ncommand = ["true"]')
    with pytest.raises(Permanent) as failure:
        app.migrate()
    assert "reported success, but the table lacks a1, b2" in failure.value.why


def test_a_database_that_does_not_answer_is_told_in_the_drivers_words(app: Application) -> None:
    app.variables["DATABASE_URL"] = "postgresql://app@127.0.0.1:1/none"
    with pytest.raises(Permanent, match="Could not read which migrations the database has") as failure:
        app.migrate()
    assert "OperationalError" in failure.value.why
    assert "env.py" in failure.value.do


def test_options_and_another_place_are_taken_from_the_command(app: Application) -> None:
    (app.repository / "db").mkdir()
    (app.repository / "alembic").rename(app.repository / "db" / "revisions")
    (app.repository / "alembic.ini").rename(app.repository / "db" / "alembic.ini")
    (app.repository / "db" / "alembic.ini").write_text("[shop]\nscript_location = %(here)s/revisions\n")
    app.set(
        'engine = "alembic"\ndirectory = "db/revisions/versions"\n'
        'command = ["python", "-m", "alembic", "-c", "db/alembic.ini", "-n", "shop", "upgrade", "head"]'
    )
    assert app.migrate().endswith("2 migrations applied")


def test_a_shell_as_entry_point_gets_the_script_in_one_word(app: Application) -> None:
    app.set('engine = "alembic"\nentry_point = ["/bin/sh", "-c"]\ncommand = ["alembic upgrade head"]')
    assert app.migrate().endswith("2 migrations applied")


def test_a_python_without_alembic_leads_to_the_one_that_its_script_names(app: Application, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    app.path = (bare,)
    assert app.migrate().endswith("2 migrations applied")


def test_a_floor_in_a_revision_is_raised(app: Application) -> None:
    path = revise(app, "c3", "b2", "pass")
    path.write_text(f"# pointsman: rollback-floor v1.0.0\n{path.read_text()}")
    app.migrate()
    assert app.operation.records.environment().rollback_floor == "v1.0.0"
