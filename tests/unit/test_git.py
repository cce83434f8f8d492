"""git, on real repositories: which tags are released, and that a token stands in no command line."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from core.errors import Permanent, Refused
from core.version import Version
from tasks.git import check_out, git_environment
from tasks.operation import Operation
from tests.unit.facts import owner, settings_with
from tests.unit.fakes import FakeAws, Secret, operation_of

TOKEN = "ghp_0123456789abcdef"
BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


def git(directory: Path, *arguments: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env={**os.environ, **identity}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1.0.0 and the annotated v1.1.0 on main; v2.0.0 on a branch beside it."""
    made = tmp_path_factory.mktemp("source")
    git(made, "init", "--quiet", "--initial-branch=main")
    for version in ("v1.0.0", "v1.1.0"):
        folder = made / "prisma/migrations" / f"2026_{version}"
        folder.mkdir(parents=True)
        (folder / "migration.sql").write_text(f"-- {version}\n")
        git(made, "add", ".")
        git(made, "commit", "--quiet", "-m", version)
        git(made, "tag", *(["-a", "-m", "it"] if version == "v1.1.0" else []), version)
    git(made, "checkout", "--quiet", "-b", "side")
    git(made, "commit", "--quiet", "--allow-empty", "-m", "side")
    git(made, "tag", "v2.0.0")
    git(made, "checkout", "--quiet", "main")
    return made


@pytest.fixture
def command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that collects what any git process gets as its arguments."""
    real, said, shim = shutil.which("git"), tmp_path / "said", tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> "{said}"\nexec "{real}" "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return said


def operation_on(url: object, main: str = "main") -> Operation:
    settings = settings_with(url=f'"{url}"\nmain_branch = "{main}"')
    return operation_of(FakeAws(), settings, owner(), source_credentials=Secret(TOKEN))


@pytest.mark.parametrize(
    ("tag", "migrations"), [("v1.0.0", ["2026_v1.0.0"]), ("v1.1.0", ["2026_v1.0.0", "2026_v1.1.0"])]
)
def test_a_tag_on_the_main_branch_is_checked_out(
    source: Path, command_lines: Path, no_run_log: None, tag: str, migrations: list[str]
) -> None:
    found = check_out.fn(operation_on(source), Version.parse(tag))
    assert found.commit == git(source, "rev-parse", f"{tag}^{{commit}}")
    assert [m.name for m in found.migrations] == migrations
    said = command_lines.read_text()
    assert "fetch" in said
    assert TOKEN not in said
    assert BASIC not in said


@pytest.mark.parametrize(
    ("tag", "main", "what"),
    [
        ("v9.0.0", "main", "The tag v9.0.0 does not exist"),
        ("v1.1.0-rc.1", "main", "The tag v1.1.0-rc.1 does not exist"),
        ("v2.0.0", "main", "The commit of v2.0.0 is not on main"),
        ("v1.0.0", "trunk", "The branch trunk does not exist"),
    ],
)
def test_a_tag_that_cannot_be_released_is_refused_with_the_reason(
    source: Path, command_lines: Path, no_run_log: None, tag: str, main: str, what: str
) -> None:
    with pytest.raises(Refused) as refusal:
        check_out.fn(operation_on(source, main), Version.parse(tag))
    assert refusal.value.what == what
    assert refusal.value.why
    assert refusal.value.do


def test_a_source_that_is_not_there_is_told_without_the_token(command_lines: Path, no_run_log: None) -> None:
    with pytest.raises(Permanent, match="git ls-remote failed") as failure:
        check_out.fn(operation_on("file:///nowhere"), Version.parse("v1.0.0"))
    assert TOKEN not in str(failure.value)
    assert BASIC not in str(failure.value)


def test_a_token_is_a_header_in_the_environment() -> None:
    environment = git_environment(TOKEN)
    assert environment["GIT_CONFIG_VALUE_0"] == f"Authorization: Basic {BASIC}"
    assert not any(TOKEN in value for value in environment.values())


@pytest.mark.parametrize("token", [None, "", TOKEN])
def test_git_never_asks(token: str | None) -> None:
    assert git_environment(token)["GIT_TERMINAL_PROMPT"] == "0"
    assert ("GIT_CONFIG_COUNT" in git_environment(token)) == bool(token)
