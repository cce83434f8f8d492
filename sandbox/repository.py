"""A sample application's git repository, as GitHub would hold it: bare, with a main branch and tags.

A version's tree is `examples/<name>/app` plus every overlay of `versions/` up to that version, plus at
most one fault. Equal calls in equal order give equal commits, so revisions stay the same from run to run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.errors import Permanent, Refused
from core.version import Version

__all__ = [
    "CONNECTIONS",
    "EXAMPLES",
    "MAIN",
    "available_faults",
    "available_versions",
    "make_repository",
    "publish_version",
    "tag_commit",
]

MAIN = "main"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONNECTIONS = "connections"

_PERSON = "Connections Maintainers <maintainers@connections.example>"
_FIRST_COMMIT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_NOT_COPIED = shutil.ignore_patterns("node_modules", ".env")


def available_versions(example: str = CONNECTIONS) -> tuple[str, ...]:
    """Return the versions that have a tree of their own, oldest first; the first is the bare `app/`."""
    overlays = {Version.parse(path.name) for path in (EXAMPLES / example / "versions").iterdir() if path.is_dir()}
    return tuple(str(version) for version in sorted({Version.parse("v1.0.0"), *overlays}))


def available_faults(example: str = CONNECTIONS) -> tuple[str, ...]:
    """Return the names that `publish_version` takes as an overlay."""
    return tuple(sorted(path.name for path in (EXAMPLES / example / "faults").iterdir() if path.is_dir()))


def make_repository(path: Path, *, publish: Iterable[str] = (), example: str = CONNECTIONS) -> dict[str, str]:
    """Make a bare repository with one commit on main, then publish versions in order; return version → commit.

    Refused if there is something at `path` already.
    """
    if path.exists() and any(path.iterdir()):
        raise Refused(f"No repository was made at {path}", why="it is not empty", do="Remove it first.")
    path.mkdir(parents=True, exist_ok=True)
    _git(path, "init", "--quiet", "--bare", f"--initial-branch={MAIN}")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        shutil.copy2(EXAMPLES / example / "app" / ".gitignore", tree)
        _commit(path, tree, branch=MAIN, message=f"Start the {example} service")
    return {version: publish_version(path, version, example=example) for version in publish}


def publish_version(
    bare: Path,
    version: str,
    *,
    overlay: str | Path | None = None,
    branch: str = MAIN,
    tag: str | None = None,
    annotated: bool = True,
    move: bool = False,
    keep: Iterable[str] = (),
    example: str = CONNECTIONS,
) -> str:
    """Commit a version's tree on a branch (new: from main), tag it `tag` or else `version`; return the commit.

    `overlay` is a fault's name or a folder laid on top. A version without a tree of its own has that of the
    newest one below it, so v1.1.7 has v1.1.0's. A tag that exists is refused unless it shall `move`. Migrations named
    in `keep` are added from wherever they were committed before, as a branch that goes on keeps its files.
    """
    name = version if tag is None else tag
    if tag_commit(bare, name) is not None and not move:
        raise Refused(f"{name} was not published", why="the tag exists", do="Publish another version, or move it.")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for layer in _layers(example, Version.parse(version), overlay):
            shutil.copytree(layer, tree, dirs_exist_ok=True, ignore=_NOT_COPIED)
        for migration in keep:
            _keep_migration(bare, tree, migration)
        commit = _commit(bare, tree, branch=branch, message=f"Release {version}")
    options = ["--annotate", f"--message=Release {version}"] if annotated else []
    _git(bare, "tag", "--force", *options, name, commit, date=_date(bare, commit))
    return commit


def tag_commit(bare: Path, tag: str) -> str | None:
    """Return the commit that a tag stands for, through an annotated tag, or None if there is no such tag."""
    listing = _git(bare, "for-each-ref", "--format=%(objectname) %(*objectname)", f"refs/tags/{tag}")
    return listing.split()[-1] if listing else None


def _keep_migration(bare: Path, tree: Path, name: str) -> None:
    path = f"prisma/migrations/{name}/migration.sql"
    commits = _git(bare, "log", "--all", "--format=%H", "--diff-filter=AM", "--", path).split()
    if (tree / path).exists() or not commits:
        return
    (tree / path).parent.mkdir(parents=True)
    # As it is in git, up to the last byte: its checksum is in the database.
    (tree / path).write_bytes(_git_bytes(bare, "cat-file", "blob", f"{commits[-1]}:{path}"))


def _layers(example: str, version: Version, overlay: str | Path | None) -> list[Path]:
    """Folders to copy over each other, first to last."""
    home = EXAMPLES / example
    overlays = [home / "versions" / name for name in available_versions(example) if Version.parse(name) <= version]
    fault = home / "faults" / overlay if isinstance(overlay, str) else overlay
    if fault is not None and not fault.is_dir():
        raise Refused(f"There is no overlay {overlay}", do=f"Known faults: {', '.join(available_faults(example))}.")
    layers = [home / "app", *(path for path in overlays if path.is_dir())]
    return layers if fault is None else [*layers, fault]


def _commit(bare: Path, tree: Path, *, branch: str, message: str) -> str:
    """Commit a folder's content on a branch of a bare repository, dated a day after its parent."""
    ref = f"refs/heads/{branch}"
    parent = _resolve(bare, ref) or _resolve(bare, f"refs/heads/{MAIN}")
    index = tree.parent / f"{tree.name}.index"
    try:
        _git(bare, f"--work-tree={tree}", "add", "--all", "--force", ".", index=index)
        tree_id = _git(bare, "write-tree", index=index)
    finally:
        index.unlink(missing_ok=True)
    when = _FIRST_COMMIT if parent is None else _date(bare, parent) + timedelta(days=1)
    parents = [] if parent is None else ["-p", parent]
    commit = _git(bare, "commit-tree", tree_id, *parents, "-m", message, date=when)
    _git(bare, "update-ref", ref, commit)
    return commit


def _resolve(bare: Path, ref: str) -> str | None:
    return _git(bare, "for-each-ref", "--format=%(objectname)", ref) or None


def _date(bare: Path, commit: str) -> datetime:
    return datetime.fromtimestamp(int(_git(bare, "show", "--no-patch", "--format=%ct", commit)), tz=UTC)


def _git(bare: Path, *arguments: str, index: Path | None = None, date: datetime | None = None) -> str:
    """Run git on a bare repository, untouched by the caller's own git settings, and give what it printed."""
    return _git_bytes(bare, *arguments, index=index, date=date).decode().strip()


def _git_bytes(bare: Path, *arguments: str, index: Path | None = None, date: datetime | None = None) -> bytes:
    name, _, email = _PERSON.rstrip(">").partition(" <")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": email}
        if date is not None:
            environment[f"GIT_{role}_DATE"] = date.isoformat()
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    command = ["git", f"--git-dir={bare}", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace")
        raise Permanent(f"`git {arguments[0]}` failed in {bare} with exit code {result.returncode}", why=said)
    return result.stdout
