"""git: what a remote repository offers, and a working copy of one commit of it, with submodules and large files."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.errors import Permanent, PointsmanError, Refused
from core.prebuilt import RecordTag
from core.source import LFS_POINTER, allowed_protocols, host_of
from core.words import counted
from systems.processes import ATTEMPT_VARIABLE, run_streamed

__all__ = ["Limits", "Remote", "WorkingCopy"]

_TIMEOUT = 600.0
_SHOWN_FILES = 5

# What git, its ssh and its HTTP library need of the worker; no other variable is given to them.
_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
        *("SSH_AUTH_SOCK", "GIT_ASKPASS", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"),
        *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"),
        *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    }
)

_LFS_FILTERS = (
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.required", "true"),
)


@dataclass(frozen=True)
class Limits:
    """How much a working copy may hold, git's own files included."""

    size: int
    files: int


@dataclass(frozen=True)
class Remote:
    """A repository elsewhere, and what may read it; `attempt` marks its children as a run's own."""

    url: str
    token: str | None = field(default=None, repr=False)
    attempt: str = ""
    timeout: float = _TIMEOUT
    """Seconds that one command may take."""

    def refs(self, *patterns: str) -> set[str]:
        """Return the names of the refs that fit the patterns."""
        listed = self.run(["ls-remote", "--quiet", self.url, *patterns])
        return {line.partition("\t")[2] for line in listed}

    def run(
        self, arguments: Sequence[str], *, guard: Callable[[], PointsmanError | None] | None = None, **settings: str
    ) -> list[str]:
        """Run git and return its lines; raise `Permanent` with what it says if it fails."""
        code, lines, errors = self.execute(arguments, guard=guard, **settings)
        if code != 0:
            verb = next(a for a in arguments if not a.startswith(("-", "/")))
            raise Permanent(
                f"git {verb} failed", why="\n".join(errors), do="Check source.url and the source credentials."
            )
        return lines

    def execute(
        self, arguments: Sequence[str], *, guard: Callable[[], PointsmanError | None] | None = None, **settings: str
    ) -> tuple[int, list[str], list[str]]:
        """Run git and return its exit code and the lines of its two streams."""
        lines: list[str] = []
        errors: list[str] = []
        code = run_streamed(
            ["git", *arguments],
            on_line=lines.append,
            on_error_line=errors.append,
            environment={**self.environment, **settings},
            timeout=self.timeout,
            guard=guard,
        )
        return code, lines, errors

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of every git child: it never asks, and its token is in no command line and no file."""
        inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
        return {
            **inherited,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(allowed_protocols(self.url)),
            # Large files are fetched by `fetch_large_files`, after a look at where they would come from.
            "GIT_LFS_SKIP_SMUDGE": "1",
            ATTEMPT_VARIABLE: self.attempt,
            **_as_variables(_token_settings(self.url, self.token)),
        }


@dataclass(frozen=True)
class WorkingCopy:
    """A folder of ours that holds one commit of a remote repository."""

    remote: Remote
    directory: Path
    limits: Limits

    def fetch(self, refspecs: Sequence[str]) -> None:
        """Fetch refs, each as `source:destination`.

        Trees and blobs of old commits are fetched only where they are needed, if the server can do that.
        """
        self.remote.run(["init", "--quiet", str(self.directory)])
        self._git("remote", "add", "origin", self.remote.url)
        self._git("fetch", "--quiet", "--no-tags", "--filter=blob:none", "origin", *(f"+{ref}" for ref in refspecs))

    def commit_of(self, ref: str) -> str | None:
        """Return the commit that a ref leads to; None if it leads to something else, such as a tree."""
        code, lines, _ = self.remote.execute([*self._here, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"])
        return lines[0] if code == 0 and lines else None

    def read_tag(self, name: str) -> RecordTag:
        """Return a fetched tag with its message; raise `Permanent` where there is none."""
        ref = f"refs/tags/{name}"
        kind, *message = self._git("for-each-ref", "--format=%(objecttype)%0a%(contents)", ref) or [""]
        return RecordTag(name, self.commit_of(ref), "\n".join(message) if kind == "tag" else None)

    def on_first_parents(self, commit: str) -> bool:
        """Whether one of the fetched branches was ever at this commit, as its first parents tell.

        A merged branch's own commits are not: no review saw them as a state of the branch that they were merged into.
        """
        return commit in self._git("rev-list", "--first-parent", "--remotes=origin")

    def check_out(self, commit: str) -> None:
        """Write the commit's files, those of its submodules and its large files; raise `Refused` beyond the limits."""
        self._git("checkout", "--quiet", "--detach", commit)
        for directory in (self.directory, *self._fetch_submodules()):
            self._fetch_large_files(directory)
        if over := self._over_limits():
            raise over

    def _fetch_submodules(self) -> list[Path]:
        """Fetch the submodules and theirs, if there are any; return their folders."""
        links = [line.partition("\t")[2] for line in self._git("ls-files", "--stage") if line.startswith("160000 ")]
        if not links:
            return []
        update = ["submodule", "--quiet", "update", "--init", "--recursive"]
        code, _, errors = self.remote.execute([*self._here, *update], guard=self._over_limits)
        if code != 0:
            raise Refused(
                f"The submodules could not be fetched ({_named(links)})",
                why="\n".join(errors),
                do="Give them a URL that the source credentials can read (a relative one is best), or remove them.",
            )
        return [Path(line) for line in self._git("submodule", "--quiet", "foreach", "--recursive", "pwd")]

    def _fetch_large_files(self, directory: Path) -> None:
        pointers = self._pointers(directory)
        if not pointers:
            return
        if self.remote.execute(["lfs", "version"])[0] != 0:
            raise Refused(
                f"The version contains Git LFS files ({_named(pointers)})",
                why="git-lfs was not found on the worker, and pointers would be shipped in their place",
                do="Install git-lfs on the worker, then press Retry.",
            )
        self._refuse_other_lfs_server(directory)
        fetch = ["-C", str(directory), "lfs", "pull", "origin"]
        code, _, errors = self.remote.execute(fetch, guard=self._over_limits, **self._lfs_settings)
        left = self._pointers(directory)
        if code != 0 or left:
            raise Refused(
                f"Git LFS files could not be fetched ({_named(left or pointers)})",
                why="\n".join(errors) or "git-lfs left their pointers in place",
                do="Check that the source's LFS server has them and that the source credentials can read it.",
            )

    def _pointers(self, directory: Path) -> list[str]:
        """Return the files that are to be kept in Git LFS and are still pointers to it."""
        listed = self.remote.run(["-C", str(directory), "ls-files", "-z", "--", ":(top,attr:filter=lfs)"])
        names = filter(None, "\n".join(listed).split("\0"))
        return [name for name in names if _is_pointer(directory / name)]

    def _refuse_other_lfs_server(self, directory: Path) -> None:
        # https://github.com/git-lfs/git-lfs/blob/main/docs/man/git-lfs-config.adoc: a commit can redirect git-lfs.
        file = directory / ".lfsconfig"
        if not file.exists() and not file.is_symlink():
            return
        listed = (
            [] if file.is_symlink() else self.remote.run(["config", "--no-includes", "--file", str(file), "--list"])
        )
        elsewhere = [line for line in listed if line.partition("=")[0].lower().endswith("url")]
        if elsewhere or file.is_symlink():
            raise Refused(
                ".lfsconfig names a Git LFS server",
                why=elsewhere[0] if elsewhere else "it is a symbolic link",
                do="Large files are fetched from the source itself: remove the URL from .lfsconfig.",
            )

    @property
    def _lfs_settings(self) -> dict[str, str]:
        return _as_variables((*_token_settings(self.remote.url, self.remote.token), *_LFS_FILTERS))

    def _over_limits(self) -> PointsmanError | None:
        files, size = _measure(self.directory, self.limits)
        if files <= self.limits.files and size <= self.limits.size:
            return None
        return Refused(
            "The checkout is too large",
            why=f"it holds more than {counted(self.limits.files, 'file')} or {self.limits.size / 2**20:g} MiB",
            do="Remove files that no release needs, or raise source.max_files or source.max_mib.",
        )

    @property
    def _here(self) -> list[str]:
        return ["-C", str(self.directory)]

    def _git(self, *arguments: str) -> list[str]:
        return self.remote.run([*self._here, *arguments], guard=self._over_limits)


def _token_settings(url: str, token: str | None) -> tuple[tuple[str, str], ...]:
    """Return git's settings for a token: shown to the source's host alone, over no redirect and no other protocol."""
    host = host_of(url)
    if not token or host is None:
        return ()
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    name = host.partition("://")[2].rstrip("/").partition(":")[0]
    return (
        (f"http.{host}.extraHeader", f"Authorization: Basic {basic}"),
        ("http.followRedirects", "false"),
        # Submodules are often written as ssh addresses of the same host, which the token can't read.
        (f"url.{host}.insteadOf", f"git@{name}:"),
        (f"url.{host}.insteadOf", f"ssh://git@{name}/"),
    )


def _as_variables(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def _measure(directory: Path, limits: Limits) -> tuple[int, int]:
    """Return how many files a folder holds and their bytes; counting ends beyond the limits."""
    files = size = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            files += 1
            size += _size(os.path.join(folder, name))
        if files > limits.files or size > limits.size:
            break
    return files, size


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:  # git moved it meanwhile
        return 0


def _named(files: Sequence[str]) -> str:
    more = len(files) - _SHOWN_FILES
    return ", ".join(files[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
