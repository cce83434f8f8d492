"""The sections of a first file, each a list of settings with where they were read."""

from __future__ import annotations

from collections.abc import Iterator

from core.first_settings.application import Application
from core.first_settings.document import Setting
from core.first_settings.facts import Guess
from core.first_settings.migrations import Migrations
from core.first_settings.origin import (
    without_credentials,
)
from core.first_settings.routes import listening_port
from core.first_settings.variables import assignments, looks_secret
from core.settings import FILL_IN

__all__ = ["SECTIONS"]

_FRAMEWORKS = (("next", 3000), ("@nestjs/core", 3000), ("@remix-run/serve", 3000), ("nuxt", 3000))
_SERVERS = (
    ("uvicorn", 8000),
    ("fastapi run", 8000),
    ("gunicorn", 8000),
    ("hypercorn", 8000),
    ("rails", 3000),
    ("puma", 9292),
)
_DEFAULT_DIRECTORIES = {"prisma": "prisma/migrations", "alembic": "alembic/versions", "drizzle": "drizzle"}


def _top(app: Application) -> Iterator[Setting]:
    names = app.names
    yield Setting("", "region", names.region.value, names.region.why)
    yield Setting("", "aws_account_number", names.account.value, names.account.why)
    yield Setting("", "namespace", names.namespace.value, names.namespace.why)
    yield Setting("", "name", names.name.value, names.name.why)
    yield Setting("", "stage", app.asked.stage, "as asked for: the file's name")
    yield Setting("", "state_bucket", names.bucket.value, names.bucket.why)


def _aws(app: Application) -> Iterator[Setting]:
    names = app.names
    begin = f"arn:aws:iam::{names.account.value}:role/{names.namespace.value}-{names.name.value}-{app.asked.stage}"
    yield Setting("aws", "role_arn", f"{begin}-pipeline", "the role of releases, which `provision` makes")
    yield Setting("aws", "reconciler_role_arn", f"{begin}-reconciler", "that of `reconcile` and `retire`, made alike")


def _source(app: Application) -> Iterator[Setting]:
    repository = app.repository
    if repository.origin:
        yield Setting(
            "source", "url", without_credentials(repository.origin), "git's remote origin, without credentials"
        )
    else:
        yield Setting("source", "url", f"{FILL_IN}-URL", "there is no remote origin: the address that git clones")
    if app.github:
        yield Setting("source", "github_repository", app.github[1], "of that address")
        if app.github[0] != "github.com":
            api = f"https://{app.github[0]}/api/v3"
            yield Setting("source", "github_api", api, "of an Enterprise Server at that host")
    else:
        yield Setting(
            "source",
            "github_repository",
            f"{FILL_IN}-OWNER/NAME",
            "owner and name at GitHub, whose webhook starts releases",
        )
    branch = repository.branch or "main"
    yield Setting(
        "source",
        "main_branch",
        branch,
        "the default branch" if repository.branch else "chosen: git names no default branch",
    )


def _image(app: Application) -> Iterator[Setting]:
    image, built = app.image, app.image.built
    yield Setting("image", "dockerfile", image.dockerfile.value, image.dockerfile.why)
    yield Setting("image", "context", image.context.value, image.context.why)
    if image.target:
        yield Setting("image", "target", image.target.value, image.target.why)
    if built.platform == "linux/arm64":
        yield Setting("image", "platform", built.platform, "the platform of its last FROM")
    given = image.compose.arguments if image.compose else {}
    arguments = {n: v for n, v in given.items() if v and "$" not in v and n in built.arguments and not looks_secret(n)}
    if arguments:
        yield Setting(
            "image",
            "build_args",
            arguments,
            f"the build of {image.compose.service} in {image.compose.path}" if image.compose else "",
        )
    if built.secrets:
        given_by = {id: {"variable": f"{FILL_IN}-VARIABLE"} for id in built.secrets}
        why = (
            "RUN --mount=type=secret in the Dockerfile: the variable or file of the worker, or the secret, that has it"
        )
        yield Setting("image", "secrets", given_by, why)
    if built.ssh:
        yield Setting("image", "ssh", dict.fromkeys(built.ssh, "agent"), "RUN --mount=type=ssh in the Dockerfile")


