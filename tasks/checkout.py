"""The checkout: the tag's commit, whether it may be released, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blocks.environment import PROJECT
from core.errors import Refused
from core.migration import MigrationFile
from core.settings import Source
from core.source import refuse_other_commit, refuse_token_in_the_clear, refuse_unknown_refs
from core.version import Version
from core.words import counted
from operation.operation import Operation
from operation.step import Done, done, step
from systems.git import Limits, Remote, WorkingCopy
from systems.migrations import engine_of

__all__ = ["Checkout", "check_out", "remote_of"]


@dataclass(frozen=True)
class Checkout:
    """A version's files."""

    version: Version
    commit: str
    directory: Path
    migrations: tuple[MigrationFile, ...]
    announced: bool = False
    """Whether a delivery asked for it, and no human by hand."""

    @property
    def head(self) -> str:
        """The name of its last migration."""
        return self.migrations[-1].name if self.migrations else "no migration"


@step("checkout", "fetch {version} from {operation.settings.source.github_repository}", writes=False)
def check_out(operation: Operation, version: Version, announced: str | None = None) -> Done[Checkout]:
    """Return the files of the tag `version`.

    Raises `Refused` for a tag that does not exist, that is not at the commit `announced`, or whose commit no released
    branch was ever at.
    """
    copy = _fetch(operation, version)
    commit = _released_commit(operation.settings.source, copy, version)
    refuse_other_commit(version, announced, commit)
    copy.check_out(commit)
    engine = engine_of(operation.settings)
    migrations = engine.read_files(copy.directory) if engine else ()
    return done(
        f"{version} is at commit {commit[:12]}, with {counted(len(migrations), 'migration')}",
        Checkout(version, commit, copy.directory, migrations, announced=bool(announced)),
    )


def _fetch(operation: Operation, version: Version) -> WorkingCopy:
    """Return a working copy, still empty, with the commits of the version's tag and of the released branches."""
    source = operation.settings.source
    remote = remote_of(operation)
    tag, branches = _ref(source, version), [f"refs/heads/{name}" for name in source.released_branches]
    refuse_unknown_refs(remote.refs(tag, *branches), source.tags.tag_of(version), source.released_branches)
    copy = WorkingCopy(
        remote,
        operation.workspace.folder(version.tag) / "source",
        Limits(size=source.max_mib * 2**20, files=source.max_files),
    )
    tracked = (f"{branch}:{branch.replace('refs/heads/', 'refs/remotes/origin/', 1)}" for branch in branches)
    copy.fetch([f"{tag}:{tag}", *tracked])
    return copy


def remote_of(operation: Operation) -> Remote:
    """Return the source repository, with the token that may read it; raise `Refused` where that would be seen."""
    url = _absolute(operation.settings.source.url)
    block = operation.block.source_credentials
    token = str(block.get()) if block else None
    if token:
        refuse_token_in_the_clear(url)
    return Remote(url, token, operation.owner.attempt)


def _ref(source: Source, version: Version) -> str:
    return f"refs/tags/{source.tags.tag_of(version)}"


def _released_commit(source: Source, copy: WorkingCopy, version: Version) -> str:
    commit = copy.commit_of(_ref(source, version))
    if commit is None:
        raise Refused(
            f"The tag {version} does not point to a commit",
            why="it points to a tree or a file",
            do="Push a tag that points to a commit.",
        )
    if not copy.on_first_parents(commit):
        branches = " or ".join(source.released_branches)
        raise Refused(
            f"The commit of {version} is not on {branches}",
            why=f"{commit[:12]} is not reachable from {branches} of {source.github_repository} by first parents",
            do="Merge it first, then tag the merge commit: a merged commit is not released by itself.",
        )
    return commit


def _absolute(url: str) -> str:
    """Return a path inside the project as an absolute one; any other URL as it is."""
    inside = PROJECT / url
    return str(inside) if "://" not in url and not url.startswith("/") and inside.exists() else url
