"""Migration tools, one module each; `engine_of` is where the next one is added."""

from __future__ import annotations

from core.settings import EnvironmentSettings
from systems.migrations.alembic import Alembic
from systems.migrations.command import Command
from systems.migrations.drizzle import Drizzle
from systems.migrations.engine import MigrationEngine
from systems.migrations.prisma import Prisma

__all__ = ["engine_of"]


def engine_of(settings: EnvironmentSettings) -> MigrationEngine | Command | None:
    """Return the tool that migrates an environment's database, or None where migrations are switched off."""
    migration = settings.migration
    if not migration.enabled:
        return None
    match migration.engine:
        case "command":
            return Command(migration)
        case "alembic":
            return Alembic(migration)
        case "drizzle":
            return Drizzle(migration)
        case "prisma":
            return Prisma(migration)
