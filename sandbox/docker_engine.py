"""The Docker engine: the one that runs, else Debian's ``dockerd``, which we then also stop.

Spoken to over its socket with the standard library alone, so that `status` and `down` stay quick.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
from urllib.parse import urlencode

from core.errors import Permanent, Refused
from sandbox.part import Part
from sandbox.settings import Settings

__all__ = ["Engine", "part", "socket_path"]

_DEFAULT_SOCKET = "/var/run/docker.sock"
_PLACES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin")


def socket_path() -> str:
    """The engine's socket, from ``DOCKER_HOST`` or the usual place; Refused for one on another machine."""
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


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """The few calls that the sandbox makes to the Docker engine's API."""

    def __init__(self, path: str | None = None) -> None:
        self._path = socket_path() if path is None else path

    def answers(self) -> bool:
        """Whether an engine listens on the socket."""
        try:
            return self._call("GET", "/_ping", seconds=2.0)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def bridge(self) -> str | None:
        """The host's address on the default bridge, by which containers reach it."""
        status, body = self._call("GET", "/networks/bridge")
        if status != 200:
            return None
        configured = json.loads(body).get("IPAM", {}).get("Config") or [{}]
        gateway = configured[0].get("Gateway")
        return str(gateway) if gateway else None

    def containers(self, *labels: str) -> list[str]:
        """Ids of all containers, stopped ones included, that carry every one of the labels."""
        filters = json.dumps({"label": list(labels)}) if labels else "{}"
        status, body = self._call("GET", f"/containers/json?{urlencode({'all': 1, 'filters': filters})}")
        if status != 200:
            raise Permanent("Docker's containers can't be listed", why=body.decode(errors="replace"))
        return [str(container["Id"]) for container in json.loads(body)]

    def _call(self, method: str, path: str, seconds: float = 10.0) -> tuple[int, bytes]:
        connection = _Connection(self._path, seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _command(path: str) -> list[str]:
    program = shutil.which("dockerd", path=os.pathsep.join((*_PLACES, os.environ.get("PATH", ""))))
    if program is None:
        raise Refused(
            "No Docker engine runs, and dockerd is not installed",
            do="Install Debian's package docker.io (scripts/setup does), then try again.",
        )
    if os.geteuid() != 0:
        raise Refused(
            f"No Docker engine answers on {path}, and only root can start one",
            do="Start it (sudo systemctl start docker), join the group docker, then try again.",
        )
    return [program, "--host", f"unix://{path}"]


def part(settings: Settings) -> Part:
    """The engine as a part; `Sandbox` starts it only where none answers."""
    path = socket_path()
    return Part(
        name="docker",
        address=f"unix://{path}",
        healthy=Engine(path).answers,
        command=lambda: _command(path),
        start_seconds=60.0,
        stop_seconds=30.0,
        # containerd and its shims are dockerd's children, and running containers theirs.
        keeps_children=True,
    )