def _service(app: Application) -> Iterator[Setting]:
    port, path = _port(app), _health_path(app)
    yield Setting("service", "container_port", port.value, port.why)
    yield Setting("service", "cpu", 256, "chosen, as memory is (MiB): Fargate's smallest; measure, then raise")
    yield Setting("service", "memory", 512, "MiB a task")
    yield Setting("service", "desired_count", 2, "chosen: a task may end without an outage")
    yield Setting("service", "health_check_path", path.value, path.why)


def _port(app: Application) -> Guess[int | str]:
    """The port that the container listens on. What the environment sets goes before what the image says."""
    built, path = app.image.built, app.image.dockerfile.value
    ports = app.compose.ports if app.compose else ()
    example = next((p for p in app.examples() if "PORT" in assignments(app.repository.texts.get(p, ""))), "")
    value = assignments(app.repository.texts.get(example, "")).get("PORT", "")
    guesses: list[Guess[int] | None] = [
        _number(built.variables.get("PORT", ""), f"PORT in {path}"),
        Guess(built.command_port, f"the command in {path}") if built.command_port else None,
        Guess(built.ports[0], f"EXPOSE in {path}") if len(built.ports) == 1 else None,
        Guess(ports[0], f"ports of {app.compose.service} in {app.compose.path}") if app.compose and ports else None,
        Guess(built.checked[0], f"HEALTHCHECK in {path}") if built.checked and built.checked[0] else None,
        _number(value, example),
        Guess(built.ports[0], f"the first EXPOSE in {path}") if built.ports else None,
        listening_port(app.files),
        _default_port(app),
    ]
    found = next((guess for guess in guesses if guess), None)
    if found is None:
        return Guess(f"{FILL_IN}-PORT", "the port that the container listens on, as a number without quotes")
    return Guess(found.value, found.why)


def _number(text: str, why: str) -> Guess[int] | None:
    return Guess(int(text), why) if text.isdigit() and 1 <= int(text) <= 65_535 else None


def _default_port(app: Application) -> Guess[int] | None:
    for server, port in _SERVERS:
        if server in app.command:
            return Guess(port, f"the default of {server}, which the command starts")
    package = app.repository.nearest("package.json", folder=app.folder)
    for framework, port in _FRAMEWORKS:
        if package and f'"{framework}"' in app.repository.texts.get(package, ""):
            return Guess(port, f"the default of {framework}, which {package} depends on")
    return None


def _health_path(app: Application) -> Guess[str]:
    built = app.image.built
    checked = built.checked or (app.compose.checked if app.compose else None)
    if app.routes.shallow and not (checked and checked[1].rstrip("/").endswith(app.routes.shallow.value.rstrip("/"))):
        return app.routes.shallow
    if checked:  # the whole path, with what routers put in front of it
        where = app.image.dockerfile.value if built.checked else app.compose.path if app.compose else ""
        return Guess(checked[1], f"the health check in {where}")
    if app.routes.deep:
        return Guess(app.routes.deep.value, f"{app.routes.deep.why}; better one that does not ask the database")
    return Guess(
        f"/{FILL_IN}-HEALTH-PATH",
        "no route such as /healthz was found in the source: a path that answers 200 without asking the database. If "
        'there is none, "/" with health_check_matcher = "200-399"',
    )


def _variables(app: Application) -> Iterator[Setting]:
    port = _port(app)
    for name, guess in app.known.variables.items():
        if name in app.secrets:
            continue
        if name == "PORT":
            guess = Guess(str(port.value), f"{guess.why}; the same as container_port")
        yield Setting("service.variables", name, guess.value, guess.why)


def _secrets(app: Application) -> Iterator[Setting]:
    secret = f"{app.names.secret}/{app.asked.stage}"
    for name, why in app.secrets.items():
        yield Setting("service.secrets", name, {"secret": secret, "key": name}, why)


def _migration(app: Application) -> Iterator[Setting]:
    found = app.migrations
    if found is None:
        yield Setting(
            "migration",
            "enabled",
            False,
            "no tool that migrates was found: Prisma, Alembic, Drizzle, Django, Rails, Flyway, or a script",
        )
        return
    if found.engine != "prisma":
        yield Setting("migration", "engine", found.engine, found.why)
    if found.directory and found.directory != _DEFAULT_DIRECTORIES.get(found.engine):
        yield Setting("migration", "directory", found.directory, found.why)
    for key, value in found.settings.items():
        yield Setting("migration", key, value, found.why if key == "enabled" else "the tool's own")
    if command := _command(app, found):
        yield Setting("migration", "command", command.value, command.why)
    if found.engine in ("prisma", "drizzle") and (there := _image_directory(app, found)):
        yield Setting("migration", "image_directory", there.value, there.why)
    if found.url_variable != "DATABASE_URL":
        yield Setting("migration", "url_variable", found.url_variable, "the address that it migrates over")


