"""Looks at the source repository, and at the block with the webhook's secret."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from blocks.environment import LEAST_SECRET
from core.errors import Permanent, Refused
from core.preflight.judgement import Judgement, failed_by, passed, unknown
from core.preflight.source import (
    BuildFiles,
    judge_branches,
    judge_build,
    judge_webhook_secret,
    judge_workflows,
)
from core.workflows import is_workflow
from systems.git import Limits, Remote, WorkingCopy
from tasks.checkout import remote_of
from tasks.preflight.ground import Ground, Look

__all__ = ["LOOKS", "read_text"]

_SECONDS = 30.0
_LARGEST = 256 * 1024


def _remote(ground: Ground) -> Remote:
    return replace(remote_of(ground.operation), timeout=_SECONDS)


def _refs(ground: Ground) -> set[str]:
    wanted = [f"refs/heads/{branch}" for branch in ground.settings.source.released_branches]
    return ground.once("refs", lambda: _remote(ground).refs(*wanted))


def _git(ground: Ground) -> Judgement:
    try:
        return judge_branches(_refs(ground), ground.settings.source.released_branches)
    except (Permanent, Refused) as error:
        return failed_by(error)


def _webhook_secret(ground: Ground) -> Judgement:
    if ground.by_a_person:
        return unknown("no Prefect server, which has it in a block")
    return judge_webhook_secret(len(str(ground.operation.block.webhook_secret.get())), LEAST_SECRET)


def _files(ground: Ground) -> Path:
    """Return a checkout: the release's, or the newest commit of the first branch that is released from."""
    return ground.checkout or ground.once("checkout", lambda: _check_out(ground))


def _check_out(ground: Ground) -> Path:
    source = ground.settings.source
    matching = (
        ref
        for branch in source.released_branches
        for ref in sorted(_refs(ground))
        if fnmatchcase(ref, f"refs/heads/{branch}")
    )
    ref = next(matching, None)
    if ref is None:
        raise Refused("There is no branch to look at", do="Fix [source].")
    limits = Limits(size=source.max_mib * 2**20, files=source.max_files)
    copy = WorkingCopy(_remote(ground), ground.operation.workspace.folder("preflight") / "source", limits)
    copy.fetch([f"{ref}:{ref}"])
    commit = copy.commit_of(ref)
    if commit is None:
        raise Refused(f"{ref} has no commit", do="Fix [source].")
    copy.check_out(commit)
    return copy.directory


def read_text(ground: Ground, path: str) -> str | None:
    """Return the text of a file of the source, from its root; None where it is missing, or leads out of it."""
    root = _files(ground).resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        return None
    with suppress(OSError), file.open("rb") as content:
        return content.read(_LARGEST).decode(errors="replace")
    return None


def _dockerfile(ground: Ground) -> Judgement:
    image = ground.settings.image
    if image.image_source == "prebuilt":
        return passed("releases build nothing: they wait for the image that CI pushed")
    files = BuildFiles(
        dockerfile=read_text(ground, image.dockerfile),
        package=read_text(ground, f"{image.context}/package.json"),
        npmrc=read_text(ground, f"{image.context}/.npmrc"),
    )
    return judge_build(files, image.dockerfile)


def _workflows(ground: Ground) -> Judgement:
    root = _files(ground)
    paths = [path.relative_to(root).as_posix() for path in (root / ".github").rglob("*.y*ml")]
    known = [path for path in sorted(paths) if is_workflow(path) or Path(path).stem == "action"]
    texts = {path: text for path in known if (text := read_text(ground, path)) is not None}
    return judge_workflows(texts, may_push=ground.settings.image.image_source == "prebuilt")


LOOKS: dict[str, Look] = {
    "git access": _git,
    "webhook secret": _webhook_secret,
    "Dockerfile": _dockerfile,
    "old workflow": _workflows,
}
