"""The database: one engine a process, and the one table."""

from __future__ import annotations

import os

from sqlalchemy import DateTime, Engine, Text, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Note", "database_url", "make_engine"]


class Base(DeclarativeBase):
    """What migrations are compared with."""


class Note(Base):
    """One note."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    written_at: Mapped[object] = mapped_column(DateTime(timezone=True), server_default=func.now())


def database_url() -> str:
    """Return DATABASE_URL with the driver that SQLAlchemy is to use."""
    return os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)


def make_engine() -> Engine:
    """Return an engine that notices connections which the database closed."""
    return create_engine(database_url(), pool_pre_ping=True, pool_size=5, max_overflow=5)
