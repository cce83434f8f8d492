"""The operator's commands: `python -m flows <command> <environment>`, with `--help` for what there is.

They run in this process, with the blocks of the Prefect server that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL

from core.colour import Colour
from core.errors import PointsmanError, Refused
from core.first_settings import Asked
from core.settings import ACCOUNT
from deploy.environment import deploy
from flows.destroy import destroy_account_from_shell, destroy_from_shell
from flows.drift import INCOMPLETE, drift
from flows.preflight import look_from_shell
from flows.provision import provision_from_shell
from flows.restore_state import restore_state
from flows.status import describe_environment
from flows.unfreeze import unfreeze
from lifecycle.adopt import describe_adoption, examine_stack
from lifecycle.dns import NameToMove, finish_name, move_name
from lifecycle.first_file import write_first_file
from lifecycle.run import open_run
from lifecycle.run_command import run_command
from lifecycle.unlock import unlock_state

__all__ = ["COMMANDS", "Command", "main"]

STATES = [*(c.value for c in Colour), "environment", ACCOUNT]


class Argument:
    """An argument of a command, as `ArgumentParser.add_argument` takes it."""

    def __init__(self, *flags: str, **options: Any) -> None:
        self.flags, self.options = flags, options


@dataclass(frozen=True)
class Command:
    """A command on an environment: what it takes, and what runs it and returns the exit status."""

    name: str
    help: str | None
    """None for a former name, which still works and is not listed."""
    run: Callable[[argparse.Namespace], int]
    arguments: Sequence[Argument] = ()
    usage: str | None = None
    needs_server: bool = True


def _deploy(asked: argparse.Namespace) -> int:
    print("\n".join(deploy(asked.environment)))
    return 0


def _provision(asked: argparse.Namespace) -> int:
    return _ended(provision_from_shell(asked.environment, return_state=True))


def _destroy(asked: argparse.Namespace) -> int:
    return _ended(destroy_from_shell(asked.environment, asked.force, return_state=True))


def _destroy_account(asked: argparse.Namespace) -> int:
    return _ended(destroy_account_from_shell(asked.environment, return_state=True))


def _status(asked: argparse.Namespace) -> int:
    rows = describe_environment(open_run("status", asked.environment))
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    return 0


def _drift(asked: argparse.Namespace) -> int:
    state = drift(asked.environment, return_state=True)
    status = _ended(state)
    return 2 if state.name == INCOMPLETE else status


def _preflight(asked: argparse.Namespace) -> int:
    report = look_from_shell(asked.environment, asked.fast)
    print(report.text())
    return 1 if report.failed else 0


def _unfreeze(asked: argparse.Namespace) -> int:
    return _ended(unfreeze(asked.environment, asked.keep, asked.restore, return_state=True))


def _thaw(asked: argparse.Namespace) -> int:
    print("`thaw` is now called `unfreeze`; the old name will be removed in the next version.", file=sys.stderr)
    return _unfreeze(asked)


def _unlock(asked: argparse.Namespace) -> int:
    operation = open_run("unlock", asked.environment, provisions=asked.state in ("environment", ACCOUNT))
    print(unlock_state(operation, asked.state, confirm=input))
    return 0


def _restore_state(asked: argparse.Namespace) -> int:
    given = (asked.environment, asked.state, asked.version_id, asked.confirm)
    return _ended(restore_state(*given, return_state=True))


def _run(asked: argparse.Namespace) -> int:
    operation = open_run("run", asked.environment)
    return run_command(operation, asked.words, asked.version, lambda line: print(line, flush=True))


def _adopt(asked: argparse.Namespace) -> int:
    adoption = examine_stack(open_run("adopt", asked.environment, provisions=True), asked.checkout)
    print(describe_adoption(adoption))
    return 1 if adoption.in_the_way else 0


def _init(asked: argparse.Namespace) -> int:
    given = Asked(asked.environment, asked.account, asked.region, asked.namespace, asked.dockerfile, asked.target)
    print(write_first_file(given, asked.checkout))
    return 0


def _dns(asked: argparse.Namespace) -> int:
    if asked.finish == (asked.weight is not None):
        raise Refused("Either --weight or --finish says what to do with the name", do="Name one of the two.")
    operation = open_run("dns", asked.environment, provisions=True)
    name = NameToMove(asked.zone, asked.name, asked.old)
    print(finish_name(operation, name) if asked.finish else move_name(operation, name, asked.weight))
    return 0


def _ended(state: State[Any]) -> int:
    """Print a flow's last message; return the exit status."""
    print(state.message)
    return 0 if state.is_completed() else 1


