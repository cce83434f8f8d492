"""Which variables and secrets an application takes, by its `.env.example` and its compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from core.errors import redact
from core.first_settings.facts import Guess
from core.image_settings import CREDENTIALS
from core.settings import FILL_IN

__all__ = ["EXAMPLES", "Variables", "assignments", "is_of_a_store", "looks_secret", "sorted_out"]

EXAMPLES = (
    *(".env.example", ".env.*.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults"),
    *("env.example", "example.env", "sample.env", ".env.production.example"),
)
"""Names of the files that tell of variables and hold no secret. `.env` itself is never read."""

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_SECRET = re.compile(
    r"(^|_)(KEY|SECRET|SECRETS|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PW|AUTH|JWT|CONNECTION_STRING|CREDENTIALS?|DSN|SALT|PRIVATE|PAT|WEBHOOK)(_|$)"
    r"|(APIKEY|SECRETKEY|ACCESSKEY)|PGPASS(WORD)?$|CLOUDINARY_URL$"
    r"|(^|_)(DATABASE|DB|POSTGRES|POSTGRESQL|PG|MYSQL|MONGO|MONGODB|REDIS|VALKEY|AMQP|RABBITMQ|DIRECT|SMTP|BROKER)"
    r"(_\w+)?_UR[LI]$"
)
_NO_SECRET = re.compile(
    r"(^|_)PUBLIC(_|$)|_(ID|TTL|EXPIRY|EXPIRES|EXPIRES_IN|LIFETIME|LENGTH|SIZE|ALGORITHM|NAME|TIMEOUT)$"
)
_IN_A_BROWSER = ("NEXT_PUBLIC_", "VITE_", "REACT_APP_", "PUBLIC_", "NUXT_PUBLIC_", "EXPO_PUBLIC_", "GATSBY_")
_OF_AWS = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|PROFILE|REGION|DEFAULT_REGION|ENDPOINT_URL\w*)"
)
_OF_THE_STORE = re.compile(r"(POSTGRES|PG|MYSQL|MARIADB|PGADMIN|REDIS)_\w+|PG(USER|PASSWORD|DATABASE|HOST|PORT)")
_LOCAL = re.compile(
    r"localhost|127\.0\.0\.1|0\.0\.0\.0|::1|host\.docker\.internal|\.local\b|example\.(com|org|net)", re.I
)
_PLACEHOLDER = re.compile(
    r"change.?me|replace.?me|your[-_ ]|\byour|<[^>]*>|\bxxx+|^\.\.\.|\btodo\b|placeholder|\$\{|\$\(", re.IGNORECASE
)
_OF_DEVELOPMENT = frozenset({"development", "dev", "local", "test", "testing"})
_OF_A_FRAMEWORK = frozenset({"NODE_ENV", "RAILS_ENV", "RACK_ENV"})


class Variables:
    """The variables, the secrets' names, and what is left out with the reason, each by name."""

    def __init__(self) -> None:
        self.variables: dict[str, Guess[str]] = {}
        self.secrets: dict[str, Guess[str]] = {}
        self.left_out: dict[str, str] = {}


def assignments(text: str) -> dict[str, str]:
    """Return names and values of a file of the kind of `.env`; what is commented out is optional and left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        name, value = match.groups()
        if quoted := re.match(r"([\"'])(.*?)\1", value):
            found[name] = quoted.group(2)
        else:
            found[name] = re.split(r"(?:^|\s)#", value)[0].strip()
    return found


def sorted_out(given: Mapping[str, Mapping[str, str]], hosts: frozenset[str], used: frozenset[str]) -> Variables:
    """Return what of the names in `given`, by the file that has them, is a variable, a secret, or not to be set.

    `hosts` are the services of the compose file; `used` are those names that `is_of_a_store` fits and
    the source mentions.
    """
    found = Variables()
    for path, name, value in _once(given):
        if reason := _left_out(name, used):
            found.left_out[name] = reason
        elif looks_secret(name, value):
            found.secrets[name] = Guess(name, f"{path}, by its {'value' if CREDENTIALS.search(value) else 'name'}")
        else:
            found.variables[name] = _value(name, value, path, hosts)
    return found


def is_of_a_store(name: str) -> bool:
    """Whether a variable may be one that only a data store's own container takes."""
    return bool(_OF_THE_STORE.fullmatch(name)) and not re.search(r"_UR[LI]$", name)


def looks_secret(name: str, value: str = "") -> bool:
    """Whether a variable is one to hide, by its value or by its name."""
    if CREDENTIALS.search(value) or redact(value) != value:
        return True
    return bool(_SECRET.search(name.upper())) and not _NO_SECRET.search(name.upper())


def _once(given: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for path, values in given.items():
        for name, value in values.items():
            if name not in seen:
                seen.add(name)
                yield path, name, value


def _left_out(name: str, used: frozenset[str]) -> str | None:
    if name.startswith("POINTSMAN_"):
        return "every release sets it itself"
    if _OF_AWS.fullmatch(name):
        return "the task's role and ECS give it"
    if name.startswith(_IN_A_BROWSER):
        return "a bundler writes it into the image while it builds: see image.build_args"
    if is_of_a_store(name) and name not in used:
        return "only the database's own container seems to take it"
    if name in ("HOST", "HOSTNAME"):
        return "an address to listen on: 0.0.0.0 in a container"
    return None


def _value(name: str, value: str, path: str, hosts: frozenset[str]) -> Guess[str]:
    if name in _OF_A_FRAMEWORK:
        return Guess("production", f"{path}; of an image that is released, whatever the stage")
    host = re.search(r"(?:^|//|@)([\w.-]+)(?::\d+)?(?:/|$)", value)
    development = value.lower() in _OF_DEVELOPMENT
    composed = host is not None and host.group(1) in hosts
    if not value or development or composed or _LOCAL.search(value) or _PLACEHOLDER.search(value):
        shown = f", where it is {value!r}" if value and value.isprintable() else ""
        return Guess(f"{FILL_IN}-VALUE", f"{path}{shown}")
    return Guess(value, path)
