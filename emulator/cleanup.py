"""Removing the emulator's containers, also when the emulator itself is gone."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import socket

import docker
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

__all__ = ["INSTANCE_LABEL", "instance", "remove_leftovers"]

logger = logging.getLogger("pointsman.cleanup")

INSTANCE_LABEL = "ministack.instance"
"""MiniStack's own label on everything that it starts; its value names host and port of the emulator."""


def instance(gateway_port: int) -> str:
    """Return the label's value for an emulator on this port of this machine."""
    return f"{os.environ.get('MINISTACK_HOSTNAME') or socket.gethostname()}:{gateway_port}"


def remove_leftovers(gateway_port: int, grace: int = 2) -> int:
    """Stop and remove every container that an emulator on `gateway_port` started; `grace` seconds before SIGKILL.

    Return how many there were. For after a `kill -9`: with the emulator alive, its services would start new ones.
    """
    client = docker.from_env(timeout=30)
    try:
        found = client.containers.list(
            all=True, sparse=True, filters={"label": f"{INSTANCE_LABEL}={instance(gateway_port)}"}
        )
        if found:
            with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(lambda container: _remove(container, grace), found))
        return len(found)
    finally:
        client.close()


def _remove(container: Container, grace: int) -> None:
    try:
        container.stop(timeout=grace)
        container.remove(v=True, force=True)
    except NotFound:
        return
    except DockerException as error:
        logger.warning("container %s could not be removed: %s", container.id, error)