_KEEP = (
    Argument("--keep", required=True, type=Colour, choices=list(Colour)),
    Argument("--restore", action="store_true", help="redeploy the recorded task definition there"),
)

COMMANDS = (
    Command(
        "init",
        "write a first environments/<environment>.toml from what the application's repository says",
        _init,
        [
            Argument("--checkout", type=Path, default=Path(), help="a working copy of the application (default: here)"),
            Argument("--account", help="the AWS account's number"),
            Argument("--region", help="the AWS region"),
            Argument("--namespace", help="who owns the application: the first part of every shared name"),
            Argument("--dockerfile", help="which Dockerfile, from the repository's root, where there are several"),
            Argument("--target", help="which stage of it to build (default: as the compose file says, or the last)"),
        ],
        needs_server=False,
    ),
    Command("deploy", "create or update the environment's deployments in Prefect", _deploy),
    Command("status", "what is live, in flight and warm, and why the last attempt failed", _status),
    Command("drift", "compare AWS with Terraform's state and the release record: exit 1 if something differs", _drift),
    Command(
        "preflight",
        "check what releases assume, each with its fix; without a Prefect server with the shell's own credentials",
        _preflight,
        [Argument("--fast", action="store_true", help="only what each release looks at: three seconds, no task")],
        needs_server=False,
    ),
    Command("provision", "create or update the infrastructure with your own AWS credentials", _provision),
    Command(
        "destroy",
        "remove the environment's infrastructure; images, state and database stay",
        _destroy,
        [Argument("--force", action="store_true", help="although requests were answered in the last hour")],
    ),
    Command(
        "destroy-account", "remove what all environments of the account share, once none is left", _destroy_account
    ),
    Command("unfreeze", "end a freeze by naming the colour that gets all traffic", _unfreeze, _KEEP),
    Command("thaw", None, _thaw, _KEEP),
    Command(
        "unlock",
        "release a Terraform state lock whose holder cannot be proven dead",
        _unlock,
        [Argument("--state", required=True, choices=STATES)],
    ),
    Command(
        "restore-state",
        "make an earlier version of a lost or broken Terraform state the newest one; nothing is applied",
        _restore_state,
        [
            Argument("--state", required=True, choices=[*STATES, "record"]),
            Argument("--version-id", help="the S3 version to restore (default: the one that fits best)"),
            Argument("--confirm", help="the environment's name and the version's id (default: asked for)"),
        ],
    ),
    Command(
        "run",
        "run a command as a one-off task with a release's image, in the environment's network",
        _run,
        [
            Argument(
                "--version",
                help="the release whose image to use (default: the one that failed last, else the live one)",
            )
        ],
        usage="python -m flows run [--version VERSION] environment -- command …",
    ),
    Command(
        "adopt",
        "examine the stack that serves the application now, and say what becomes of it; changes nothing",
        _adopt,
        [Argument("--checkout", type=Path, help="a working copy of the application, for its workflows")],
    ),
    Command(
        "dns",
        "share a name of Route 53 out between the old load balancer and this environment's",
        _dns,
        [
            Argument("--zone", required=True, help="the hosted zone, by name or id"),
            Argument("--name", required=True, help="the name that clients use"),
            Argument("--old", help="DNS name of the old load balancer (default: what the name leads to)"),
            Argument("--weight", type=int, metavar="0..100", help="how many of 100 answers lead to this environment"),
            Argument(
                "--finish", action="store_true", help="one record without a weight, once this environment has all"
            ),
        ],
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Everything after `--` belongs to the command, whatever it looks like.
    ours, words = (given[: (at := given.index("--"))], given[at + 1 :]) if "--" in given else (given, [])
    asked = _parser().parse_args(ours)
    asked.words = words
    try:
        if asked.command.needs_server:
            _refuse_without_server()
        return int(asked.command.run(asked))
    except PointsmanError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows", description="Operator commands for an environment.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        # Without a help text it is not listed.
        described: dict[str, Any] = {"help": command.help} if command.help else {}
        of_its_own = commands.add_parser(command.name, usage=command.usage, **described)
        of_its_own.set_defaults(command=command)
        of_its_own.add_argument("environment")
        for argument in command.arguments:
            of_its_own.add_argument(*argument.flags, **argument.options)
    return parser


def _refuse_without_server() -> None:
    if not PREFECT_API_URL.value():
        raise Refused(
            "No Prefect server is configured",
            why="the credentials are in its blocks",
            do='Set PREFECT_API_URL; for the sandbox: eval "$(.venv/bin/python -m sandbox environment)".',
        )


if __name__ == "__main__":
    sys.exit(main())
