"""The AWS emulator as a part, and the removal of the containers that it leaves."""

from __future__ import annotations

import os

from sandbox.docker_engine import Engine
from sandbox.part import Listener, Part, answers, python
from sandbox.settings import ACCOUNT, ADDRESSES, REGION, Settings

__all__ = ["containers", "part", "remove_containers"]


def part(settings: Settings) -> Part:
    """The emulator; the load balancer's own ports are checked before its start, since it opens them later."""
    ports, kept = settings.ports, settings.directories.aws
    opened = {
        "AWS": ports.aws,
        "PRODUCTION": ports.production,
        "TEST_BLUE": ports.test_blue,
        "TEST_GREEN": ports.test_green,
    }
    return Part(
        name="aws",
        address=settings.aws_url,
        needs=("docker",),
        listeners=tuple(
            Listener(host, port, f"POINTSMAN_SANDBOX_{name}_PORT")
            for name, port in opened.items()
            for host in (ADDRESSES if name != "AWS" else ADDRESSES[:1])
        ),
        prepare=lambda: kept.mkdir(parents=True, exist_ok=True),
        command=lambda: python("emulator"),
        environment=lambda: {
            "GATEWAY_PORT": str(ports.aws),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "STATE_DIR": str(kept / "state"),
            "S3_DATA_DIR": str(kept / "s3"),
            "POINTSMAN_EMULATOR_LISTENER_HOST": ",".join(ADDRESSES),
            **_pace(),
            **({"AUTH": "true"} if settings.auth else {}),
            # Its pid file and scratch files: beside ours, not in the machine's /tmp.
            "TMPDIR": str(kept),
        },
        healthy=lambda: answers(f"{settings.aws_url}/_ministack/health"),
        start_seconds=60.0,
        stop_seconds=15.0,
    )


def _pace() -> dict[str, str]:
    """AWS allows no health check interval below 5 s; a fifth of that is what one machine needs, without a profile."""
    if os.environ.get("POINTSMAN_EMULATOR_PROFILE", "plain") != "plain":
        return {}
    return {"POINTSMAN_EMULATOR_HEALTH_SCALE": os.environ.get("POINTSMAN_EMULATOR_HEALTH_SCALE", "0.2")}


def containers(settings: Settings, engine: Engine) -> list[str]:
    """Ids of the containers that this sandbox's emulator made, whatever became of the emulator since."""
    from emulator.cleanup import INSTANCE_LABEL, instance

    return engine.containers(f"{INSTANCE_LABEL}={instance(settings.ports.aws)}")


def remove_containers(settings: Settings) -> int:
    """Stop and remove those containers; return how many there were.

    Ours has been stopped: an emulator that still answers on the port is another checkout's, and so are the containers.
    """
    if answers(f"{settings.aws_url}/_ministack/health"):
        return 0
    from emulator.cleanup import remove_leftovers

    return remove_leftovers(settings.ports.aws)
