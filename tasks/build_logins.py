"""Which registries a build is logged in to, and which images it takes layers from."""

from __future__ import annotations

from collections.abc import Iterable

from core.build_secrets import BuildSecret, BuildSecrets, refuse_unfit
from operation.operation import Operation
from systems import ecr
from systems.build_secret_sources import read_source
from systems.registry_logins import RegistryLogin

__all__ = ["cache_sources", "read_logins"]

_SOURCES = 2


def read_logins(operation: Operation, bases: Iterable[str]) -> tuple[tuple[RegistryLogin, ...], BuildSecrets]:
    """Return the logins that a build needs, and their passwords as what is hidden in its log.

    The account's own registry is one of them where a base image is in `image.base_repositories`, or layers are taken
    from it. Raises `Refused` for a password that is not there.
    """
    settings = operation.settings.image
    logins = []
    for host, registry in settings.registries.items():
        setting = f'[image.registries."{host}"]'
        value = read_source(registry.password, setting, lambda: operation.aws("secretsmanager")).strip()
        where = registry.password.name.replace(":", " ", 1)
        refuse_unfit(BuildSecret(host, value), where, settings.build_args, setting)
        logins.append(RegistryLogin(host, registry.username, value))
    own = operation.infrastructure.ecr_repository_url.partition("/")[0]
    ours = {f"{own}/{repository}" for repository in settings.base_repositories}
    if cache_sources(operation) or any(_repository(base) in ours for base in bases):
        token = ecr.login(operation.aws)
        logins.append(RegistryLogin(own, token.username, token.password))
    return tuple(logins), BuildSecrets(tuple(BuildSecret(login.host, login.password) for login in logins))


def cache_sources(operation: Operation) -> tuple[str, ...]:
    """Return the images whose layers a build may take instead of making them: what is live here, and what was.

    They are named by the digests of our own record, so that nobody else's push can be among them.
    """
    if operation.settings.image.cache != "registry":
        return ()
    record = operation.record
    lives = (*([record.live] if record.live else []), *reversed(record.healthy))
    return tuple(dict.fromkeys(live.release.image for live in lives))[:_SOURCES]


def _repository(image: str) -> str:
    """Return an image's name without tag and digest; a registry's port stays."""
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}"
