"""The two slots of an environment and the listener weights between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Colour", "Weights"]


class Colour(StrEnum):
    """One of the two slots: a task definition, an ECS service and a target group."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Colour:
        """The other slot."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE


class Weights(BaseModel):
    """Weights of the production listener's two target groups, as ELBv2 takes them (0 to 999)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blue: int = Field(ge=0, le=999)
    green: int = Field(ge=0, le=999)

    @classmethod
    def all_on(cls, colour: Colour) -> Self:
        """Return 100 for `colour`, 0 for the other."""
        return cls(blue=100 if colour is Colour.BLUE else 0, green=100 if colour is Colour.GREEN else 0)

    def of(self, colour: Colour) -> int:
        """Return the weight of one colour."""
        return self.blue if colour is Colour.BLUE else self.green

    def __str__(self) -> str:
        return f"blue {self.blue}, green {self.green}"
