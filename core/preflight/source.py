"""Judgements of the source: what may be read of it, and what in it would act beside a release."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from core.dockerfile import instructions
from core.preflight.judgement import Judgement, failed, passed
from core.words import counted
from core.workflows import deploying_workflows

__all__ = ["BuildFiles", "judge_branches", "judge_build", "judge_webhook_secret", "judge_workflows"]


def judge_branches(refs: Iterable[str], branches: Iterable[str]) -> Judgement:
    """Judge the refs of the source repository: each branch that is released from matches one."""
    known = list(refs)
    missing = [b for b in branches if not any(fnmatchcase(ref, f"refs/heads/{b}") for ref in known)]
    if missing:
        return failed(f"it has no branch {', '.join(missing)}")
    return passed(f"read, with {' and '.join(branches)}")


def judge_webhook_secret(length: int | None, least: int) -> Judgement:
    """Judge the secret's length; None where the block has none."""
    if not length:
        return failed("it is not set")
    return passed(f"{least} characters or more") if length >= least else failed(f"fewer than {least} characters")


# ---- The build ----

# What connects to a database; `prisma generate`, `migrate diff` between files and `validate` do not.
_TOUCHES = re.compile(
    r"\bprisma\s+(?:migrate\s+(?:deploy|dev|reset|resolve|status)|db\s+(?:push|seed|execute|pull))\b"
    r"|\b(?:knex\s+migrate:|sequelize(?:-cli)?\s+db:|typeorm\s+(?:migration:run|schema:sync)|drizzle-kit\s+(?:push|migrate))"
    r"|\balembic\s+(?:upgrade|downgrade)\b|\bflyway\b.*\bmigrate\b|\bpsql\b"
)
_INSTALL = re.compile(r"\b(npm|pnpm|yarn|bun)(?:\s+(ci|clean-install|install|i|add))?(?=\s*(?:$|&&|\|\||;|\s-))")
_RUN_SCRIPT = re.compile(r"\b(?:npm|pnpm|yarn|bun)\s+(?:run(?:-script)?\s+)?([\w:.-]+)")
_IGNORES = re.compile(r"ignore[-_]scripts(?:\s*[= ]\s*[\"']?(?:true|1)|(?!\s*[= ]\s*[\"']?(?:false|0)))", re.IGNORECASE)
# https://docs.npmjs.com/cli/using-npm/scripts#life-cycle-operation-order
_LIFE_CYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
_DEEPEST = 5


@dataclass(frozen=True)
class BuildFiles:
    """The files of a checkout that say what a build runs; None for one that does not exist."""

    dockerfile: str | None
    package: str | None = None
    npmrc: str | None = None


def judge_build(files: BuildFiles, name: str = "Dockerfile") -> Judgement:
    """Judge whether a build would touch a database: by a RUN step, or by a script that its install runs.

    What a script calls in turn is followed through package.json, not into programs of others.
    """
    if files.dockerfile is None:
        return failed(f"{name} does not exist", "Add it, or fix image.dockerfile.")
    scripts = _scripts(files.package)
    silent = bool(files.npmrc and _IGNORES.search(files.npmrc))
    faults: list[str] = []
    for line in instructions(files.dockerfile):
        word, _, rest = line.partition(" ")
        if word.upper() == "ENV" and _IGNORES.search(rest):
            silent = True
        if word.upper() == "RUN":
            faults += _faults(" ".join(rest.split()), scripts, silent=silent)
    if faults:
        return failed("; ".join(dict.fromkeys(faults)))
    return passed(f"{name} touches no database")


def _faults(command: str, scripts: Mapping[str, str], *, silent: bool) -> Iterator[str]:
    if found := _TOUCHES.search(command):
        yield f"a RUN step calls `{found.group()}`"
    for called in _RUN_SCRIPT.findall(command):
        if called in scripts and (inside := _reached(called, scripts)):
            yield f"a RUN step runs the script {called}, which calls `{inside}`"
    if _INSTALL.search(command) and not silent and not _IGNORES.search(command):
        for name in _LIFE_CYCLE:
            if name in scripts and (inside := _reached(name, scripts)):
                yield f"its install runs the script {name}, which calls `{inside}`"


def _reached(name: str, scripts: Mapping[str, str], depth: int = 0) -> str | None:
    """Return what a script calls that touches a database, itself or through others; None for nothing."""
    body = scripts.get(name, "")
    if found := _TOUCHES.search(body):
        return found.group()
    if depth == _DEEPEST:
        return None
    called = (other for other in _RUN_SCRIPT.findall(body) if other in scripts and other != name)
    return next((inside for other in called if (inside := _reached(other, scripts, depth + 1))), None)


def _scripts(package: str | None) -> dict[str, str]:
    try:
        found = json.loads(package or "{}").get("scripts", {})
    except (ValueError, AttributeError):
        return {}
    return {str(name): str(body) for name, body in found.items()} if isinstance(found, dict) else {}


# ---- The workflow of before ----


def judge_workflows(texts: Mapping[str, str], *, may_push: bool = False) -> Judgement:
    """Judge the workflows of a repository, by path: none may deploy when a version is tagged.

    Where releases wait for what CI pushes, one that pushes an image and does nothing else `may_push`.
    """
    deploying = deploying_workflows(texts)
    on = [workflow for workflow in deploying if workflow.must_be_off and not (may_push and workflow.only_pushes)]
    if on:
        return failed("; ".join(map(str, on)))
    if deploying:
        return passed(f"none deploys a tag; by other ways: {', '.join(workflow.path for workflow in deploying)}")
    return passed(f"{counted(len(texts), 'workflow')}, none of which deploys" if texts else "no workflows")
