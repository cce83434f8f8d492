"""`python -m deploy set-up|drain|resume`: what `scripts/machine` asks of Prefect, in a container of the machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from core.errors import PointsmanError, Refused
from deploy.machine import drain, resume, set_up

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description="The upkeep of a machine that releases.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("set-up", help="make blocks, work pool and deployments of POINTSMAN_ENVIRONMENT")
    command = commands.add_parser("drain", help="let no run start, and wait until none is in flight")
    command.add_argument("--timeout", type=float, default=7200.0, help="seconds to wait at most (7200)")
    commands.add_parser("resume", help="let runs start again")
    asked = parser.parse_args(arguments)
    try:
        _run(asked)
    except PointsmanError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(asked: argparse.Namespace) -> None:
    if asked.command == "set-up":
        secrets = os.environ.get("POINTSMAN_WEBHOOK_SECRETS_FILE")
        set_up(_environment(), _say, webhook_secrets=Path(secrets) if secrets else None)
    elif asked.command == "drain":
        drain(_say, timeout=asked.timeout)
    else:
        resume()
        _say("runs start again")


def _environment() -> str:
    environment = os.environ.get("POINTSMAN_ENVIRONMENT", "")
    if not environment:
        raise Refused("POINTSMAN_ENVIRONMENT is not set", do="Set it to the environment that this machine releases to.")
    return environment


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
