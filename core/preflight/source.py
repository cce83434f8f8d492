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

_DEPLOYS = re.compile(
    r"\b(?:terraform|tofu)\s+(?:-\S+\s+)*apply\b"
    r"|\baws\s+ecs\s+(?:update-service|deploy|register-task-definition|run-task)\b"
    r"|amazon-ecs-deploy-task-definition"
    r"|role/\S*\bgithub_actions\b"
)
_CALLS = re.compile(r"uses:\s*[\"']?\./(\.github/workflows/[\w.-]+)")
_ON = re.compile(r"^[\"']?on[\"']?:(.*)$")


def judge_workflows(files: Mapping[str, str]) -> Judgement:
    """Judge the workflows of a repository, by path: none may deploy when a tag is pushed."""
    deploying = {path: what for path, text in files.items() if (what := _deploys(path, files)) and _on_tags(text)}
    if deploying:
        return failed("; ".join(f"{path} runs on a pushed tag and has `{what}`" for path, what in deploying.items()))
    return passed(f"{counted(len(files), 'workflow')}, none of which deploys a tag" if files else "no workflows")


def _deploys(path: str, files: Mapping[str, str], depth: int = 0) -> str | None:
    text = _without_comments(files.get(path, ""))
    if found := _DEPLOYS.search(text):
        return found.group()
    if depth == _DEEPEST:
        return None
    called = _CALLS.findall(text)
    return next((what for other in called if (what := _deploys(other, files, depth + 1))), None)


def _on_tags(text: str) -> bool:
    """Whether a pushed tag starts a workflow.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#on
    """
    lines = _without_comments(text).splitlines()
    for number, line in enumerate(lines):
        if found := _ON.match(line):
            inline = re.findall(r"\w+", found.group(1))
            if {"push", "create", "release"} & set(inline) and "branches" not in inline:
                return True
            return _block_fires(_block(lines[number + 1 :], 0))
    return False


def _block_fires(block: list[str]) -> bool:
    for number, line in enumerate(block):
        name = line.strip().lstrip("- ").partition(":")[0].strip("\"'")
        if name in ("create", "release"):
            return True
        if name == "push":
            inside = " ".join(_block(block[number + 1 :], _indent(line))) + line.partition(":")[2]
            # With `branches` alone a pushed tag starts nothing; with neither, every push does.
            return "tags" in inside or "branches" not in inside
    return False


def _block(lines: list[str], above: int) -> list[str]:
    """Return the lines that are indented deeper than `above`, up to the first that is not."""
    block: list[str] = []
    for line in lines:
        if line.strip() and _indent(line) <= above:
            break
        if line.strip():
            block.append(line)
    return block


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _without_comments(text: str) -> str:
    return re.sub(r"(?m)(^|\s)#.*$", r"\1", text)
