"""What a JSON value must look like: a pattern of plain values and matchers, and all the places where it differs.

An object's keys that a pattern does not name must be empty: a pattern lists what is allowed, not what is forbidden.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Computed", "JsonText", "Kept", "Named", "OneOf", "Set", "Text", "Whole", "differences"]

_SHOWN = 160


@dataclass(frozen=True)
class OneOf:
    """One of several patterns."""

    patterns: tuple[Any, ...]

    def __init__(self, *patterns: Any) -> None:
        object.__setattr__(self, "patterns", patterns)


@dataclass(frozen=True)
class Text:
    """Text that a regular expression describes as a whole; `says` tells a reader which text that is."""

    expression: str
    says: str


@dataclass(frozen=True)
class Set:
    """A list in any order, each member once."""

    members: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """A whole number above zero."""


@dataclass(frozen=True)
class Kept:
    """What it was before; where there was nothing before, the value it begins with."""

    begins: Any


@dataclass(frozen=True)
class Computed:
    """A value that may be known only after the apply; once it is known it fits the pattern."""

    pattern: Any


@dataclass(frozen=True)
class JsonText:
    """Text that is JSON, whose value fits the pattern."""

    pattern: Any


@dataclass(frozen=True)
class Named:
    """A list of pairs in any order, each name once, such as a container's variables. Values are never shown."""

    key: str
    value: str
    pairs: Mapping[str, str]


def _empty(value: object) -> bool:
    """Whether a value says nothing: what an attribute is that nobody has set."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def differences(at: str, value: Any, pattern: Any, unknown: Any = None) -> list[str]:
    """Return a sentence for each place where `value` does not fit; `unknown` marks what only the apply will tell."""
    if isinstance(pattern, Computed):
        later = unknown is True and value is None
        return [] if later else differences(at, value, pattern.pattern)
    if unknown is True:
        return [f"{at} would be known only after the apply"]
    if isinstance(pattern, OneOf):
        return _one_of(at, value, pattern, unknown)
    if isinstance(pattern, Text):
        fits = isinstance(value, str) and re.fullmatch(pattern.expression, value) is not None
        return [] if fits else [f"{at} would become {_shown(value)}, not {pattern.says}"]
    if isinstance(pattern, Whole):
        fits = type(value) is int and value > 0
        return [] if fits else [f"{at} would become {_shown(value)}, not a whole number above 0"]
    if isinstance(pattern, Set):
        fits = isinstance(value, list) and Counter(map(_shown, value)) == Counter(map(_shown, pattern.members))
        return [] if fits else [f"{at} would become {_shown(value)}, not {_shown(list(pattern.members))}"]
    if isinstance(pattern, JsonText):
        return _json_text(at, value, pattern)
    if isinstance(pattern, Named):
        return _named(at, value, pattern)
    if isinstance(pattern, Mapping):
        return _object(at, value, pattern, unknown)
    if isinstance(pattern, list):
        return _list(at, value, pattern, unknown)
    same = (type(value) is type(pattern) and value == pattern) or (_empty(value) and _empty(pattern))
    return [] if same else [f"{at} would become {_shown(value)}, not {_shown(pattern)}"]


def _one_of(at: str, value: Any, pattern: OneOf, unknown: Any) -> list[str]:
    found = [differences(at, value, each, unknown) for each in pattern.patterns]
    return [] if any(not faults for faults in found) else found[0]


def _object(at: str, value: Any, pattern: Mapping[str, Any], unknown: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"{at} would become {_shown(value)}, not an object"]
    later = unknown if isinstance(unknown, Mapping) else {}
    faults: list[str] = []
    for key in {**pattern, **value, **later}:
        place = f"{at}.{key}"
        if key in pattern:
            faults += differences(place, value.get(key), pattern[key], later.get(key))
        elif not _empty(value.get(key)):
            faults.append(f"{place} would become {_shown(value[key])}, which a slot does not have")
        elif _any_unknown(later.get(key)):
            faults.append(f"{place} would be known only after the apply")
    return faults


def _list(at: str, value: Any, pattern: Sequence[Any], unknown: Any) -> list[str]:
    value = [] if value is None else value
    if not isinstance(value, list):
        return [f"{at} would become {_shown(value)}, not a list"]
    if len(value) != len(pattern):
        return [f"{at} would become {_shown(value)}, with {len(value)} entries instead of {len(pattern)}"]
    later = unknown if isinstance(unknown, list) and len(unknown) == len(pattern) else [None] * len(pattern)
    faults: list[str] = []
    for place, (one, expected, mark) in enumerate(zip(value, pattern, later, strict=True)):
        faults += differences(f"{at}[{place}]", one, expected, mark)
    return faults


def _json_text(at: str, value: Any, pattern: JsonText) -> list[str]:
    try:
        parsed = json.loads(value, object_pairs_hook=_without_doubles)
    except (TypeError, ValueError) as error:
        return [f"{at} would become {_shown(value)}, which is not valid JSON ({error})"]
    return differences(at, parsed, pattern.pattern)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    doubled = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
    if doubled:
        raise ValueError(f"{', '.join(doubled)} appears twice")
    return dict(pairs)


def _named(at: str, value: Any, pattern: Named) -> list[str]:
    value = [] if value is None else value
    exact = {pattern.key, pattern.value}
    if not isinstance(value, list) or not all(isinstance(pair, Mapping) and set(pair) == exact for pair in value):
        return [f"{at} would become something other than a list of {pattern.key} and {pattern.value}"]
    times = Counter(str(pair[pattern.key]) for pair in value)
    found = {str(pair[pattern.key]): pair[pattern.value] for pair in value}
    return [
        *(f"{at} would have {name} {often} times" for name, often in times.items() if often > 1),
        *(f"{at} would lack {name}" for name in pattern.pairs if name not in found),
        *(f"{at} would gain {name}" for name in found if name not in pattern.pairs),
        *(f"{at}.{name} would differ" for name, wanted in pattern.pairs.items() if found.get(name, wanted) != wanted),
    ]


def _any_unknown(mark: Any) -> bool:
    if isinstance(mark, Mapping):
        return any(map(_any_unknown, mark.values()))
    if isinstance(mark, list):
        return any(map(_any_unknown, mark))
    return mark is True


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
