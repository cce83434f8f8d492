"""What migrates the database: `[migration]` of an environment's file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from core.secret import SecretReference
from core.section import Seconds, Section

__all__ = ["Migration"]

_ENGINE_DEFAULTS: dict[str, dict[str, object]] = {
    "alembic": {"command": ["alembic", "upgrade", "head"], "directory": "alembic/versions"},
    "drizzle": {
        "command": ["npx", "--no-install", "drizzle-kit", "migrate"],
        "directory": "drizzle",
        "table": "drizzle.__drizzle_migrations",
    },
    "command": {"directory": None},
}


class Migration(Section):
    """The one-off ECS task that migrates the database."""

    enabled: bool = True
    engine: Literal["prisma", "alembic", "drizzle", "command"] = Field(
        default="prisma", description="The tool whose files and table are read; `command` reads neither."
    )
    entry_point: list[str] = Field(default=[])
    command: list[str] = Field(
        default=["npx", "--no-install", "prisma", "migrate", "deploy"],
        min_length=1,
        description="What migrates; by default what the engine's manual says. The engine `command` has no default.",
    )
    status: list[str] = Field(
        default=[], description="Of the engine `command`: exits with 0 only where the database has every migration."
    )
    directory: str | None = Field(
        default="prisma/migrations",
        description="Migrations in the repository; by default where the engine makes them. The engine `command` has no "
        "default, and reads rollback floors from there.",
    )
    image_directory: str | None = Field(
        default=None, description="The same in the image, from its working directory; as in the repository if unset."
    )
    table: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_$]*\.[A-Za-z_][A-Za-z0-9_$]*$",
        description="Of the engine `drizzle`: schema and name of its table.",
    )
    url_variable: str = Field(default="DATABASE_URL", description="The variable that holds the database's address.")
    secrets: dict[str, SecretReference] = Field(
        default={}, description="Secrets of the migration's task alone, beside the service's or in place of them."
    )
    timeout_seconds: Seconds = 900

    @model_validator(mode="before")
    @classmethod
    def _the_engine_has_defaults(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        engine = given.get("engine", "prisma")
        if engine == "flyway":
            raise ValueError(
                'engine = "flyway" does not exist: set engine = "command", command = ["flyway", "migrate"], '
                'status = ["flyway", "validate"] and directory to where its files lie'
            )
        if engine == "command" and "command" not in given:
            raise ValueError('engine = "command" needs command: what migrates, on each release')
        return {**_ENGINE_DEFAULTS.get(str(engine), {}), **given}

    @model_validator(mode="after")
    def _settings_are_the_engine_s(self) -> Self:
        for name, value, engine in (("status", self.status, "command"), ("table", self.table, "drizzle")):
            if value and self.engine != engine:
                raise ValueError(f'{name} is read with engine = "{engine}" only, and this one is "{self.engine}"')
        if self.image_directory and self.engine in ("alembic", "command"):
            where = (
                "Alembic's own configuration says where they lie" if self.engine == "alembic" else "no image is read"
            )
            raise ValueError(f"image_directory is not read with engine = {self.engine!r}: {where}")
        if self.directory is None and self.engine != "command":
            raise ValueError(f"engine = {self.engine!r} needs directory")
        return self

    @field_validator("command", "status")
    @classmethod
    def _nothing_is_fetched_at_deploy_time(cls, command: list[str]) -> list[str]:
        words = {word for part in command for word in part.split()}
        fetching = sorted(words & {"dlx", "bunx", "uvx", "pipx", "npm_config_yes=true"}) or (
            sorted(words & {"--yes", "-y"})
            if "npx" in words or {"npm", "exec"} <= words or {"npm", "x"} <= words
            else []
        )
        if fetching:
            raise ValueError(
                f"{fetching[0]!r} fetches the tool at deploy time, with the database's password beside it: install it "
                "in the image, and call it there (npx --no-install, pnpm exec, bun run, uv run --no-sync)"
            )
        return command
