"""Run by Alembic for each of its commands."""

from __future__ import annotations

from alembic import context

from notes.database import Base, make_engine

if context.is_offline_mode():
    context.configure(url="postgresql+psycopg://", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with make_engine().connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
