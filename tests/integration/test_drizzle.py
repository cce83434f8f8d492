"""Drizzle itself against a real Postgres, by drizzle-kit and by its migrators, with either driver."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Permanent, Refused
from operation.operation import Operation
from tests.integration.real_tasks import Application
from tests.postgres import query, running_postgres
from tests.unit.conftest import aws, no_prefect, no_run_log, no_waiting, operation  # noqa: F401
from tests.unit.fakes import FakeAws

pytestmark = pytest.mark.integration

LOCKED = Path(__file__).parent / "drizzle"
CONFIG = """
module.exports = {
  dialect: 'postgresql', schema: './schema.js', out: './drizzle', dbCredentials: { url: process.env.DATABASE_URL },
};
"""
SCHEMA = """
const { pgTable, integer } = require('drizzle-orm/pg-core');
module.exports = Object.fromEntries(%s.map((name) => [name, pgTable(name, { id: integer() })]));
"""
BY_PG = """
const { drizzle } = require('drizzle-orm/node-postgres');
const { migrate } = require('drizzle-orm/node-postgres/migrator');
migrate(drizzle(process.env.DATABASE_URL), { migrationsFolder: 'drizzle' });
"""
BY_POSTGRES_JS = """
const postgres = require('postgres');
const { drizzle } = require('drizzle-orm/postgres-js');
const { migrate } = require('drizzle-orm/postgres-js/migrator');
const sql = postgres(process.env.DATABASE_URL, { max: 1 });
migrate(drizzle(sql), { migrationsFolder: 'drizzle', migrationsSchema: 'public', migrationsTable: 'steps' })
  .finally(() => sql.end());
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock file, installed as an image's build does."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKED / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "node_modules"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as address:
        yield address


@pytest.fixture
def app(server: str, packages: Path, tmp_path: Path, operation: Operation, aws: FakeAws) -> Application:  # noqa: F811
    """A repository with two migrations, made by drizzle-kit."""
    name = f"d{abs(hash(tmp_path)) % 10**9}"
    query(server, f"CREATE DATABASE {name}")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    (folder / "drizzle.config.js").write_text(CONFIG)
    (folder / "node_modules").symlink_to(packages)
    made = Application(operation, aws, server.replace("/postgres", f"/{name}"), folder, folder, 'engine = "drizzle"')
    generate(made, "a")
    generate(made, "a", "b")
    return made


def generate(app: Application, *tables: str) -> str:
    """Make the migration that brings the schema to these tables; return its name."""
    (app.repository / "schema.js").write_text(SCHEMA % json.dumps(tables))
    command = ["npx", "--no-install", "drizzle-kit", "generate", "--name", tables[-1]]
    subprocess.run(command, cwd=app.repository, check=True, capture_output=True)
    return app.files()[-1].name


def journal(app: Application) -> Path:
    return app.repository / "drizzle" / "meta" / "_journal.json"


def applied(app: Application) -> int:
    return int(app.query("SELECT count(*) FROM drizzle.__drizzle_migrations"))


def test_drizzle_kit_s_files_are_applied_and_its_table_is_read(app: Application) -> None:
    assert app.migrate() == "according to its table the database is at 0001_b; 2 migrations applied"
    assert len(app.ran) == 2
    assert applied(app) == 2
    assert app.operation.records.environment().migrations == ("0000_a", "0001_b")
    assert app.migrate().endswith("nothing was pending")
    assert len(app.ran) == 1
    assert generate(app, "a", "b", "c") == "0002_c"
    assert app.migrate().endswith("1 migration applied")
    assert len(app.ran) == 1, "read and migrated by one task"
    attempt = app.operation.journal.attempt
    assert (attempt.schema_head_before, attempt.schema_head_after) == ("0001_b", "0002_c")
    # An edit, a loss and a branch that was merged late: each is refused by its name, and nothing runs over it.
    path = app.repository / "drizzle" / "0001_b.sql"
    text = path.read_text()
    path.write_text(f"{text}-- more\n")
    with pytest.raises(Refused, match="Migration 0001_b was edited after it was applied"):
        app.migrate()
    path.write_text(text)
    whole = json.loads(journal(app).read_text())
    late = {"idx": 3, "version": "7", "when": whole["entries"][1]["when"] + 1, "tag": "0003_late", "breakpoints": True}
    journal(app).write_text(json.dumps({**whole, "entries": [*whole["entries"], late]}))
    (app.repository / "drizzle" / "0003_late.sql").write_text("CREATE TABLE late ();\n")
    with pytest.raises(Refused, match="Drizzle would pass over migration 0003_late"):
        app.migrate()
    journal(app).write_text(json.dumps({**whole, "entries": whole["entries"][:2]}))
    for name in ("0002_c", "0003_late"):
        (app.repository / "drizzle" / f"{name}.sql").unlink()
    with pytest.raises(Refused, match=r"Migration at-\d+ is applied in this database but is not in the repository"):
        app.migrate()
    assert app.migrate(newer_allowed=True).endswith("nothing was pending")
    assert applied(app) == 3


def test_a_migration_that_fails_leaves_nothing_and_is_told_as_far_as_the_tool_does(app: Application) -> None:
    path = app.repository / "drizzle" / "0001_b.sql"
    path.write_text(f"{path.read_text()}--> statement-breakpoint\nCREATE TABLE a ();\n")
    with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed") as failure:
        app.migrate()
    assert "drizzle-kit prints no error" in failure.value.why
    assert "in one transaction" in failure.value.do
    (app.repository / "migrate.js").write_text(BY_PG)
    app.set('engine = "drizzle"\ncommand = ["node", "migrate.js"]')
    with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed") as failure:
        app.migrate()
    assert 'error: relation "a" already exists' in failure.value.why
    assert app.operation.records.environment().migrations == ()
    assert app.query("SELECT to_regclass('a') IS NULL") == "t"


def test_an_image_without_the_journal_is_refused(app: Application, tmp_path: Path) -> None:
    app.image = tmp_path / "image"
    shutil.copytree(app.repository, app.image, symlinks=True)
    shutil.rmtree(app.image / "drizzle")
    with pytest.raises(Refused, match="The image lacks migration 0000_a"):
        app.migrate()


def test_a_migrator_of_ones_own_with_the_other_driver_and_a_table_elsewhere(app: Application, packages: Path) -> None:
    modules = app.repository / "node_modules"
    modules.unlink()
    modules.mkdir()
    for name in ("drizzle-orm", "postgres"):
        (modules / name).symlink_to(packages / name)
    (app.repository / "migrate.js").write_text(BY_POSTGRES_JS)
    # Node.js would look for drizzle-orm's own drivers beside where the link leads to.
    app.variables["NODE_OPTIONS"] = "--preserve-symlinks"
    app.set('engine = "drizzle"\ncommand = ["node", "migrate.js"]\ntable = "public.steps"')
    assert app.migrate().endswith("2 migrations applied")
    assert app.query("SELECT count(*) FROM steps") == "2"
    assert app.migrate().endswith("nothing was pending")


def test_a_database_that_does_not_answer_is_told_in_the_drivers_words(app: Application) -> None:
    app.variables["DATABASE_URL"] = "postgresql://app@127.0.0.1:1/none"
    with pytest.raises(Permanent, match="Could not read which migrations the database has") as failure:
        app.migrate()
    assert "ECONNREFUSED" in failure.value.why
    assert "`pg` or `postgres`" in failure.value.do
