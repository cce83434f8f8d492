"""Values that a build is given and nobody is to see: what is accepted, where they must not be, and how they are hidden.

https://docs.docker.com/build/building/secrets/
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from core.errors import Refused

__all__ = ["LONGEST_SECRET", "BuildSecret", "BuildSecrets", "json_key_of", "refuse_unfit"]

LONGEST_SECRET = 100 * 1024
"""In bytes: a value goes to the docker client as one variable, for which Linux has 128 KiB (execve(2))."""

_SHORTEST = 8
_SHORTEST_WORD = 16
_HIDDEN = "***"
_VARIABLE = "POINTSMAN_BUILD_SECRET_{}"


@dataclass(frozen=True)
class BuildSecret:
    """One value under the id by which a `RUN` step mounts it."""

    id: str
    value: str = field(repr=False)

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """The value, and what else betrays it: as JSON, in a URL, in base64, and each word of it that looks like a key.

        A word of letters alone, a host or a path is no key: a `.npmrc` names its registry, and so does every image. Of
        an address with a user and a password, both together count too, as HTTP's basic authentication sends them.
        """
        plain = self.value.strip()
        words = [word for word in re.split(r"[\s=:,;\"'<>/@{}()\[\]]+", plain) if _looks_like_a_key(word)]
        pairs = re.findall(r"://([^/\s:@]+:[^/\s@]+)@", plain)
        forms = [form for part in dict.fromkeys((plain, *words, *pairs)) for form in _encoded(part)]
        return tuple(sorted(dict.fromkeys(forms), key=len, reverse=True))

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """What is hidden in a line of the log: those forms, and each line of the value, the longest first."""
        lines = [line.strip() for line in self.value.splitlines() if len(line.strip()) >= _SHORTEST]
        return tuple(sorted(dict.fromkeys((*self.forms, *lines)), key=len, reverse=True))


@dataclass(frozen=True)
class BuildSecrets:
    """All values of one build."""

    secrets: tuple[BuildSecret, ...] = ()

    def __add__(self, other: BuildSecrets) -> BuildSecrets:
        return BuildSecrets((*self.secrets, *other.secrets))

    def __iter__(self) -> Iterator[BuildSecret]:
        return iter(self.secrets)

    def __bool__(self) -> bool:
        return bool(self.secrets)

    @property
    def variables(self) -> dict[str, str]:
        """The docker client's variables that hold them: neither its arguments nor a file of ours do."""
        return {_VARIABLE.format(number): secret.value for number, secret in enumerate(self.secrets)}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The docker client's arguments: ids, and names of variables."""
        return tuple(
            f"--secret=id={secret.id},env={_VARIABLE.format(number)}" for number, secret in enumerate(self.secrets)
        )

    def mask(self, line: str) -> str:
        """Return a line of output in which none of them can be read."""
        for text in self._hidden:
            line = line.replace(text, _HIDDEN)
        return line

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        return tuple(sorted({text for secret in self.secrets for text in secret.hidden}, key=len, reverse=True))


def _looks_like_a_key(word: str) -> bool:
    """Whether a word is long and mixed enough to be a key or a token; a host's name, which ends in letters, is none."""
    mixed = re.fullmatch(r"(?=.*\d)(?=.*[A-Za-z])[\w.+~-]+", word)
    host = re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}", word)
    return len(word) >= _SHORTEST_WORD and mixed is not None and host is None


def refuse_unfit(
    secret: BuildSecret, where: str, build_args: Mapping[str, str], setting: str | None = None
) -> BuildSecret:
    """Return the secret; raise `Refused`, naming `setting`, for a value that can't be given, or can't be hidden."""
    setting = setting or f"[image.secrets.{secret.id}]"
    long = len(secret.value.encode())
    fault = None
    if len(secret.value.strip()) < _SHORTEST:
        fault = f"{where} holds fewer than {_SHORTEST} characters, which could not be told from other text in a log"
    elif long > LONGEST_SECRET:
        fault = f"{where} holds {long} bytes, of at most {LONGEST_SECRET}"
    elif "\0" in secret.value:
        fault = f"{where} is not text"
    if fault:
        raise Refused(
            f"{setting} cannot be given to a build", why=fault, do="Correct the value, or remove the setting."
        )
    if told := sorted(name for name, value in build_args.items() if any(form in value for form in secret.forms)):
        raise Refused(
            f"The build argument {', '.join(told)} holds the value of {setting}",
            why="arguments stay readable in the image's history and on the docker client's command line",
            do="Remove it from image.build_args: a step that needs it has RUN --mount=type=secret.",
        )
    return secret


def json_key_of(text: str, key: str, where: str) -> str:
    """Return the text under a JSON key of a secret; raise `Refused` where there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, str):
        raise Refused(
            f"{where} has no text under the key {key}",
            why="it is not JSON" if not isinstance(found, dict) else f"it has {_listed(found)}",
            do="Correct the key in the settings, or the secret.",
        )
    return value


def _listed(keys: Iterable[str]) -> str:
    return f"the keys {', '.join(sorted(keys))}" if keys else "no keys"


def _encoded(text: str) -> Iterator[str]:
    yield text
    yield json.dumps(text)[1:-1]
    yield quote(text, safe="")
    yield base64.b64encode(text.encode()).decode()
