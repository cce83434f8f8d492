"""The Docker engine: the one that runs, else Debian's `dockerd`, which we then also stop."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import DockerException

from core.errors import Permanent, PointsmanError, Refused
from emulator.cleanup import INSTANCE_LABEL, instance
from sandbox.part import Part
from sandbox.process import Identity, identify
from sandbox.settings import Settings

__all__ = ["DockerEngine", "bridge", "containers", "engine_answers", "socket_path"]

_DEFAULT_SOCKET = "/var/run/docker.sock"
_PLACES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin")


def socket_path() -> str:
    """Return the engine's socket, from `DOCKER_HOST` or the usual place; `Refused` for one on another machine."""
    host = os.environ.get("DOCKER_HOST", "")
    if not host:
        return _DEFAULT_SOCKET
    if not host.startswith("unix://"):
        raise Refused(
            f"DOCKER_HOST is {host}, and the sandbox needs an engine on this machine",
            why="its containers reach Postgres through the engine's bridge",
            do="Unset DOCKER_HOST, or set it to a unix:// socket.",
        )
    return host.removeprefix("unix://")


@contextmanager
def _engine(path: str, seconds: float = 10.0) -> Iterator[docker.DockerClient]:
    """A client of the engine; `Permanent` if none answers, or if it refuses what is asked of it."""
    try:
        # Made, it has already asked the engine for its version.
        client = docker.DockerClient(base_url=f"unix://{path}", timeout=seconds)
        try:
            yield client
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise Permanent(f"The Docker engine on {path} did not answer as it must", why=str(error)) from error


def engine_answers(path: str | None = None) -> bool:
    """Return whether an engine listens on the socket."""
    try:
        with _engine(path or socket_path(), seconds=2.0):
            return True
    except Permanent:
        return False


def bridge() -> str | None:
    """Return the host's address on the default bridge, by which containers reach it; None if there is none."""
    try:
        with _engine(socket_path()) as engine:
            configured = engine.networks.get("bridge").attrs["IPAM"]["Config"] or [{}]
    except Permanent:
        return None
    return str(configured[0].get("Gateway") or "") or None


def containers(settings: Settings | None = None) -> list[str]:
    """Return the ids of all containers, stopped ones included; of a sandbox, those that its emulator ever made."""
    of_a_sandbox = {"label": f"{INSTANCE_LABEL}={instance(settings.ports.aws)}"} if settings else {}
    with _engine(socket_path()) as engine:
        return [str(found.id) for found in engine.containers.list(all=True, sparse=True, filters=of_a_sandbox)]


class DockerEngine(Part):
    """The engine as a part, started only where none answers."""

    name = "docker"
    stop_seconds = 30.0
    # containerd and its shims are dockerd's children, and running containers theirs.
    keeps_children = True
    shared = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._socket = socket_path()

    @property
    def address(self) -> str:
        """Its socket."""
        return f"unix://{self._socket}"

    def command(self) -> list[str]:
        """Return dockerd's; `Refused` where it is not installed, or not ours to start."""
        program = shutil.which("dockerd", path=os.pathsep.join((*_PLACES, os.environ.get("PATH", ""))))
        if program is None:
            raise Refused(
                "No Docker engine runs, and dockerd is not installed",
                do="Install Debian's package docker.io (scripts/setup does), then try again.",
            )
        if os.geteuid() != 0:
            raise Refused(
                f"No Docker engine answers on {self._socket}, and only root can start one",
                do="Start it (sudo systemctl start docker), join the group docker, then try again.",
            )
        return [program, "--host", self.address]

    def is_healthy(self) -> bool:
        """Return whether it answers."""
        return engine_answers(self._socket)

    def server(self) -> Identity | None:
        """Return who listens on the socket, as far as the kernel tells."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(self._socket)
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            except OSError:
                return None
        pid = struct.unpack("3i", peer)[0]
        return identify(pid) if pid else None

    def used_by_others(self) -> str:
        """Return how many containers are not the sandbox's."""
        try:
            others = len(set(containers()) - set(containers(self.settings.recorded())))
        except PointsmanError:
            return ""
        return f"{others} containers on it are not the sandbox's" if others else ""
