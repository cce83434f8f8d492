"""What a build is given in secret, and the proof that none of it stayed in the image."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.build_secrets import BuildSecret, BuildSecrets, refuse_unfit
from core.errors import Permanent, PointsmanError, Refused
from core.image_settings import SSH_AGENT
from operation.operation import Operation
from systems import docker
from systems.build_secret_sources import read_source
from systems.image_search import find_texts
from systems.log import run_logger

__all__ = ["read_build_secrets", "refuse_secrets_inside", "ssh_arguments"]

_SHOWN_PLACES = 5


def read_build_secrets(operation: Operation) -> BuildSecrets:
    """Return the values that `[image.secrets]` names; raise `Refused` for one that is not there, or unfit."""
    image = operation.settings.image
    found = []
    for id, source in image.secrets.items():
        value = read_source(source, f"[image.secrets.{id}]", lambda: operation.aws("secretsmanager"))
        found.append(refuse_unfit(BuildSecret(id, value), source.name.replace(":", " ", 1), image.build_args))
    return BuildSecrets(tuple(found))


def ssh_arguments(operation: Operation) -> tuple[str, ...]:
    """Return the docker client's arguments for `[image.ssh]`; raise `Refused` where there is no agent or key."""
    arguments = []
    for id, where in operation.settings.image.ssh.items():
        _refuse_missing_key(f"[image.ssh] {id}", where)
        arguments.append(f"--ssh={id}" if where == SSH_AGENT else f"--ssh={id}={where}")
    return tuple(arguments)


def refuse_secrets_inside(operation: Operation, image: str, reference: str, secrets: BuildSecrets) -> None:
    """Look through the whole image; raise `Permanent`, and remove its tag, if one of the values is in it."""
    if not secrets:
        return
    host = operation.block.docker_host
    found = find_texts(host, image, {secret.id: secret.forms for secret in secrets})
    if not found:
        run_logger().info("None of the build's secrets is in the image")
        return
    try:
        docker.remove_images(host, [reference])
    except PointsmanError as error:
        run_logger().warning("The image could not be removed from the engine: %s", error)
    places = [f"{id} in {place}" for id, place in found]
    more = f" and {len(places) - _SHOWN_PLACES} more" if len(places) > _SHOWN_PLACES else ""
    raise Permanent(
        f"The image holds a secret of its build ({', '.join(dict.fromkeys(id for id, _ in found))})",
        why=f"{'; '.join(places[:_SHOWN_PLACES])}{more}. It was not pushed, and its tag was removed",
        do="Mount the secret in the RUN step that needs it and write it to no file, then push a new tag. The engine's "
        "build cache still has that layer: run `docker builder prune` on it, and replace the secret.",
    )


def _refuse_missing_key(setting: str, where: str) -> None:
    socket = os.environ.get("SSH_AUTH_SOCK")
    if where != SSH_AGENT:
        if not Path(where).is_file():
            raise Refused(
                f"{setting} has no key", why=f"the worker has no file {where}", do="Put it there, or fix the setting."
            )
    elif socket is None or not _is_socket(socket):
        raise Refused(
            f"{setting} has no agent",
            why="SSH_AUTH_SOCK names no socket" if socket else "the worker has no variable SSH_AUTH_SOCK",
            do="Start an agent for the worker's user, or name a private key by its path. Then press Retry.",
        )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
