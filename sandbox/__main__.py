"""`python -m sandbox up|down|status|reset|restart PART|add EXAMPLE|environment`: the sandbox by hand."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import PointsmanError
from sandbox.example import add, find_example
from sandbox.keeper import Status
from sandbox.parts import Sandbox
from sandbox.settings import CODE

__all__ = ["main", "table"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return 0 when it is so, 1 with one sentence on why it is not."""
    asked = _parser().parse_args(arguments)
    began = time.monotonic()

    def say(line: str) -> None:
        if not asked.quiet:
            print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        return _run(asked, Sandbox(asked.root, say=say))
    except (PointsmanError, ValueError, OSError) as problem:
        print(f"sandbox: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sandbox: interrupted; python -m sandbox down ends what was started.", file=sys.stderr)
        return 130


def _run(asked: argparse.Namespace, sandbox: Sandbox) -> int:
    if asked.command == "up":
        sandbox.up()
    elif asked.command == "down":
        sandbox.down()
    elif asked.command == "reset":
        sandbox.reset()
    elif asked.command == "restart":
        sandbox.restart(asked.part)
    elif asked.command == "add":
        add(sandbox.settings, find_example(asked.example), sandbox.say)
    elif asked.command == "environment":
        for name, value in sandbox.environment().items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        seen = sandbox.status()
        print(table(seen))
        return 0 if all(status.good for status in seen) else 1
    return 0


def table(seen: Sequence[Status]) -> str:
    """Return the parts as a table for people: state, process, address, seconds up, MiB."""
    rows = [("PART", "STATE", "PID", "ADDRESS", "UP", "MIB")]
    rows += [
        (
            status.part,
            status.state,
            str(status.pid or "-"),
            status.address,
            "-" if status.seconds is None else f"{status.seconds:.0f} s",
            "-" if status.memory is None else f"{status.memory:.0f}",
        )
        for status in seen
    ]
    total = sum(status.memory or 0.0 for status in seen)
    rows.append(("total", "", "", "", "", f"{total:.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {2, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Real parts on one machine, by one command.")
    parser.add_argument("--root", type=Path, default=CODE, help="the directory that holds .sandbox (this checkout)")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run")
    commands.add_parser("down", help="stop everything, containers included; data stays")
    commands.add_parser("status", help="a table of the parts; exit code 1 if one is missing")
    commands.add_parser("reset", help="down, delete all data, up")
    restart = commands.add_parser("restart", help="stop and start one part")
    restart.add_argument("part")
    another = commands.add_parser(
        "add", help="put another application of examples/ beside the first, in a sandbox that runs"
    )
    another.add_argument("example")
    commands.add_parser("environment", help="print what a shell needs to work against the sandbox (for eval)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
