"""Two values held against each other, as far as people are shown them: small parts, no secrets, not too long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.drift import NOTHING
from core.errors import redact

__all__ = ["Part", "either", "parts", "shown"]

_SHOWN = 240
_SENSITIVE = "(sensitive)"


@dataclass(frozen=True)
class Part:
    """A place where two values differ."""

    at: str
    before: str
    after: str


def parts(at: str, before: Any, after: Any, secret: Any) -> Iterator[Part]:
    """Yield the smallest parts in which two values differ; text that is JSON is looked into."""
    if before == after or (_empty(before) and _empty(after)):
        return
    if secret is True:
        yield Part(at, _SENSITIVE, _SENSITIVE)
        return
    before, after = _parsed(before), _parsed(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        marks = secret if isinstance(secret, Mapping) else {}
        for key in sorted({*before, *after}):
            yield from parts(f"{at}.{key}" if at else key, before.get(key), after.get(key), marks.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _members(at, before, after, secret)
    elif before != after:
        yield Part(at, shown(before, secret), shown(after, secret))


def _members(at: str, before: list[Any], after: list[Any], secret: Any) -> Iterator[Part]:
    """Yield what two lists don't share, whatever their order; one member in another's place is looked into."""
    gone = [(place, one) for place, one in enumerate(before) if one not in after]
    come = [(place, one) for place, one in enumerate(after) if one not in before]
    if len(gone) == len(come) == 1 and isinstance(gone[0][1], Mapping) and isinstance(come[0][1], Mapping):
        marks = secret if isinstance(secret, list) else []
        place = gone[0][0]
        mark = marks[place] if place < len(marks) else None
        yield from parts(f"{at}[{place}]", gone[0][1], come[0][1], mark)
    elif gone or come:
        yield Part(at, shown([one for _, one in gone], secret), shown([one for _, one in come], secret))


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def either(one: Any, other: Any) -> Any:
    """Return what is marked as sensitive before or after."""
    if one is True or other is True:
        return True
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        first, second = one if isinstance(one, Mapping) else {}, other if isinstance(other, Mapping) else {}
        return {key: either(first.get(key), second.get(key)) for key in {*first, *second}}
    if isinstance(one, list) or isinstance(other, list):
        longest = max((m for m in (one, other) if isinstance(m, list)), key=len)
        pairs = ((_at(one, place), _at(other, place)) for place in range(len(longest)))
        return [either(first, second) for first, second in pairs]
    return None


def _at(marks: Any, place: int) -> Any:
    return marks[place] if isinstance(marks, list) and place < len(marks) else None


def _marked(secret: Any) -> bool:
    if isinstance(secret, Mapping):
        return any(map(_marked, secret.values()))
    return any(map(_marked, secret)) if isinstance(secret, list) else secret is True


def shown(value: Any, secret: Any = None) -> str:
    """Return a value as people are shown it; nothing of one in which anything is marked as secret."""
    if _marked(secret):
        return _SENSITIVE
    if _empty(value) and value is not False:
        return NOTHING
    text = redact(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