def _image_directory(app: Application, found: Migrations) -> Guess[str] | None:
    there = app.in_image(found.directory or "")
    if there is None or there == found.directory:
        return None
    return Guess(there, "where the Dockerfile copies it, from the image's working directory")


def _command(app: Application, found: Migrations) -> Guess[list[str]] | None:
    """The command that migrates, where it is not the tool's own default."""
    there = app.in_image(found.configuration) if found.configuration else None
    why = "from the image's working directory"
    searched = found.engine == "prisma" and not found.found_by_itself and "enabled" not in found.settings
    if searched and there and there not in ("prisma/schema.prisma", "schema.prisma"):
        return Guess(["npx", "--no-install", "prisma", "migrate", "deploy", "--schema", there], why)
    if found.engine == "alembic":
        runner = next(
            (
                words
                for begin, words in (("uv run", ["uv", "run", "--no-sync"]), ("poetry run", ["poetry", "run"]))
                if begin in app.image.built.command
            ),
            [],
        )
        elsewhere = ["-c", there] if there and there not in ("alembic.ini", "pyproject.toml") else []
        if runner or elsewhere:
            return Guess([*runner, "alembic", *elsewhere, "upgrade", "head"], f"as the image's command does, {why}")
    return None


def _smoke(app: Application) -> Iterator[Setting]:
    paths = dict.fromkeys([_health_path(app).value, *([app.routes.deep.value] if app.routes.deep else [])])
    why = (
        f"the health check's path, and {app.routes.deep.why}"
        if len(paths) > 1 and app.routes.deep
        else (
            "the health check's path: add what must work before traffic shifts, such as a page that reads the database"
        )
    )
    yield Setting("smoke", "checks", [{"path": path} for path in paths], why)


def _traffic(app: Application) -> Iterator[Setting]:
    if app.routes.version and app.tells_version:
        yield Setting(
            "traffic",
            "version_path",
            app.routes.version.value,
            f"{app.routes.version.why}; the source reads POINTSMAN_VERSION",
        )


def _provision(app: Application) -> Iterator[Setting]:
    sibling, account = app.sibling, app.names.account.value
    copied = f"environments/{sibling.stage}.toml" if sibling else ""
    repository = app.github[1] if app.github else f"{FILL_IN}-OWNER/NAME"
    stages = [*(sibling.texts("provision", "account", "stages") if sibling else []), app.asked.stage]
    root = "provision.account"
    yield Setting(root, "github_repository", repository, "the same as source.github_repository")
    yield Setting(
        root,
        "stages",
        list(dict.fromkeys(stages)),
        "the environments that share the account; the same in all their files",
    )
    yield Setting(
        root, "application_actions", [], "chosen: IAM actions that the application itself needs, such as s3:GetObject"
    )
    principals = (
        (
            "operator_principal_arns",
            [f"arn:aws:iam::{account}:root"],
            "chosen: who may look; root leaves that to the account's own policies",
        ),
        (
            "pipeline_principal_arns",
            [f"arn:aws:iam::{account}:role/{FILL_IN}-WORKER-ROLE"],
            "the role of the machine that releases; it must exist",
        ),
    )
    for key, value, why in principals:
        known = sibling.texts(root.split(".")[0], "account", key) if sibling else []
        yield Setting(root, key, known or value, copied if known else why)
    ranges = sibling.texts("provision", "environment", "test_listener_cidrs") if sibling else []
    yield Setting(
        "provision.environment",
        "test_listener_cidrs",
        ranges or [f"{FILL_IN}-ADDRESS/32"],
        copied if ranges else "the address from which that machine reaches the load balancer, for the smoke test",
    )


SECTIONS = (_top, _aws, _source, _image, _service, _variables, _secrets, _migration, _smoke, _traffic, _provision)
"""In the file's order."""
