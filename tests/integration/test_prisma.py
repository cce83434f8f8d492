"""Prisma itself against a real Postgres: schemas of several files, directories anywhere, nothing that is fetched."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Permanent, Refused
from operation.operation import Operation
from tests.integration.real_tasks import Application
from tests.integration.stand import ROOT
from tests.postgres import query, running_postgres
from tests.unit.conftest import aws, no_prefect, no_run_log, no_waiting, operation  # noqa: F401
from tests.unit.fakes import FakeAws

pytestmark = pytest.mark.integration

SAMPLE = ROOT / "examples" / "connections" / "app"
CONFIG = """
import {{ defineConfig }} from 'prisma/config';
export default defineConfig({{
  schema: '{schema}',
  experimental: {{ adapter: true }},
  engine: 'js',
  adapter: async () => {{
    const {{ MigrationAdapter }} = await import('./migration-adapter.mjs');
    return new MigrationAdapter(process.env.DATABASE_URL);
  }},
}});
"""
DATASOURCE = 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'
MODELS = "model a {\n  id Int @id\n}\n\nmodel b {\n  id Int @id\n}\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's packages, installed as its image's build does."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SAMPLE / name, folder)
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "node_modules"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as address:
        yield address


@pytest.fixture
def app(server: str, packages: Path, tmp_path: Path, operation: Operation, aws: FakeAws) -> Application:  # noqa: F811
    """A repository without a schema or migrations."""
    name = f"d{abs(hash(tmp_path)) % 10**9}"
    query(server, f"CREATE DATABASE {name}")
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copy(SAMPLE / "prisma" / "migration-adapter.mjs", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(packages)
    made = Application(operation, aws, server.replace("/postgres", f"/{name}"), folder, folder, "")
    made.variables |= {
        "CHECKPOINT_DISABLE": "1",
        "PRISMA_HIDE_UPDATE_MESSAGE": "1",
        "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
        "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true",
    }
    return made


def lay(app: Application, schema: str, *files: str, migrations: str) -> None:
    """Lay a schema of these files, and two migrations; `schema` is what Prisma's configuration names."""
    (app.repository / "prisma.config.mjs").write_text(CONFIG.format(schema=schema))
    for number, name in enumerate(files):
        (app.repository / name).parent.mkdir(parents=True, exist_ok=True)
        (app.repository / name).write_text((DATASOURCE, MODELS)[number] if len(files) > 1 else DATASOURCE + MODELS)
    for name in ("1_a", "2_b"):
        folder = app.repository / migrations / name
        folder.mkdir(parents=True)
        (folder / "migration.sql").write_text(f'CREATE TABLE "{name[2:]}" ("id" INTEGER PRIMARY KEY);\n')
    (app.repository / migrations / "migration_lock.toml").write_text('provider = "postgresql"\n')
    app.set(f'directory = "{migrations}"')


LAYOUTS = {
    "beside the datasource file": ("prisma/schema", ("prisma/schema/base.prisma", "prisma/schema/m.prisma")),
    "the usual": ("prisma/schema.prisma", ("prisma/schema.prisma",)),
    "a monorepo": ("apps/api/prisma/schema.prisma", ("apps/api/prisma/schema.prisma",)),
    "a monorepo, of several files": ("apps/api/db", ("apps/api/db/base.prisma", "apps/api/db/m.prisma")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_schema_of_several_files_and_directories_anywhere(app: Application, layout: str) -> None:
    schema, files = LAYOUTS[layout]
    lay(app, schema, *files, migrations=str(Path(files[0]).parent / "migrations"))
    assert app.migrate() == "according to its table the database is at 2_b; 2 migrations applied"
    assert app.query("SELECT to_regclass('a'), to_regclass('b')") == "a|b"


def test_the_default_directory_is_refused_where_the_migrations_lie_elsewhere(app: Application) -> None:
    lay(app, "prisma/schema", *LAYOUTS["beside the datasource file"][1], migrations="prisma/schema/migrations")
    app.set("")
    with pytest.raises(Refused, match="The migration directory prisma/migrations does not exist"):
        app.migrate()


def test_a_tool_that_the_image_lacks_is_not_fetched(app: Application, packages: Path) -> None:
    """Neither by the default, nor by a plain `npx`, which would fetch and run today's release of it."""
    lay(app, "prisma/schema.prisma", "prisma/schema.prisma", migrations="prisma/migrations")
    modules = app.repository / "node_modules"
    modules.unlink()
    modules.mkdir()
    for package in packages.iterdir():
        if package.name.startswith("pg") or package.name in ("postgres-array", "split2", "xtend"):
            (modules / package.name).symlink_to(package)
    for command in ('["npx", "--no-install", "prisma", "migrate", "deploy"]', '["npx", "prisma", "migrate", "deploy"]'):
        app.set(f"command = {command}")
        with pytest.raises(Permanent, match=r"The migration of v1\.1\.0 failed") as failure:
            app.migrate()
        assert "npx canceled" in failure.value.why
        assert not list((app.image / ".npm" / "_npx").glob("*/node_modules/prisma"))
