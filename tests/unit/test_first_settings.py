"""What a first file says, by what the repository holds: facts in, text out."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refused
from core.first_settings import Asked
from core.first_settings.dockerfiles import built_image, places
from core.first_settings.document import written
from core.first_settings.origin import github_name, without_credentials
from core.settings import parse_settings
from tests.unit.first_file import FASTAPI, MONOREPO, NODE, ORIGIN, filled, first

PRISMA = {
    "Dockerfile": NODE,
    "prisma/schema.prisma": 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n',
    "prisma/migrations/1_first/migration.sql": "SELECT 1;",
}
DRIZZLE = {
    "Dockerfile": NODE,
    "drizzle.config.ts": 'export default { out: "./db/out", dialect: "postgresql",\n'
    '  migrations: { table: "done", schema: "public" }, dbCredentials: { url: process.env.PG_URL } }',
    "db/out/meta/_journal.json": "{}",
}


def value(files: dict[str, str], name: str, **said: Any) -> Any:
    """One setting of the file, None where it does not say it."""
    return next((one.value for one in first(files, **said).settings if one.name == name), None)


@pytest.mark.parametrize(
    ("files", "port"),
    [
        ({"Dockerfile": "FROM a\nENV PORT=3100\nEXPOSE 1 2\n"}, 3100),
        ({"Dockerfile": "FROM a\nENV PORT 3100\n"}, 3100),
        ({"Dockerfile": "FROM a\nARG P=3101\nEXPOSE $P/tcp\n"}, 3101),
        ({"Dockerfile": "FROM a AS base\nEXPOSE 3102\nFROM base\nCMD x\n"}, 3102),
        ({"Dockerfile": "FROM a\nEXPOSE 3102\nFROM b\n"}, "FILL-IN-PORT"),
        ({"Dockerfile": 'FROM a\nEXPOSE 9\nCMD ["uvicorn", "a:b", "--port", "3103"]\n'}, 3103),
        ({"Dockerfile": "FROM a\nCMD gunicorn -b 0.0.0.0:3104 a:b\n"}, 3104),
        ({"Dockerfile": "FROM a\nCMD gunicorn a:b\n"}, 8000),
        ({"Dockerfile": "FROM a\nHEALTHCHECK CMD curl -f http://localhost:3105/ok\n"}, 3105),
        ({"Dockerfile": "FROM a\n", ".env.example": "PORT=3106\n"}, 3106),
        ({"Dockerfile": "FROM a\n", "src/a.ts": "app.listen(process.env.PORT || 3107)"}, 3107),
        ({"Dockerfile": "FROM a\n", "src/a.ts": "app.listen(1234)", "src/b.ts": "admin.listen(1235)"}, "FILL-IN-PORT"),
        ({"Dockerfile": "FROM a\n", "test/a.ts": "app.listen(3108)"}, "FILL-IN-PORT"),
        ({"Dockerfile": "FROM a\n", "main.go": 'http.ListenAndServe(":3109", nil)'}, 3109),
        ({"Dockerfile": "FROM a\n", "package.json": '{"dependencies": {"next": "15"}}'}, 3000),
        ({"Dockerfile": "FROM a\n", "compose.yml": 'services: {web: {build: ., ports: ["80:3110"]}}'}, 3110),
        ({"Dockerfile": "FROM a\n", "compose.yml": "services: {web: {build: ., ports: [{target: 3111}]}}"}, 3111),
    ],
)
def test_the_port_is_what_the_container_listens_on(files: dict[str, str], port: int | str) -> None:
    assert value(files, "service.container_port") == port


@pytest.mark.parametrize(
    ("path", "text", "route"),
    [
        ("app.js", "app.get('/healthz', ok)", "/healthz"),
        ("app.ts", 'r.get("/api/v1/health", ok)', "/api/v1/health"),
        ("app.py", '@app.get("/livez")', "/livez"),
        ("app.py", 'r = APIRouter(prefix="/sys")\n@r.get("/health")', "/sys/health"),
        ("urls.py", 'path("healthz/", ok),', "/healthz/"),
        ("main.go", 'mux.HandleFunc("/health/live", ok)', "/health/live"),
        ("config/routes.rb", 'get "up" => "rails/health#show"', "/up"),
        ("src/app/api/health/route.ts", "export const GET = 1", "/api/health"),
        ("pages/api/healthz.ts", "export default 1", "/api/healthz"),
        ("a.controller.ts", "@Controller('health')", "/health"),
        ("app.js", "app.get('/readyz', ok)", "/readyz"),
        ("app.js", "await fetch('/healthz')", "/FILL-IN-HEALTH-PATH"),
        ("app.js", "// '/healthz'", "/FILL-IN-HEALTH-PATH"),
        ("app.test.js", "get('/healthz')", "/FILL-IN-HEALTH-PATH"),
        ("tests/app.js", "get('/healthz')", "/FILL-IN-HEALTH-PATH"),
        ("app.js", "get('/wealthy/unhealthz')", "/FILL-IN-HEALTH-PATH"),
    ],
)
def test_a_health_route_is_found_by_its_text(path: str, text: str, route: str) -> None:
    assert value({"Dockerfile": NODE, path: text}, "service.health_check_path") == route


def test_a_shallow_route_is_the_health_check_and_a_deep_one_a_smoke_test() -> None:
    files = {"Dockerfile": NODE, "a.js": "['/readyz', '/healthz', '/version']"}
    assert value(files, "service.health_check_path") == "/healthz"
    assert value(files, "smoke.checks") == [{"path": "/healthz"}, {"path": "/readyz"}]


def test_a_health_check_says_the_whole_path_of_a_route() -> None:
    compose = "services: {a: {build: ., healthcheck: {test: [CMD, curl, 'http://localhost:80/api/v1/sys/health/']}}}"
    files = {"Dockerfile": NODE, "app.py": 'APIRouter(prefix="/sys")\n"/health/"', "compose.deploy.yml": compose}
    files["compose.override.yml"] = "services: {a: {build: ., ports: ['1:2']}, mail: {image: x}}"
    assert value(files, "service.health_check_path") == "/api/v1/sys/health/"
    assert value(files, "service.container_port") == 2


@pytest.mark.parametrize(("source", "path"), [("'/version'", None), ("'/version' POINTSMAN_VERSION", "/version")])
def test_a_version_is_asked_for_only_where_the_application_knows_ours(source: str, path: str | None) -> None:
    files = {"Dockerfile": NODE, "a.js": source}
    assert value(files, "traffic.version_path") == path
    assert any("/version (a route in a.js)" in note for note in first(files).notes) is (path is None)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (PRISMA, {"directory": "prisma/migrations"}),
        ({"Dockerfile": NODE, **{f"api/{path}": text for path, text in PRISMA.items() if path != "Dockerfile"}},
         {"directory": "api/prisma/migrations",
          "command": ["npx", "--no-install", "prisma", "migrate", "deploy", "--schema", "api/prisma/schema.prisma"]}),
        ({**PRISMA, "prisma.config.ts": "export default { migrations: { path: 'db/m' } }", "db/m/1/migration.sql": ""},
         {"directory": "db/m"}),
        ({path: text for path, text in PRISMA.items() if not path.endswith(".sql")}, {"enabled": False}),
        (DRIZZLE, {"engine": "drizzle", "directory": "db/out", "table": "public.done", "url_variable": "PG_URL"}),
        ({"Dockerfile": NODE, "drizzle/meta/_journal.json": "{}"}, {"engine": "drizzle", "directory": "drizzle"}),
        ({"Dockerfile": NODE, "alembic.ini": "[alembic]\nscript_location = alembic\n"},
         {"engine": "alembic", "directory": "alembic/versions", "command": ["alembic", "upgrade", "head"]}),
        ({"Dockerfile": NODE, "pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/db"\n'},
         {"engine": "alembic", "directory": "db/versions"}),
        ({"Dockerfile": NODE, "alembic.ini": "[alembic]\nscript_location = shop.db:migrations\n"},
         {"engine": "alembic", "directory": "shop/db/migrations/versions"}),
        ({"Dockerfile": NODE, "manage.py": ""},
         {"engine": "command", "command": ["python", "manage.py", "migrate", "--noinput"]}),
        ({"Dockerfile": NODE, "db/schema.rb": ""}, {"engine": "command", "command": ["bin/rails", "db:migrate"]}),
        ({"Dockerfile": NODE, "flyway.conf": ""}, {"engine": "command", "status": ["flyway", "validate"]}),
        ({"Dockerfile": NODE, "package.json": '{"scripts": {"db:migrate": "knex migrate:latest"}}'},
         {"engine": "command", "command": ["npm", "run", "db:migrate"]}),
        ({"Dockerfile": NODE}, {"enabled": False}),
        ({"Dockerfile": NODE, "package.json": "not json", "alembic.ini": "nor ini"}, {"enabled": False}),
    ],
)  # fmt: skip
def test_the_migrations_tool_is_known_by_its_files(files: dict[str, str], said: dict[str, object]) -> None:
    migration = filled("production", first(files).text).migration
    assert {name: getattr(migration, name) for name in said} == said


def test_prisma_is_not_named_for_it_is_the_default() -> None:
    assert value(PRISMA, "migration.engine") is None
    assert value(PRISMA, "migration.directory") is None


def test_migrations_over_a_direct_address_need_both() -> None:
    settings = filled("production", first(MONOREPO).text)
    assert settings.migration.url_variable == "DIRECT_URL"
    assert {"DATABASE_URL", "DIRECT_URL"} <= settings.service.secrets.keys()


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("TOKEN=", "secrets"),
        ("API_KEY=abc", "secrets"),
        ("DB_PASSWORD=x", "secrets"),
        ("REDIS_URL=redis://localhost", "secrets"),
        ("SENTRY_DSN=", "secrets"),
        ("UPSTREAM=https://u:p@h/x", "secrets"),
        ("UPSTREAM=ghp_0123456789abcdef0123", "secrets"),
        ("TOKEN_TTL=60", "variables"),
        ("KEYBOARD=de", "variables"),
        ("SITE_URL=https://shop.acme.io", "variables"),
        ("NEXT_PUBLIC_KEY=abc", "left out"),
        ("AWS_SECRET_ACCESS_KEY=", "left out"),
        ("POSTGRES_PASSWORD=x", "left out"),
        ("POINTSMAN_VERSION=x", "left out"),
        ("#TOKEN=x", "nowhere"),
    ],
)
def test_a_name_of_the_example_is_a_variable_or_a_secret(line: str, where: str) -> None:
    name, _, given_value = line.partition("=")
    file = first({"Dockerfile": NODE, ".env.example": line})
    found = [one.section for one in file.settings if one.key == name]
    left = [note for note in file.notes if note.startswith(f"{name} is left out")]
    assert found == {"secrets": ["service.secrets"], "variables": ["service.variables"]}.get(where, [])
    assert bool(left) is (where == "left out")
    if where == "secrets" and len(given_value) > 1:
        assert given_value not in file.text + file.report("x")


@pytest.mark.parametrize(
    ("line", "written_value"),
    [
        ("LOG_LEVEL=info", "info"),
        ("NODE_ENV=development", "production"),
        ("APP_ENV=development", "FILL-IN-VALUE"),
        ("SITE=http://localhost:3000", "FILL-IN-VALUE"),
        ("SITE=", "FILL-IN-VALUE"),
        ("SITE=<your site>", "FILL-IN-VALUE"),
        ("SITE='a # b'", "a # b"),
        ("PORT=1", "3000"),
    ],
)
def test_a_value_of_development_is_not_taken(line: str, written_value: str) -> None:
    name = line.partition("=")[0]
    files = {"Dockerfile": "FROM a\nENV PORT=3000\n", ".env.example": line}
    assert value(files, f"service.variables.{name}") == written_value


def test_a_variable_that_names_another_container_is_left_to_fill_in() -> None:
    assert value(MONOREPO, "service.variables.CACHE_HOST") == "FILL-IN-VALUE"


@pytest.mark.parametrize(
    ("files", "dockerfile", "context"),
    [
        ({"Dockerfile": NODE, "apps/a/Dockerfile": NODE}, "Dockerfile", "."),
        ({"Dockerfile.dev": NODE, "Dockerfile.prod": NODE}, "Dockerfile.prod", "."),
        ({"tests/Dockerfile": NODE, "svc/Dockerfile": NODE}, "svc/Dockerfile", "svc"),
        ({"a/Dockerfile": NODE, "b/Dockerfile": NODE, "b/alembic.ini": ""}, "b/Dockerfile", "b"),
        ({"a/Dockerfile": NODE, "turbo.json": "{}"}, "a/Dockerfile", "."),
        ({"a/Dockerfile": "FROM x\nCOPY a/src ./\n", "a/src/x.js": ""}, "a/Dockerfile", "."),
        ({"a/Dockerfile": "FROM x\nCOPY src ./\n", "a/src/x.js": "", "turbo.json": "{}"}, "a/Dockerfile", "a"),
        ({"docker/Dockerfile": NODE, "c.yml": "", "compose.yml":
          "services: {x: {build: {context: ., dockerfile: docker/Dockerfile}}}"}, "docker/Dockerfile", "."),
    ],
)  # fmt: skip
def test_one_dockerfile_is_chosen_and_its_context(files: dict[str, str], dockerfile: str, context: str) -> None:
    assert (value(files, "image.dockerfile"), value(files, "image.context")) == (dockerfile, context)


@pytest.mark.parametrize(
    ("files", "asked", "target"),
    [
        ({"Dockerfile": "FROM a AS run\n"}, None, None),
        ({"Dockerfile": "FROM a AS runner\nFROM a AS dev\n"}, None, "runner"),
        ({"Dockerfile": "FROM a AS api\nFROM a AS web\n"}, "api", "api"),
        ({"Dockerfile": "FROM a AS api\nFROM a AS web\n",
          "compose.yml": "services: {x: {build: {context: ., target: api}}}"}, None, "api"),
        ({"Dockerfile": "FROM a AS dev\nFROM a AS web\n",
          "compose.yml": "services: {x: {build: {context: ., target: dev}}}"}, None, None),
    ],
)  # fmt: skip
def test_a_stage_is_named_where_the_last_is_not_the_one(
    files: dict[str, str], asked: str | None, target: str | None
) -> None:
    file = first(files, Asked("production", target=asked))
    assert next((one.value for one in file.settings if one.name == "image.target"), None) == target


@pytest.mark.parametrize(
    ("files", "asked", "message"),
    [
        ({"a.py": ""}, Asked("production"), "No Dockerfile was found in shop"),
        ({"examples/Dockerfile": NODE}, Asked("production"), "examples/Dockerfile is an example's"),
        ({"Dockerfile": NODE}, Asked("production", dockerfile="b"), "b was not found in shop: it has Dockerfile"),
        ({"Dockerfile": NODE}, Asked("production", target="b"), "no stage b: it has none with a name"),
        ({"Dockerfile": "# nothing"}, Asked("production"), "has no FROM"),
    ],
)
def test_without_something_to_build_it_is_refused(files: dict[str, str], asked: Asked, message: str) -> None:
    with pytest.raises(Refused, match="Dockerfile") as raised:
        first(files, asked)
    assert message in str(raised.value)


@pytest.mark.parametrize("wrong", [{"account": "12"}, {"region": "Frankfurt"}, {"namespace": "A"}])
def test_a_wrong_option_is_refused_before_anything_is_read(wrong: dict[str, str]) -> None:
    with pytest.raises(Refused, match=f"--{next(iter(wrong))}"):
        Asked("production", **wrong)


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        (
            "https://user:token@github.com/acme/shop.git",
            "https://github.com/acme/shop.git",
            ("github.com", "acme/shop"),
        ),
        ("https://token@github.com/acme/shop", "https://github.com/acme/shop", ("github.com", "acme/shop")),
        (ORIGIN, ORIGIN, ("github.com", "acme/shop")),
        ("ssh://git:pw@github.com/acme/shop.git", "ssh://git@github.com/acme/shop.git", ("github.com", "acme/shop")),
        ("https://github.acme.io/a/b.git?x=tok", "https://github.acme.io/a/b.git", ("github.acme.io", "a/b")),
        ("https://gitlab.com/acme/shop.git", "https://gitlab.com/acme/shop.git", None),
        ("/srv/git/shop", "/srv/git/shop", None),
    ],
)
def test_an_address_is_written_without_credentials(url: str, shown: str, name: tuple[str, str] | None) -> None:
    assert (without_credentials(url), github_name(url)) == (shown, name)


def test_region_and_account_are_read_where_all_files_agree() -> None:
    workflow = "aws-region: eu-west-1\nrole-to-assume: arn:aws:iam::210987654321:role/x"
    one = {"Dockerfile": NODE, ".github/workflows/a.yml": workflow}
    two = {**one, "infra/main.tf": 'region = "us-east-1"'}
    assert (value(one, "region"), value(one, "aws_account_number")) == ("eu-west-1", "210987654321")
    assert (value(two, "region"), value(two, "aws_account_number")) == ("FILL-IN-REGION", "210987654321")


def test_another_stage_of_the_same_application_says_the_rest() -> None:
    other = filled_text = first({"Dockerfile": NODE, "a.js": "'/healthz'"}).text
    other = filled_text.replace("FILL-IN-ACCOUNT", "210987654321").replace("FILL-IN-REGION", "eu-west-3")
    other = other.replace("FILL-IN-WORKER-ROLE", "worker").replace("FILL-IN-ADDRESS", "192.0.2.1")
    other = other.replace('"FILL-IN-PORT"', "80").replace('name = "shop"', 'name = "store"')
    staging = first(
        {"Dockerfile": NODE, "a.js": "'/healthz' listen(80)"}, Asked("staging"), environments={"production": other}
    )
    settings = parse_settings("staging", staging.text.replace('"FILL-IN-PORT"', "80"))
    assert (settings.region, settings.aws_account_number, settings.name) == ("eu-west-3", "210987654321", "store")
    assert settings.provision.account["stages"] == ["production", "staging"]
    assert settings.provision.account["pipeline_principal_arns"] == ["arn:aws:iam::210987654321:role/worker"]
    assert any("environments/production.toml" in step for step in staging.next_steps)


def test_what_no_file_says_is_refused_by_name_until_it_is_written() -> None:
    with pytest.raises(Refused, match="not filled in yet") as raised:
        parse_settings("production", first({"Dockerfile": NODE}).text)
    told = str(raised.value)
    for name in ("region", "aws_account_number", "state_bucket", "service.container_port", "smoke.checks.0.path"):
        assert name in told
    assert "provision.account.pipeline_principal_arns.0" in told
    assert "namespace" not in told


def test_notes_say_what_stands_in_a_releases_way() -> None:
    files = {
        **PRISMA,
        "Dockerfile": "FROM node:22\nARG NPM_TOKEN\nARG SHA\nCOPY dist /app\nCMD npm start\n",
        "package.json": '{"scripts": {"start": "prisma migrate deploy && node a.js"}}',
    }
    notes = " | ".join(first(files).notes)
    for told in ("command migrates", "no USER", "where the image holds prisma/migrations", "ARG NPM_TOKEN", "ARG SHA"):
        assert told in notes


def test_the_python_shape() -> None:
    settings = filled("production", first(FASTAPI).text)
    assert settings.service.container_port == 8000
    assert settings.service.health_check_path == "/internal/healthz"
    assert settings.migration.engine == "alembic"
    assert settings.migration.directory == "backend/shop/migrations/versions"
    assert settings.migration.command == ["uv", "run", "--no-sync", "alembic", "upgrade", "head"]
    assert settings.migration.url_variable == "SHOP_DATABASE_URL"
    assert settings.service.secrets.keys() == {"SHOP_DATABASE_URL", "STRIPE_API_KEY"}
    assert settings.service.variables["GREETING"] == "Hello, 'world'"
    assert settings.service.variables["LOG_LEVEL"] == "info"


def test_the_monorepo_shape() -> None:
    settings = filled("production", first(MONOREPO).text)
    assert (settings.image.dockerfile, settings.image.context, settings.image.target) == (
        "apps/api/Dockerfile",
        ".",
        None,
    )
    assert settings.image.secrets.keys() == {"npmrc"}
    assert settings.name == "shop-api"
    assert settings.service.container_port == 4000
    assert settings.service.variables["PORT"] == "4000"
    assert settings.service.health_check_path == "/api/health"
    assert settings.migration.directory == "apps/api/prisma/schema/migrations"
    assert settings.migration.image_directory == "prisma/schema/migrations"
    assert settings.migration.command[-2:] == ["--schema", "prisma/schema"]
    web = filled("production", first(MONOREPO, Asked("production", dockerfile="apps/web/Dockerfile")).text)
    assert (web.name, web.service.health_check_path, web.migration.enabled) == ("shop-web", "/api/health", False)


@pytest.mark.parametrize(
    ("dockerfile", "path", "found"),
    [
        ("FROM a\nWORKDIR /app\nCOPY . .\n", "prisma/m", ("/app/prisma/m",)),
        ("FROM a\nWORKDIR /app\nCOPY prisma ./p/\n", "prisma/m", ("/app/p/m",)),
        ("FROM a AS b\nCOPY . /src\nFROM c\nCOPY --from=b /src/prisma /x\n", "prisma/m", ("/x/m",)),
        ("FROM a AS b\nWORKDIR /w\nCOPY . .\nFROM b\nRUN x\n", "prisma/m", ("/w/prisma/m",)),
        ("FROM a\nCOPY dist /app\n", "prisma/m", ()),
        ("FROM a\nWORKDIR /app\nCOPY alembic.ini ./\n", "alembic.ini", ("/app/alembic.ini",)),
        ("FROM a\nCOPY alembic.ini /etc/x.ini\n", "alembic.ini", ("/etc/x.ini",)),
        ('FROM a\nWORKDIR /app\nCOPY ["prisma", "./p"]\n', "prisma", ("/app/p",)),
        ("FROM a\nCOPY --from=other/image /prisma /x\n", "prisma/m", ()),
    ],
)
def test_a_path_is_followed_into_the_image(dockerfile: str, path: str, found: tuple[str, ...]) -> None:
    assert places(dockerfile, None, path) == found


def test_an_image_inherits_of_its_stages() -> None:
    built = built_image(
        'FROM a AS b\nENV A=1 B=\'x y\'\nUSER node\nFROM b\nWORKDIR sub\nENTRYPOINT ["x"]\nCMD ["y"]\n', None
    )
    assert (built.user, built.variables, built.workdir, built.command) == (
        "node",
        {"A": "1", "B": "x y"},
        "/sub",
        "x y",
    )


TEXT = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.lists(TEXT)), max_size=3))
def test_any_value_is_written_so_that_toml_reads_it_back(given_value: dict[str, object]) -> None:
    assert tomllib.loads(f"x = {written(given_value)}")["x"] == given_value


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_no_text_of_a_repository_makes_a_file_that_toml_cannot_read(docker: str, example: str, compose: str) -> None:
    files = {"Dockerfile": f"FROM a\n{docker}", ".env.example": example, "compose.yml": compose, "package.json": docker}
    tomllib.loads(first(files).text)
