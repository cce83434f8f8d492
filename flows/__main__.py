"""The operator's commands: `python -m flows deploy|status|unfreeze|unlock|run <environment>`.

They run in this process, with the blocks of the Prefect server that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import sys

from prefect.settings import PREFECT_API_URL

from core.colour import Colour
from core.errors import PointsmanError, Refused
from core.settings import ACCOUNT
from deploy.environment import deploy
from flows.status import describe_environment
from flows.unfreeze import unfreeze
from lifecycle.run import open_run
from lifecycle.run_command import run_command
from lifecycle.unlock import unlock_state

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows", description="Operator commands for an environment.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("deploy", help="create or update the environment's deployments in Prefect")
    command.add_argument("environment")
    command = commands.add_parser("status", help="what is live, in flight and warm, and why the last attempt failed")
    command.add_argument("environment")
    for name, help_ in (("unfreeze", "end a freeze by naming the colour that gets all traffic"), ("thaw", None)):
        # `thaw` is what it was called before; without a help text it is not listed.
        command = commands.add_parser(name, help=help_) if help_ else commands.add_parser(name)
        command.add_argument("environment")
        command.add_argument("--keep", required=True, type=Colour, choices=list(Colour))
        command.add_argument("--restore", action="store_true", help="redeploy the recorded task definition there")
    command = commands.add_parser("unlock", help="release a Terraform state lock whose holder cannot be proven dead")
    command.add_argument("environment")
    command.add_argument("--state", required=True, choices=[*(c.value for c in Colour), "environment", ACCOUNT])
    command = commands.add_parser(
        "run", help="run a command as a one-off task with a release's image, in the environment's network"
    )
    command.add_argument("environment")
    command.add_argument(
        "--version", help="the release whose image to use (default: the one that failed last, else the live one)"
    )
    command.usage = "python -m flows run [--version VERSION] environment -- command …"
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Everything after `--` belongs to the command, whatever it looks like.
    ours, words = (given[: (at := given.index("--"))], given[at + 1 :]) if "--" in given else (given, [])
    asked = parser.parse_args(ours)
    asked.words = words
    try:
        _refuse_without_server()
        return _run(asked)
    except PointsmanError as error:
        print(error, file=sys.stderr)
        return 1


def _refuse_without_server() -> None:
    if not PREFECT_API_URL.value():
        raise Refused(
            "No Prefect server is configured",
            why="the credentials are in its blocks",
            do='Set PREFECT_API_URL; for the sandbox: eval "$(.venv/bin/python -m sandbox environment)".',
        )


def _run(asked: argparse.Namespace) -> int:
    if asked.command == "deploy":
        print("\n".join(deploy(asked.environment)))
        return 0
    if asked.command == "thaw":
        print("`thaw` is now called `unfreeze`; the old name will be removed in the next version.", file=sys.stderr)
    if asked.command in ("unfreeze", "thaw"):
        state = unfreeze(asked.environment, asked.keep, asked.restore, return_state=True)
        print(state.message)
        return 0 if state.is_completed() else 1
    human_s = asked.command == "unlock" and asked.state in ("environment", ACCOUNT)
    operation = open_run(asked.command, asked.environment, provisions=human_s)
    if asked.command == "status":
        rows = describe_environment(operation)
        width = max(len(name) for name, _ in rows)
        print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
        return 0
    if asked.command == "run":
        return run_command(operation, asked.words, asked.version, lambda line: print(line, flush=True))
    print(unlock_state(operation, asked.state, confirm=lambda question: input(question)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
