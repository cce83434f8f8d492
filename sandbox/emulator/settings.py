"""What can be set from the environment, and the defaults that MiniStack must see before it is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Settings", "prepare_environment"]

# MiniStack reads these when its modules are imported, so they are set first.
_MINISTACK_DEFAULTS = {
    "GATEWAY_PORT": "4566",
    "MINISTACK_REGION": "ap-southeast-1",
    "MINISTACK_ACCOUNT_ID": "000000000000",
    # Pulls and stops outlast MiniStack's ten seconds on a busy machine.
    "MINISTACK_DOCKER_TIMEOUT": "120",
    # Two listeners on fixed ports that nothing here uses.
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
}


def prepare_environment() -> None:
    """Set MiniStack's variables where the caller left them unset."""
    for name, value in _MINISTACK_DEFAULTS.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, slots=True)
class Settings:
    """The additions' own settings; durations in seconds.

    `health_interval_scale` shortens health check intervals, of which AWS allows none below 5 s.
    """

    gateway_port: int
    listener_host: str
    metrics_period: float
    initial_probe_interval: float
    health_interval_scale: float
    target_connect_timeout: float
    target_idle_timeout: float

    @classmethod
    def from_environment(cls) -> Settings:
        """Read GATEWAY_PORT, POINTSMAN_EMULATOR_* and MiniStack's ALB_TARGET_* variables."""
        return cls(
            gateway_port=int(os.environ.get("GATEWAY_PORT", "4566")),
            listener_host=os.environ.get("POINTSMAN_EMULATOR_LISTENER_HOST", "127.0.0.1"),
            metrics_period=float(os.environ.get("POINTSMAN_EMULATOR_METRICS_PERIOD", "5")),
            initial_probe_interval=float(os.environ.get("POINTSMAN_EMULATOR_INITIAL_PROBE", "0.5")),
            health_interval_scale=float(os.environ.get("POINTSMAN_EMULATOR_HEALTH_SCALE", "1")),
            target_connect_timeout=float(os.environ.get("ALB_TARGET_CONNECT_TIMEOUT_SECONDS", "10")),
            target_idle_timeout=float(os.environ.get("ALB_TARGET_IDLE_TIMEOUT_SECONDS", "60")),
        )
