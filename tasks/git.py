"""git: the tag's commit, whether it is on the main branch, and its files."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blocks.environment import PROJECT
from core.errors import Permanent, Refused, Transient
from core.migration import MigrationFile
from core.version import Version
from core.words import counted
from systems.migrations.prisma import read_migrations
from tasks.operation import Operation, step_task

__all__ = ["Checkout", "check_out"]

_TIMEOUT = 600.0


@dataclass(frozen=True)
class Checkout:
    """A version's files."""

    version: Version
    commit: str
    directory: Path
    migrations: tuple[MigrationFile, ...]


@step_task("checkout")
def check_out(operation: Operation, version: Version) -> Checkout:
    """Return the files of the tag `version`.

    Raises `Refused` for a tag that does not exist or whose commit is not on the main branch.
    """
    source = operation.settings.source
    url = _absolute(source.url)
    with operation.step("checkout", f"fetch {version} from {source.github_repository}", writes=False) as step:
        token = operation.block.source_credentials
        environment = git_environment(str(token.get()) if token else None)
        _refuse_missing(url, version, source.main_branch, environment)
        repository = operation.scratch(version.tag) / "source"
        _git(["init", "--quiet", str(repository)], environment)
        in_it = ["-C", str(repository)]
        _git([*in_it, "remote", "add", "origin", url], environment)
        tag, main = f"refs/tags/{version}", f"refs/remotes/origin/{source.main_branch}"
        # Trees and blobs of old commits are fetched only where they are needed, if the server can do that.
        _git(
            [
                *in_it,
                *("fetch", "--quiet", "--no-tags", "--filter=blob:none", "origin"),
                *(f"+{tag}:{tag}", f"+refs/heads/{source.main_branch}:{main}"),
            ],
            environment,
        )
        commit = _git([*in_it, "rev-parse", f"{tag}^{{commit}}"], environment).strip()
        if _status([*in_it, "merge-base", "--is-ancestor", commit, main], environment) != 0:
            raise Refused(
                f"The commit of {version} is not on {source.main_branch}",
                why=f"{commit[:12]} is no ancestor of {source.main_branch} of {source.github_repository}",
                do=f"Merge it into {source.main_branch} first, or move on to a tag that is there.",
            )
        _git([*in_it, "checkout", "--quiet", "--detach", commit], environment)
        migration = operation.settings.migration
        migrations = read_migrations(repository, migration.directory) if migration.enabled else ()
        step.done(f"{version} is commit {commit[:12]}, with {counted(len(migrations), 'migration')}")
        return Checkout(version, commit, repository, migrations)


def git_environment(token: str | None) -> dict[str, str]:
    """Return the variables for git: never asking, a token given as a header and so in no command line."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if token:
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
    return environment


def _absolute(url: str) -> str:
    """Return a path inside the project as an absolute one; any other URL as it is."""
    inside = PROJECT / url
    return str(inside) if "://" not in url and not url.startswith("/") and inside.exists() else url


def _refuse_missing(url: str, version: Version, main: str, environment: Mapping[str, str]) -> None:
    listed = _git(["ls-remote", url, f"refs/tags/{version}", f"refs/heads/{main}"], environment)
    refs = {line.partition("\t")[2] for line in listed.splitlines()}
    if f"refs/tags/{version}" not in refs:
        raise Refused(
            f"The tag {version} does not exist",
            why=f"{url} has no such tag",
            do="Push the tag, then release it.",
        )
    if f"refs/heads/{main}" not in refs:
        raise Refused(
            f"The branch {main} does not exist",
            why=f"{url} has no such branch",
            do="Correct source.main_branch.",
        )


def _run(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise Permanent("git is not there", why=str(error), do="Install git on the worker.") from error
    except subprocess.TimeoutExpired as error:
        raise Transient(f"git took longer than {_TIMEOUT:g} s", why=arguments[0]) from error


def _status(arguments: list[str], environment: Mapping[str, str]) -> int:
    return _run(arguments, environment).returncode


def _git(arguments: list[str], environment: Mapping[str, str]) -> str:
    done = _run(arguments, environment)
    if done.returncode != 0:
        verb = next(a for a in arguments if not a.startswith(("-", "/")))
        raise Permanent(
            f"git {verb} failed", why=done.stderr.strip(), do="Check source.url and the source credentials."
        )
    return done.stdout
