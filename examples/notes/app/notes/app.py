"""The web service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from notes.database import Note, make_engine


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Open the pool with the process and close it with it."""
    app.state.engine = make_engine()
    yield
    app.state.engine.dispose()


app = FastAPI(title="Notes", lifespan=lifespan)


def session(request: Request) -> Iterator[Session]:
    """One session a request."""
    with Session(request.app.state.engine) as opened:
        yield opened


Database = Annotated[Session, Depends(session)]


class NewNote(BaseModel):
    """A note as it is sent."""

    text: str = Field(min_length=1, max_length=10_000)


@app.get("/health")
def health() -> dict[str, str]:
    """Shallow: it says that the process answers, so that a blip of the database stops no task."""
    return {"status": "ok"}


@app.get("/ready")
def ready(database: Database) -> dict[str, str]:
    """Deep: it says that the database answers and has the tables."""
    try:
        database.execute(text("select id from note limit 1"))
    except OperationalError as error:
        raise HTTPException(503, "the database does not answer") from error
    return {"status": "ok"}


@app.get("/notes")
def notes(database: Database) -> list[dict[str, object]]:
    """Return the newest notes."""
    found = database.scalars(select(Note).order_by(Note.id.desc()).limit(50))
    return [{"id": note.id, "text": note.text} for note in found]


@app.post("/notes", status_code=201)
def write(note: NewNote, database: Database) -> dict[str, object]:
    """Keep a note."""
    kept = Note(text=note.text)
    database.add(kept)
    database.commit()
    return {"id": kept.id, "text": kept.text}
