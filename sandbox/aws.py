"""The AWS emulator as a part, and the removal of the containers that it leaves."""

from __future__ import annotations

import os
from collections.abc import Mapping

from emulator.cleanup import remove_leftovers
from sandbox.docker_engine import engine_answers
from sandbox.part import Listener, Part, answers, python
from sandbox.settings import ACCOUNT, ADDRESSES, REGION

__all__ = ["Emulator"]


class Emulator(Part):
    """The emulator; the load balancer's own ports are checked before its start, since it opens them later."""

    name = "aws"
    needs = ("docker",)
    stop_seconds = 15.0

    @property
    def address(self) -> str:
        """The API's."""
        return self.settings.aws_url

    def listeners(self) -> tuple[Listener, ...]:
        """Return the API's port, and those of the load balancer on each of its addresses."""
        ports = self.settings.ports
        balancer = {"PRODUCTION": ports.production, "TEST_BLUE": ports.test_blue, "TEST_GREEN": ports.test_green}
        return (
            Listener("127.0.0.1", ports.aws, "POINTSMAN_SANDBOX_AWS_PORT"),
            *(
                Listener(host, port, f"POINTSMAN_SANDBOX_{name}_PORT")
                for name, port in balancer.items()
                for host in ADDRESSES
            ),
        )

    def prepare(self) -> None:
        """Make the directory of what it keeps."""
        self.settings.directories.aws.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """Return the command that runs it."""
        return python("emulator")

    def environment(self) -> Mapping[str, str]:
        """Return its settings."""
        kept = self.settings.directories.aws
        return {
            "GATEWAY_PORT": str(self.settings.ports.aws),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "STATE_DIR": str(kept / "state"),
            "S3_DATA_DIR": str(kept / "s3"),
            "POINTSMAN_EMULATOR_LISTENER_HOST": ",".join(ADDRESSES),
            **_pace(),
            **({"AUTH": "true"} if self.settings.auth else {}),
            # Its pid file and scratch files: beside ours, not in the machine's /tmp.
            "TMPDIR": str(kept),
        }

    def is_healthy(self) -> bool:
        """Return whether it answers."""
        return answers(f"{self.settings.aws_url}/_ministack/health")

    def clean_up(self) -> str:
        """Stop and remove the containers that it made.

        Ours has been stopped: an emulator that still answers on the port is another checkout's, and so are the
        containers.
        """
        last = self.settings.recorded()
        if not engine_answers() or answers(f"{last.aws_url}/_ministack/health"):
            return ""
        removed = remove_leftovers(last.ports.aws)
        return f"{removed} container{'s' if removed > 1 else ''} removed" if removed else ""


def _pace() -> dict[str, str]:
    """AWS allows no health check interval below 5 s; a fifth of that is what one machine needs, without a profile."""
    if os.environ.get("POINTSMAN_EMULATOR_PROFILE", "plain") != "plain":
        return {}
    return {"POINTSMAN_EMULATOR_HEALTH_SCALE": os.environ.get("POINTSMAN_EMULATOR_HEALTH_SCALE", "0.2")}
