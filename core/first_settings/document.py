"""The text of a first file, and what is told of it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import redact
from core.settings import FILL_IN

__all__ = ["FirstSettings", "Setting", "written"]

_WIDTH = 118
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Setting:
    """One line of the file: where it is, its value, and where that was read or what it must be."""

    section: str
    """Such as `service.variables`; empty for the top of the file."""
    key: str
    value: object
    why: str

    @property
    def name(self) -> str:
        """Its name from the top of the file on."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def to_fill_in(self) -> bool:
        """Whether a person must write it."""
        return FILL_IN in written(self.value)

    @property
    def _to_do(self) -> str:
        if not self.to_fill_in:
            return ""
        # The account's number is asked for once, and is a part of these.
        of_account = FILL_IN not in written(self.value).replace(f"{FILL_IN}-ACCOUNT", "") and "account" not in self.key
        if self.section == "service.variables":
            return "FILL IN, or remove the line: "
        return "FILL IN the account's number: " if of_account else "FILL IN: "

    def lines(self) -> list[str]:
        """Return the comment and the line."""
        comment = f"{self._to_do}{self.why}"
        return [*_comment(comment), f"{_key(self.key)} = {written(self.value)}"]


@dataclass(frozen=True)
class FirstSettings:
    """A first file: its settings in the file's order, and what a person should know beside them."""

    stage: str
    settings: tuple[Setting, ...]
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The file, in TOML."""
        lines = _comment(
            f"The environment {self.stage}, read from the application's repository. Each comment says from where; "
            f"lines with {FILL_IN} are refused until they are written. Every setting there is: docs/configuration.md."
        )
        for note in self.notes:
            lines += _comment(f"Note: {note}.")
        section = ""
        for setting in self.settings:
            if setting.section != section:
                section = setting.section
                lines += ["", f"[{section}]"]
            lines += setting.lines()
        return "\n".join(lines) + "\n"

    def report(self, file: str) -> str:
        """Return what a terminal shows: what was guessed and from where, what is left to fill in, what comes next."""
        known = [one for one in self.settings if not one.to_fill_in]
        open_ = [one for one in self.settings if one.to_fill_in]
        parts = [f"Wrote {file}.", "", "Read from the repository, or chosen:", *_table(known)]
        if open_:
            parts += ["", "To fill in:", *_table(open_)]
        if self.notes:
            parts += ["", "Note:", *(f"  {_plain(note)}." for note in self.notes)]
        steps = (*((f"Fill in the {len(open_)} lines with {FILL_IN} in {file}.",) if open_ else ()), *self.next_steps)
        return "\n".join([*parts, "", "Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])


def written(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(str(k))} = {written(v)}' for k, v in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else written(name)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in redact(text))


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(_plain(text), _WIDTH - 2, break_long_words=False)]


def _table(settings: Iterable[Setting]) -> list[str]:
    rows = [(one.name, _shown(one.value), _plain(one.why)) for one in settings]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"  {name:{widths[0]}}  {value:{widths[1]}}  {why}" for name, value, why in rows]


def _shown(value: object) -> str:
    text = written(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
