"""What can be set from the environment, and the defaults that MiniStack must see before it is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
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


# What AWS takes its time for; docs/aws-differences.md says where each figure comes from. In `plain` nothing waits.
_PROFILES: dict[str, dict[str, str]] = {
    "plain": {},
    "aws": {
        "API_LATENCY": "0.08",
        "RATE_LIMIT": "20",
        "RATE_BURST": "50",
        "TASK_START": "35",
        "INITIAL_PROBE": "inf",
        "WHOLE_DEREGISTRATION": "true",
        "WEIGHTS_LAG": "5",
        "LOG_DELAY": "3",
        "METRICS_PERIOD": "60",
    },
}
_PREFIX = "POINTSMAN_EMULATOR_"


@dataclass(frozen=True, slots=True)
class Settings:
    """The additions' own settings; durations in seconds.

    `listener_hosts` are the load balancer's addresses, one node behind each. `health_interval_scale` shortens health
    check intervals, of which AWS allows none below 5 s. `weights_lag` is when the last address has new weights, the
    others at even steps before. `rate_limit` and `rate_burst` are calls a second of one action (0: no limit).
    """

    gateway_port: int
    profile: str
    listener_hosts: tuple[str, ...]
    metrics_period: float
    initial_probe_interval: float
    health_interval_scale: float
    target_connect_timeout: float
    target_idle_timeout: float
    api_latency: float
    rate_limit: float
    rate_burst: float
    describe_lag: float
    task_start: float
    whole_deregistration: bool
    weights_lag: float
    log_delay: float
    longest_session: float

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read GATEWAY_PORT, POINTSMAN_EMULATOR_* and MiniStack's ALB_TARGET_* variables.

        POINTSMAN_EMULATOR_PROFILE chooses what holds where a variable is unset; ValueError names a wrong one.
        """
        profile = environ.get(f"{_PREFIX}PROFILE", "plain")
        if profile not in _PROFILES:
            known = ", ".join(sorted(_PROFILES))
            raise ValueError(f"{_PREFIX}PROFILE is {profile!r}: it must be one of {known}.")

        def read(name: str, default: str) -> str:
            return environ.get(_PREFIX + name, _PROFILES[profile].get(name, default))

        def number(name: str, default: str) -> float:
            written = read(name, default)
            try:
                return float(written)
            except ValueError as error:
                raise ValueError(f"{_PREFIX}{name} is {written!r}: a number is needed.") from error

        return cls(
            gateway_port=int(environ.get("GATEWAY_PORT", "4566")),
            profile=profile,
            listener_hosts=tuple(host.strip() for host in read("LISTENER_HOST", "127.0.0.1,127.0.0.2").split(",")),
            metrics_period=number("METRICS_PERIOD", "5"),
            initial_probe_interval=number("INITIAL_PROBE", "0.5"),
            health_interval_scale=number("HEALTH_SCALE", "1"),
            target_connect_timeout=float(environ.get("ALB_TARGET_CONNECT_TIMEOUT_SECONDS", "10")),
            target_idle_timeout=float(environ.get("ALB_TARGET_IDLE_TIMEOUT_SECONDS", "60")),
            api_latency=number("API_LATENCY", "0"),
            rate_limit=number("RATE_LIMIT", "0"),
            rate_burst=number("RATE_BURST", "1"),
            describe_lag=number("DESCRIBE_LAG", "0"),
            task_start=number("TASK_START", "0"),
            whole_deregistration=read("WHOLE_DEREGISTRATION", "false").lower() == "true",
            weights_lag=number("WEIGHTS_LAG", "0"),
            log_delay=number("LOG_DELAY", "0"),
            longest_session=number("LONGEST_SESSION", "inf"),
        )
