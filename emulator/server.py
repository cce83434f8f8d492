"""Puts the parts together and serves them: MiniStack's API on one port, each listener on its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from emulator import alb, echoes, ecr, iam, network, rds, route53, simulation, trust
from emulator.cleanup import remove_leftovers
from emulator.data_plane import DataPlane
from emulator.ecs import EcsAdditions
from emulator.faults import FaultInjection
from emulator.guard import Guard
from emulator.health import HealthChecks
from emulator.listeners import ListenerSockets
from emulator.logs import LateLogs
from emulator.metrics import Metrics
from emulator.pace import Pace
from emulator.propagation import Propagation
from emulator.proxy import Proxy
from emulator.settings import Settings
from emulator.targets import TargetRegistry
from emulator.upstream import MINISTACK_VERSION, app

__all__ = ["run"]

logger = logging.getLogger("pointsman.emulator")


class _Emulator:
    """The parts, installed once a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plane = DataPlane()
        self._registry = TargetRegistry()
        self._metrics = Metrics(self._registry, settings)
        self._propagation = Propagation(settings)
        self._proxy = Proxy(self._registry, self._metrics, self._propagation, settings)
        self._checks = HealthChecks(self._plane, self._registry, settings)
        self._sockets = ListenerSockets(self._plane, self._proxy, settings)
        self._faults = FaultInjection(app.app, settings.describe_lag)
        self._application = Guard(Pace(self._faults, settings))
        self._ecs = EcsAdditions(self._registry, settings, self._faults.capacity_is_short)
        alb.install(self._registry, self._sockets, self._metrics, self._propagation)
        network.install(settings.listener_hosts)
        self._ecs.install()
        LateLogs(settings.log_delay).install()
        iam.install()
        simulation.install()
        trust.install(settings)
        ecr.install(settings)
        rds.install()
        route53.install()
        echoes.install()

    def start(self) -> None:
        """Start traffic and health checks."""
        self._plane.start()
        self._plane.call(self._proxy.open())
        self._plane.call(self._checks.open())
        self._plane.submit(self._metrics.run())
        self._faults.start()

    def stop(self) -> None:
        """Start nothing more, remove every container, close every socket."""
        self._ecs.halt()
        removed = remove_leftovers(self._settings.gateway_port)
        # What was being started when the signal came may be there only now.
        self._ecs.await_starts(2)
        removed += remove_leftovers(self._settings.gateway_port)
        self._sockets.close_all()
        self._plane.call(self._proxy.close())
        self._plane.call(self._checks.close())
        self._plane.stop()
        logger.info("stopped, %d container(s) removed", removed)

    async def serve(self, gateway: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # MiniStack removes containers as it goes down: a service must not take that for a crash.
            self._ecs.halt()
            stopping.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)
        config = Config()
        config.bind = [f"fd://{gateway.detach()}"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 1
        config.loglevel = "WARNING"
        config.accesslog = None
        trigger: Callable[[], Awaitable[object]] = stopping.wait
        await hypercorn_serve(self._application, config, shutdown_trigger=trigger)  # type: ignore[arg-type]


def run(settings: Settings) -> None:
    """Serve in the foreground until a signal; logs go to stdout."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    # MiniStack's banner belongs to MiniStack's own command.
    app.BANNER = "MiniStack " + MINISTACK_VERSION + " with Pointsman's additions on port {port}"
    # The port comes first: whoever holds it owns the containers that are labelled with it.
    gateway = _bind(settings)
    emulator = _Emulator(settings)
    emulator.start()
    try:
        asyncio.run(emulator.serve(gateway))
    finally:
        emulator.stop()


def _bind(settings: Settings) -> socket.socket:
    gateway = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        gateway.bind(("127.0.0.1", settings.gateway_port))
    except OSError as error:
        gateway.close()
        raise SystemExit(
            f"port {settings.gateway_port} on 127.0.0.1 can't be opened: {error.strerror}. "
            "Is an emulator running already? Set GATEWAY_PORT to use another port."
        ) from error
    return gateway
