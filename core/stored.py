"""What is in the state bucket: values that never change, and transitions that are validated as a whole."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

__all__ = ["Stored"]


class Stored(BaseModel):
    """A value of the release record."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def with_nonce(self, nonce: str) -> Self:
        """Return a copy with the name of one write, which tells its lost answer from a lost race."""
        return self._with(nonce=nonce)

    def _with(self, **facts: object) -> Self:
        """Return a copy with some fields replaced, validated as a whole: `model_copy` would take a misspelt name."""
        return self.model_validate({name: getattr(self, name) for name in type(self).model_fields} | facts)
