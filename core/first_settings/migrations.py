"""Which tool migrates the application's database, and where its files lie."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from core.first_settings.facts import Repository, below, joined

__all__ = ["MIGRATION_FILES", "Migrations", "migrations_of"]

MIGRATION_FILES = (
    *("*.prisma", "prisma.config.*", "alembic.ini", "drizzle.config.*", "flyway.conf", "flyway.toml", "env.py"),
    *("package.json", "pyproject.toml", "_journal.json"),
)
"""Names of the files whose contents are read here."""

_PRISMA_URL = re.compile(r"\burl\s*=\s*env\(\s*\"(\w+)\"\s*\)")
_PRISMA_DIRECT = re.compile(r"\bdirectUrl\s*=\s*env\(\s*\"(\w+)\"\s*\)")
_PRISMA_PROVIDER = re.compile(r"datasource\s+\w+\s*\{[^}]*?\bprovider\s*=\s*\"(\w+)\"", re.DOTALL)
_PRISMA_DATASOURCE = re.compile(r"^\s*datasource\s+\w+\s*\{", re.MULTILINE)
_PRISMA_CONFIG_PATH = re.compile(r"\bmigrations\s*:\s*\{[^}]*?\bpath\s*:\s*[\"'`]([^\"'`]+)", re.DOTALL)
_ENVIRONMENT = re.compile(
    r"(?:process\.env\.|environ\[[\"']|environ\.get\([\"']|getenv\([\"']|env\([\"'])(\w*UR[LI]\w*)"
)
_DRIZZLE_OUT = re.compile(r"\bout\s*:\s*[\"'`]([^\"'`]+)")
_DRIZZLE_TABLE = re.compile(r"\bmigrations\s*:\s*\{[^}]*\}", re.DOTALL)
_SCRIPTS = (
    *("db:migrate:deploy", "migrate:deploy", "db:migrate:prod", "migrate:prod", "migrate:up", "db:migrate", "migrate"),
    *("migration:run", "migrations:run", "typeorm:migration:run", "migrate:latest", "db:migrate:up"),
)


@dataclass(frozen=True)
class Migrations:
    """The tool and where its files lie; `settings` are those of `[migration]` that differ from the tool's defaults."""

    engine: str
    why: str
    directory: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    url_variable: str = "DATABASE_URL"
    secrets: tuple[str, ...] = ()
    """Further variables that hold an address of the database."""
    notes: tuple[str, ...] = ()
    configuration: str = ""
    """What the tool must find from the image's working directory: Prisma's schema, Alembic's file."""
    found_by_itself: bool = False
    """Whether the tool finds that by another file of its own, wherever it lies."""


def migrations_of(repository: Repository, folder: str, others: tuple[str, ...] = ()) -> Migrations | None:
    """Return how the application in a folder migrates its database; None if nothing says so.

    A tool in the application's folder goes before one elsewhere in the repository. `others` are the folders of other
    applications, whose tools are theirs.
    """
    shared = tuple(p for p in repository.paths if not any(below(p, o) and not below(folder or ".", o) for o in others))
    for seen, where in ((repository, folder), (replace(repository, paths=shared), "")):
        for tool in _TOOLS:
            if found := tool(seen, where):
                return found
    return None


def _prisma(repository: Repository, folder: str) -> Migrations | None:
    schemas = list(repository.named("*.prisma", folder=folder))
    if not schemas:
        return None
    main = next((p for p in schemas if _PRISMA_DATASOURCE.search(repository.texts.get(p, ""))), schemas[0])
    home = str(PurePosixPath(main).parent)
    text = "\n".join(repository.texts.get(path, "") for path in schemas)
    config = next(repository.named("prisma.config.*", folder=folder), None)
    config_text = repository.texts.get(config, "") if config else ""
    directory, known = _prisma_directory(repository, home, config, config_text)
    url = _PRISMA_URL.search(text) or _ENVIRONMENT.search(config_text)
    direct = _PRISMA_DIRECT.search(text)
    address = url.group(1) if url else "DATABASE_URL"
    provider = _PRISMA_PROVIDER.search(text)
    notes = []
    if not known:
        notes.append(f"{main} has no migrations: `prisma migrate dev` makes them. Until then nothing migrates")
    if provider and provider.group(1) not in ("postgresql", "postgres"):
        notes.append(f"Prisma's provider is {provider.group(1)}; only Postgres is supported")
    kind = "a schema of several files" if len(schemas) > 1 else "the schema"
    return Migrations(
        engine="prisma",
        why=f"{kind} in {main}" + (f", migrations in {directory}" if known else ""),
        directory=directory,
        settings={} if known else {"enabled": False},
        # Prisma migrates over the direct address where there is one.
        url_variable=direct.group(1) if direct else address,
        secrets=(address,) if direct else (),
        notes=tuple(notes),
        configuration=home if len(schemas) > 1 else main,
        found_by_itself=config is not None or _in_package(repository, home),
    )


def _prisma_directory(repository: Repository, home: str, config: str | None, config_text: str) -> tuple[str, bool]:
    """Return the folder of migrations, and whether it exists."""
    made = sorted(
        {str(PurePosixPath(p).parent.parent) for p in repository.paths if p.endswith("/migration.sql")}
        | {str(PurePosixPath(p).parent) for p in repository.paths if PurePosixPath(p).name == "migration_lock.toml"}
    )
    named = _PRISMA_CONFIG_PATH.search(config_text)
    if config and named:
        directory = joined(str(PurePosixPath(config).parent), named.group(1))
        return directory, directory in made
    near = {str(parent) for parent in (PurePosixPath(home), PurePosixPath(home).parent)}
    beside = [d for d in made if str(PurePosixPath(d).parent) in near] or [
        d for d in made if any(d.startswith(f"{n}/") for n in near if n != ".")
    ]
    chosen = beside or (made if len(made) == 1 else [])
    return (chosen[0], True) if chosen else (joined(home, "migrations"), False)


