"""What a compose file says of the application: https://docs.docker.com/reference/compose-file/services/"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import yaml

from core.first_settings.dockerfiles import url_in
from core.first_settings.facts import Repository, joined

__all__ = ["COMPOSE_FILES", "Composed", "composed"]

COMPOSE_FILES = ("compose.y*ml", "docker-compose.y*ml", "compose.*.y*ml", "docker-compose.*.y*ml")

_STORES = ("postgres", "postgis", "timescale", "pgvector", "mysql", "mariadb", "redis", "valkey", "mongo", "rabbitmq")
_OF_DEVELOPMENT = re.compile(r"dev|override|test|local|ci\b|traefik", re.IGNORECASE)


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
    """The data stores of the file by the name of their service."""
    hosts: frozenset[str] = frozenset()
    """The names of all services, by which they reach each other there and nowhere else."""


def composed(repository: Repository, dockerfile: str) -> Composed | None:
    """Return what compose files say of the service that is built from a Dockerfile; None if none does.

    The file that `docker compose up` reads goes before others, and those of development come last; what the first does
    not say is taken from the next.
    """
    paths = sorted(repository.named(*COMPOSE_FILES), key=lambda path: (*_rank(path), path.count("/"), path))
    found = [one for path in paths if (one := _in_file(path, repository.texts.get(path, ""), dockerfile))]
    if not found:
        return None
    return replace(
        found[0],
        target=next((one.target for one in found if one.target), None),
        ports=next((one.ports for one in found if one.ports), ()),
        checked=next((one.checked for one in found if one.checked), None),
        stores={name: kind for one in reversed(found) for name, kind in one.stores.items()},
        hosts=frozenset(name for one in found for name in one.hosts),
    )


def _rank(path: str) -> tuple[bool, bool]:
    name = PurePosixPath(path).name
    return bool(_OF_DEVELOPMENT.search(name)), name.count(".") > 1


def _in_file(path: str, text: str, dockerfile: str) -> Composed | None:
    services = _mapping(_load(text).get("services"))
    folder = str(PurePosixPath(path).parent)
    for name, given in services.items():
        service = _mapping(given)
        build = service.get("build")
        options = {"context": build} if isinstance(build, str) else _mapping(build)
        context = joined(folder, str(options.get("context", ".")))
        if not options or joined(context, str(options.get("dockerfile", "Dockerfile"))) != dockerfile:
            continue
        target = options.get("target")
        return Composed(
            path=path,
            service=str(name),
            context=context,
            target=str(target) if target else None,
            arguments=_assignments(options.get("args")),
            ports=tuple(dict.fromkeys(port for one in _list(service.get("ports")) if (port := _port(one)))),
            variables=_assignments(service.get("environment")),
            checked=url_in(_words(_mapping(service.get("healthcheck")).get("test"))),
            stores={str(other): kind for other, one in services.items() if (kind := _store(_mapping(one)))},
            hosts=frozenset(map(str, services)),
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
