"""What every table of an environment's file is: read once, never changed, with no name that is not known."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Seconds", "Section"]

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """A table of an environment's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