def _in_package(repository: Repository, home: str) -> bool:
    """Whether a package.json says where Prisma's schema is."""
    for parent in (PurePosixPath(home), *PurePosixPath(home).parents):
        text = repository.texts.get(joined(str(parent), "package.json"))
        if text is not None:
            return re.search(r"\"prisma\"\s*:\s*\{[^}]*\"schema\"", text) is not None
    return False


def _drizzle(repository: Repository, folder: str) -> Migrations | None:
    config = next(repository.named("drizzle.config.*", folder=folder), None)
    journals = [p for p in repository.named("_journal.json", folder=folder) if PurePosixPath(p).parent.name == "meta"]
    if config is None and not journals:
        return None
    text = repository.texts.get(config, "") if config else ""
    home = str(PurePosixPath(config).parent) if config else folder or "."
    out = _DRIZZLE_OUT.search(text)
    named = joined(home, out.group(1) if out else "drizzle")
    made = [str(PurePosixPath(p).parent.parent) for p in journals]
    directory = named if named in made or not made else made[0]
    settings: dict[str, object] = {}
    if table := _DRIZZLE_TABLE.search(text):
        parts = dict(re.findall(r"\b(table|schema)\s*:\s*[\"'`](\w+)", table.group()))
        if parts:
            settings["table"] = f"{parts.get('schema', 'drizzle')}.{parts.get('table', '__drizzle_migrations')}"
    notes = () if made else (f"{directory} has no meta/_journal.json: `drizzle-kit generate` makes it",)
    address = _ENVIRONMENT.search(text)
    return Migrations(
        engine="drizzle",
        why=f"{config or journals[0]}, migrations in {directory}",
        directory=directory,
        settings=settings if made else {"enabled": False, **settings},
        url_variable=address.group(1) if address else "DATABASE_URL",
        notes=notes,
    )


def _alembic(repository: Repository, folder: str) -> Migrations | None:
    ini = next(repository.named("alembic.ini", folder=folder), None)
    location = _alembic_location(repository.texts[ini]) if ini and ini in repository.texts else None
    if ini is None or location is None:
        for path in repository.named("pyproject.toml", folder=folder):
            location = _alembic_in_pyproject(repository.texts.get(path, ""))
            if location:
                ini = path
                break
    if ini is None or location is None:
        return None
    home = str(PurePosixPath(ini).parent)
    inner = location.replace("%(here)s", ".").replace("%%(here)s", ".")
    script = _package_folder(inner) if ":" in inner else inner
    directory = joined(home, f"{script}/versions")
    env = repository.texts.get(joined(home, f"{script}/env.py"), "")
    address = _ENVIRONMENT.search(env)
    return Migrations(
        engine="alembic",
        why=f"{ini}, revisions in {directory}",
        directory=directory,
        url_variable=address.group(1) if address else "DATABASE_URL",
        configuration=ini,
    )


def _alembic_location(text: str) -> str | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser.get("alembic", "script_location", fallback=None)


def _alembic_in_pyproject(text: str) -> str | None:
    try:
        given = tomllib.loads(text).get("tool", {}).get("alembic", {})
    except (tomllib.TOMLDecodeError, AttributeError):
        return None
    location = given.get("script_location") if isinstance(given, dict) else None
    return location if isinstance(location, str) else None


def _package_folder(location: str) -> str:
    package, _, path = location.partition(":")
    return f"{package.replace('.', '/')}/{path}"


def _django(repository: Repository, folder: str) -> Migrations | None:
    manage = next(repository.named("manage.py", folder=folder), None)
    if manage is None:
        return None
    return _by_command(
        manage, ["python", "manage.py", "migrate", "--noinput"], ["python", "manage.py", "migrate", "--check"]
    )


def _rails(repository: Repository, folder: str) -> Migrations | None:
    schema = next((p for p in repository.named("schema.rb", "structure.sql", folder=folder) if "db/" in p), None)
    if schema is None:
        return None
    return _by_command(schema, ["bin/rails", "db:migrate"], ["bin/rails", "db:abort_if_pending_migrations"])


def _flyway(repository: Repository, folder: str) -> Migrations | None:
    config = next(repository.named("flyway.conf", "flyway.toml", folder=folder), None)
    if config is None:
        return None
    return _by_command(config, ["flyway", "migrate"], ["flyway", "validate"])


def _script(repository: Repository, folder: str) -> Migrations | None:
    """A script of package.json that is named like one that migrates."""
    for path in repository.named("package.json", folder=folder):
        if folder == "" and "/" in path:
            break
        scripts = _scripts(repository.texts.get(path, ""))
        name = next((name for name in _SCRIPTS if name in scripts), None)
        if name:
            return _by_command(f"the script {name} in {path}", ["npm", "run", name], None)
    return None


def _scripts(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    scripts = found.get("scripts") if isinstance(found, dict) else None
    return scripts if isinstance(scripts, dict) else {}


def _by_command(why: str, command: list[str], status: list[str] | None) -> Migrations:
    return Migrations(
        engine="command",
        why=why,
        settings={"command": command, **({"status": status} if status else {})},
        notes=("The migration's command runs on each release, so it must do nothing where nothing is pending",),
    )


_TOOLS = (_prisma, _drizzle, _alembic, _django, _rails, _flyway, _script)
"""Those first that say most about themselves."""
