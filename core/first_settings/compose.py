"""What a compose file says of the application: https://docs.docker.com/reference/compose-file/services/"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml

from core.first_settings.dockerfiles import url_in
from core.first_settings.facts import Repository, joined

__all__ = ["COMPOSE_FILES", "Composed", "composed"]

COMPOSE_FILES = ("compose.y*ml", "docker-compose.y*ml", "compose.*.y*ml", "docker-compose.*.y*ml")

_STORES = ("postgres", "postgis", "timescale", "pgvector", "mysql", "mariadb", "redis", "valkey", "mongo", "rabbitmq")
_SQL = ("postgres", "postgis", "timescale", "pgvector")


@dataclass(frozen=True)
class Composed:
    """The service of a compose file that is built from one Dockerfile, and the data stores beside it."""

    path: str
    service: str
    context: str
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    checked: tuple[int | None, str] | None = None
    stores: Mapping[str, str] = field(default_factory=dict)
    """The data stores of the file by the name of their service, which is their host there."""

    @property
    def has_postgres(self) -> bool:
        """Whether a Postgres runs beside it."""
        return any(kind in _SQL for kind in self.stores.values())


def composed(repository: Repository, dockerfile: str) -> Composed | None:
    """Return what the first compose file says of the service that is built from a Dockerfile; None if none does."""
    for path in repository.named(*COMPOSE_FILES):
        services = _mapping(_load(repository.texts.get(path, "")).get("services"))
        folder = str(PurePosixPath(path).parent)
        stores = {name: kind for name, given in services.items() if (kind := _store(_mapping(given)))}
        for name, given in services.items():
            service = _mapping(given)
            build = service.get("build")
            options = {"context": build} if isinstance(build, str) else _mapping(build)
            if not options:
                continue
            context = joined(folder, str(options.get("context", ".")))
            if joined(context, str(options.get("dockerfile", "Dockerfile"))) != dockerfile:
                continue
            target = options.get("target")
            return Composed(
                path=path,
                service=name,
                context=context,
                target=str(target) if target else None,
                arguments=_assignments(options.get("args")),
                ports=tuple(dict.fromkeys(p for one in _list(service.get("ports")) if (p := _port(one)))),
                variables=_assignments(service.get("environment")),
                checked=url_in(_words(_mapping(service.get("healthcheck")).get("test"))),
                stores=stores,
            )
    return None


def _store(service: Mapping[str, object]) -> str | None:
    image = str(service.get("image", "")).rpartition("/")[2].lower()
    return next((kind for kind in _STORES if image.startswith(kind)), None)


def _port(given: object) -> int | None:
    """Return the container's port of an entry of `ports`; None for a range or a variable."""
    text = str(given.get("target", "")) if isinstance(given, Mapping) else str(given)
    found = re.search(r"(?:^|:)(?:\$\{\w+:?-)?(\d+)\}?(?:/\w+)?$", text)
    return int(found.group(1)) if found else None


def _assignments(given: object) -> dict[str, str]:
    if isinstance(given, Mapping):
        return {str(name): "" if value is None else _scalar(value) for name, value in given.items()}
    pairs = (str(one).partition("=") for one in _list(given))
    return {name.strip(): value for name, _, value in pairs}


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(given: object) -> str:
    return " ".join(map(str, given)) if isinstance(given, list) else str(given or "")


def _load(text: str) -> Mapping[str, object]:
    try:
        return _mapping(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
