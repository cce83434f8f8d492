"""Where an application comes from, and what its files say of the AWS account that it already is in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from core.first_settings.facts import Guess, Repository

__all__ = ["Sibling", "github_name", "one_in", "region_and_account", "sibling_of", "slug", "without_credentials"]

_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)")
_REGION = re.compile(
    r"(?:aws-region|AWS_REGION|AWS_DEFAULT_REGION|\bregion)[\"']?\s*[:=]\s*[\"']?([a-z]{2}(?:-[a-z]+)+-\d)\b"
    r"|\.ecr\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com"
)
_ACCOUNT = re.compile(r"\barn:aws:iam::(\d{12}):|\b(\d{12})\.dkr\.ecr\.")
# What examples are written with.
_NO_ACCOUNTS = frozenset({"123456789012", "111122223333", "000000000000", "111111111111", "012345678901"})


@dataclass(frozen=True)
class Sibling:
    """The file of another stage of the same application."""

    stage: str
    values: Mapping[str, object]

    def text(self, *keys: str) -> str | None:
        """Return a text of it, or None."""
        value = self._value(*keys)
        return value if isinstance(value, str) else None

    def texts(self, *keys: str) -> list[str]:
        """Return a list of texts of it; nothing where there is none."""
        value = self._value(*keys)
        return [str(one) for one in value] if isinstance(value, list) else []

    def _value(self, *keys: str) -> object:
        value: object = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def without_credentials(url: str) -> str:
    """Return a git address without what is secret in it: all before the host over HTTP, a password elsewhere."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    kept = f"{name}@{host}" if at and name and parts.scheme not in ("http", "https") else host
    return urlunsplit((parts.scheme, kept, parts.path, "", ""))


def github_name(url: str) -> tuple[str, str] | None:
    """Return host and `owner/name` of an address at GitHub or a GitHub Enterprise Server; None elsewhere."""
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    elif scp := _SCP.fullmatch(url):
        host, path = scp.group(1).lower(), scp.group(2)
    else:
        return None
    name = path.strip("/").removesuffix(".git")
    if "github" not in host or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    return ("github.com" if host == "ssh.github.com" else host), name


def slug(text: str, limit: int) -> str | None:
    """Return a text as a name of ours: lower case, digits and hyphens, from a letter on; None if too little is left."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:limit].strip("-")
    return name if len(name) >= 2 else None


def region_and_account(repository: Repository) -> tuple[Guess[str] | None, Guess[str] | None]:
    """Return region and account that workflows and Terraform name, where all of them name the same one."""
    files = {p: t for p, t in repository.texts.items() if p.startswith(".github/") or p.endswith(".tf")}
    regions = one_in(files, _REGION, ())
    return regions, one_in(files, _ACCOUNT, _NO_ACCOUNTS)


def one_in(files: Mapping[str, str], pattern: re.Pattern[str], ignored: Iterable[str]) -> Guess[str] | None:
    """Return what a pattern finds in files if it finds one thing only."""
    found: dict[str, str] = {}
    for path, text in files.items():
        for match in pattern.finditer(text):
            value = next(group for group in match.groups() if group)
            if value not in ignored:
                found.setdefault(value, path)
    value, path = next(iter(found.items()), ("", ""))
    return Guess(value, path) if len(found) == 1 else None


def sibling_of(environments: Mapping[str, str], repository: str, dockerfile: str) -> Sibling | None:
    """Return the file of another stage that is of the same GitHub repository and builds the same Dockerfile."""
    for stage, text in sorted(environments.items()):
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        other = Sibling(stage, values)
        same = other.text("source", "github_repository") == repository
        if same and (other.text("image", "dockerfile") or "Dockerfile") == dockerfile:
            return other
    return None
