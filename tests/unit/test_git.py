"""git, on real repositories: which tags are released, what is checked out, and who is shown the token."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, Refused
from core.version import Version
from operation.operation import Operation
from systems.git import Remote
from systems.processes import ATTEMPT_VARIABLE, interrupt_children
from tasks.checkout import Checkout, check_out
from tests.unit.facts import owner, settings_with
from tests.unit.fakes import FakeAws, Secret, operation_of
from tests.unit.git_host import GitHost, commit, git, make_certificate, make_repository, serving

TOKEN = "ghp_0123456789abcdef"
BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
HEADER = f"Basic {BASIC}"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1.0.0, the annotated v1.1.0 and v1.2.0+a.1 on main, v1.0.1 on release/1.0; others beside them.

    v2.0.0 is on a branch; v3.0.0 is a commit that a merge brought to main, v3.1.0 that merge, v4.0.0 names a tree.
    """
    made = make_repository(tmp_path_factory.mktemp("source") / "app")
    for version in ("v1.0.0", "v1.1.0"):
        commit(made, version, **{f"prisma__migrations__2026_{version}__migration.sql": f"-- {version}\n"})
        git(made, "tag", *(["-a", "-m", "it"] if version == "v1.1.0" else []), version)
    git(made, "checkout", "--quiet", "-b", "release/1.0", "v1.0.0")
    commit(made, "a correction")
    git(made, "tag", "v1.0.1")
    git(made, "checkout", "--quiet", "-b", "side", "main")
    commit(made, "side")
    git(made, "tag", "v2.0.0")
    git(made, "checkout", "--quiet", "-b", "reviewed", "main")
    commit(made, "evil", app="EVIL")
    git(made, "tag", "v3.0.0")
    git(made, "revert", "--no-edit", "HEAD")
    git(made, "checkout", "--quiet", "main")
    git(made, "merge", "--quiet", "--no-ff", "-m", "merge", "reviewed")
    git(made, "tag", "-a", "-m", "it", "v3.1.0")
    commit(made, "all of a branch in one commit")
    git(made, "tag", "v1.2.0+a.1")
    git(made, "tag", "v4.0.0", "HEAD^{tree}")
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


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_run_log: None) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def operation_on(url: object, more: str = 'main_branch = "main"', token: str | None = TOKEN) -> Operation:
    settings = settings_with(url=f'"{url}"\n{more}')
    return operation_of(FakeAws(), settings, owner(), source_credentials=Secret(token) if token else None)


def checked_out(url: object, tag: str, more: str = "", **arguments: Any) -> Checkout:
    return check_out.fn(operation_on(url, more), Version.parse(tag), **arguments)


# --- which tags


@pytest.mark.parametrize(
    ("tag", "migrations"),
    [
        ("v1.0.0", ["2026_v1.0.0"]),
        ("v1.1.0", ["2026_v1.0.0", "2026_v1.1.0"]),
        ("v3.1.0", ["2026_v1.0.0", "2026_v1.1.0"]),
        ("v1.2.0+a.1", ["2026_v1.0.0", "2026_v1.1.0"]),
    ],
)
def test_a_tag_on_the_main_branch_is_checked_out(
    source: Path, command_lines: Path, no_run_log: None, tag: str, migrations: list[str]
) -> None:
    found = check_out.fn(operation_on(source), Version.parse(tag))
    assert found.commit == git(source, "rev-parse", f"{tag}^{{commit}}")
    assert [m.name for m in found.migrations] == migrations
    assert not (found.directory / "app").exists()
    said = command_lines.read_text()
    assert "fetch" in said
    assert TOKEN not in said
    assert BASIC not in said


def test_a_tag_with_a_prefix_is_that_applications_version(source: Path, scratch: None) -> None:
    git(source, "tag", "api/v1.2.3", "v1.1.0")
    prefixed = 'tag_pattern = "api/v*"'
    for told in ("api/v1.2.3", "v1.2.3"):
        operation = operation_on(source, prefixed)
        version = operation.journal.name_version(told, operation.settings.source.tags)
        found = check_out.fn(operation, version)
        assert (found.version.tag, found.commit) == ("v1.2.3", git(source, "rev-parse", "v1.1.0^{commit}"))
    with pytest.raises(Refused, match=r"The tag api/v1\.1\.0 does not exist"):
        check_out.fn(
            operation_on(source, prefixed), Version.parse("v1.1.0")
        )  # another application's tag of that version


@pytest.mark.parametrize(
    ("tag", "more", "what"),
    [
        ("v9.0.0", "", "The tag v9.0.0 does not exist"),
        ("v1.1.0-rc.1", "", "The tag v1.1.0-rc.1 does not exist"),
        ("v2.0.0", "", "The commit of v2.0.0 is not on main"),
        ("v2.0.0", 'branches = ["main", "release/*"]', "The commit of v2.0.0 is not on main or release/*"),
        ("v1.0.1", "", "The commit of v1.0.1 is not on main"),
        ("v3.0.0", "", "The commit of v3.0.0 is not on main"),
        ("v4.0.0", "", "The tag v4.0.0 does not point to a commit"),
        ("v1.0.0", 'main_branch = "trunk"', "The branch trunk does not exist"),
        ("v1.0.0", 'branches = ["main", "trunk"]', "The branch trunk does not exist"),
        ("v1.0.0", 'branches = ["stable/*"]', "No branch matches stable/*"),
    ],
)
def test_a_tag_that_cannot_be_released_is_refused_with_the_reason(
    source: Path, scratch: None, tag: str, more: str, what: str
) -> None:
    with pytest.raises(Refused) as refusal:
        checked_out(source, tag, more)
    assert refusal.value.what == what
    assert refusal.value.why
    assert refusal.value.do


def test_a_commit_that_a_merge_brought_in_is_refused_with_what_to_tag(source: Path, scratch: None) -> None:
    with pytest.raises(
        Refused, match=r"is not reachable from main of team/shop by first parents.*tag the merge commit"
    ):
        checked_out(source, "v3.0.0")


@pytest.mark.parametrize(
    "branches",
    ['["release/*"]', '["main", "release/*"]', '["main", "release/1.0"]', '["rel*"]', '["*/1.0"]', '["*"]'],
)
def test_a_tag_on_any_of_several_branches_is_checked_out(source: Path, scratch: None, branches: str) -> None:
    assert checked_out(source, "v1.0.1", f"branches = {branches}").commit == git(source, "rev-parse", "v1.0.1")


def test_other_branches_are_not_fetched(source: Path, scratch: None) -> None:
    found = checked_out(source, "v1.0.0", 'branches = ["release/*"]')
    refs = git(found.directory, "for-each-ref", "--format=%(refname)").splitlines()
    assert refs == ["refs/remotes/origin/release/1.0", "refs/tags/v1.0.0"]


# --- the commit that was announced


def test_the_commit_that_was_announced_is_released(source: Path, scratch: None) -> None:
    announced = git(source, "rev-parse", "v1.1.0^{commit}")
    assert checked_out(source, "v1.1.0", announced=announced).commit == announced


def test_another_commit_than_the_announced_one_is_refused(source: Path, scratch: None) -> None:
    announced, now = git(source, "rev-parse", "v1.0.0"), git(source, "rev-parse", "v1.1.0^{commit}")
    with pytest.raises(Refused) as refusal:
        checked_out(source, "v1.1.0", announced=announced)
    assert refusal.value.what == "The tag v1.1.0 moved since it was announced"
    assert announced[:12] in refusal.value.why
    assert now[:12] in refusal.value.why


# --- the token, and what else git is given


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def hosts(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[GitHost, GitHost]]:
    """A host that asks for our token and holds team/app, and one that asks for nothing and holds other/lib."""
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    ours, theirs = GitHost(tmp_path / "ours", authorization=HEADER), GitHost(tmp_path / "theirs")
    for at in (ours.root / "team/app", ours.root / "team/lib", theirs.root / "other/lib"):
        commit(make_repository(at), "first", lib="here\n")
    with serving(ours, certificate), serving(theirs, certificate):
        yield ours, theirs


def tag_with(repository: Path, tag: str, **files: str) -> None:
    commit(repository, tag, **files)
    git(repository, "tag", tag)


def test_the_token_opens_the_source(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, theirs = hosts
    tag_with(ours.root / "team/app", "v1.0.0")
    assert checked_out(f"{ours.url}/team/app", "v1.0.0").commit
    assert HEADER in ours.shown
    assert theirs.asked == []


def test_the_token_follows_no_redirect(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, theirs = hosts
    tag_with(theirs.root / "other/lib", "v1.0.0")
    ours.sends_on_to = theirs.url
    with pytest.raises(Permanent, match="git ls-remote failed"):
        checked_out(f"{ours.url}/other/lib", "v1.0.0")
    assert ours.shown
    assert theirs.asked == []


def submodule(repository: Path, url: str, directory: str = "vendor/lib") -> None:
    """Add a submodule whose commit is that of `lib`'s main branch, by hand: git itself would fetch it."""
    lib = repository.parent / "lib"
    head = git(lib if lib.exists() else repository, "rev-parse", "HEAD")
    (repository / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = {directory}\n\turl = {url}\n')
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},{directory}")
    git(repository, "add", ".gitmodules")
    git(repository, "commit", "--quiet", "-m", "with a submodule")
    git(repository, "tag", "v1.0.0")


def test_submodules_are_fetched_with_the_same_credentials(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, _ = hosts
    submodule(ours.root / "team/app", "../lib")
    found = checked_out(f"{ours.url}/team/app", "v1.0.0")
    assert (found.directory / "vendor/lib/lib").read_text() == "here\n"
    assert any("/team/lib/" in asked for asked in ours.asked)


def test_submodules_of_submodules_are_fetched(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, _ = hosts
    inner = make_repository(ours.root / "team/inner/lib")
    commit(inner, "first", deep="down\n")
    middle = ours.root / "team/lib"
    head = git(inner, "rev-parse", "HEAD")
    (middle / ".gitmodules").write_text('[submodule "inner"]\n\tpath = inner\n\turl = ../inner/lib\n')
    git(middle, "update-index", "--add", "--cacheinfo", f"160000,{head},inner")
    git(middle, "add", ".gitmodules")
    git(middle, "commit", "--quiet", "-m", "inner")
    submodule(ours.root / "team/app", "../lib")
    found = checked_out(f"{ours.url}/team/app", "v1.0.0")
    assert (found.directory / "vendor/lib/inner/deep").read_text() == "down\n"


def test_a_submodule_of_another_host_is_not_shown_the_token(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, theirs = hosts
    app = ours.root / "team/app"
    head = git(theirs.root / "other/lib", "rev-parse", "HEAD")
    (app / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib2\n\turl = {theirs.url}/other/lib\n')
    git(app, "update-index", "--add", "--cacheinfo", f"160000,{head},lib2")
    git(app, "add", ".gitmodules")
    git(app, "commit", "--quiet", "-m", "theirs")
    git(app, "tag", "v1.0.0")
    found = checked_out(f"{ours.url}/team/app", "v1.0.0")
    assert (found.directory / "lib2/lib").read_text() == "here\n"
    assert theirs.asked
    assert theirs.shown == []


def test_a_submodule_in_ssh_spelling_is_read_with_the_token(hosts: tuple[GitHost, GitHost], scratch: None) -> None:
    ours, _ = hosts
    submodule(ours.root / "team/app", "git@127.0.0.1:team/lib")
    found = checked_out(f"{ours.url}/team/app", "v1.0.0")
    assert (found.directory / "vendor/lib/lib").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("../nowhere", "nowhere"),
        ("ext::sh -c date", "transport 'ext' not allowed"),
        ("http://127.0.0.1:1/lib", "transport 'http' not allowed"),
        ("file:///etc", "transport 'file' not allowed"),
    ],
)
def test_a_submodule_that_cannot_be_fetched_is_refused_by_name(
    hosts: tuple[GitHost, GitHost], scratch: None, url: str, reason: str
) -> None:
    ours, _ = hosts
    submodule(ours.root / "team/app", url)
    with pytest.raises(Refused) as refusal:
        checked_out(f"{ours.url}/team/app", "v1.0.0")
    assert refusal.value.what == "The submodules could not be fetched (vendor/lib)"
    assert reason in refusal.value.why


def test_a_token_is_not_sent_in_the_clear(scratch: None) -> None:
    with pytest.raises(Refused, match="The source token would be sent unencrypted"):
        checked_out("http://127.0.0.1:1/team/app", "v1.0.0")


def test_a_source_that_does_not_answer_is_told_without_the_token(command_lines: Path, no_run_log: None) -> None:
    with pytest.raises(Permanent, match="git ls-remote failed") as failure:
        checked_out("file:///nowhere", "v1.0.0")
    assert TOKEN not in str(failure.value)
    assert BASIC not in str(failure.value)


@pytest.mark.parametrize("token", [None, "", TOKEN])
def test_git_never_asks(token: str | None) -> None:
    environment = Remote("https://git.example.com/team/shop", token, "run-1-1").environment
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert any(BASIC in value for value in environment.values()) == bool(token)
    assert not any(TOKEN in value for value in environment.values())


def test_git_gets_named_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_AUTH_STRING", "AWS_SECRET_ACCESS_KEY", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.setenv(name, "secret")
    environment = Remote("https://git.example.com/team/shop", TOKEN, "run-1-1").environment
    assert "secret" not in environment.values()
    assert environment[ATTEMPT_VARIABLE] == "run-1-1"
    assert environment["PATH"] == os.environ["PATH"]


# --- large files


@pytest.fixture
def large(tmp_path: Path) -> Path:
    made = make_repository(tmp_path / "large")
    tag_with(made, "v1.0.0", _dot_gitattributes="*.bin filter=lfs diff=lfs\n", assets__logo__bin="", assets__a="x")
    (made / "assets/logo.bin").write_text(POINTER)
    tag_with(made, "v1.1.0")
    return made


def test_a_pointer_to_a_large_file_is_refused_by_name_without_git_lfs(
    large: Path, scratch: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_git = tmp_path / "only-git"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", f"{only_git}:/bin")
    with pytest.raises(Refused) as refusal:
        checked_out(large, "v1.1.0")
    assert refusal.value.what == "The version contains Git LFS files (assets/logo.bin)"
    assert "git-lfs was not found" in refusal.value.why


@pytest.fixture
def git_lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git-lfs that answers its version and does on `pull` what the file that is returned says."""
    script, what = tmp_path / "lfs" / "git-lfs", tmp_path / "on-pull"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n[ "$1" = version ] || . {what}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return what


def test_large_files_are_fetched_with_git_lfs(large: Path, scratch: None, git_lfs: Path) -> None:
    git_lfs.write_text("echo real > assets/logo.bin\n")
    assert (checked_out(large, "v1.1.0").directory / "assets/logo.bin").read_text() == "real\n"


@pytest.mark.parametrize("pull", ["true", "echo 'Object does not exist on the server' >&2; exit 2"])
def test_a_pointer_that_is_left_is_refused_by_name(large: Path, scratch: None, git_lfs: Path, pull: str) -> None:
    git_lfs.write_text(pull)
    with pytest.raises(Refused, match=r"Git LFS files could not be fetched \(assets/logo\.bin\)"):
        checked_out(large, "v1.1.0")


@pytest.mark.parametrize(
    "text", ["[lfs]\n\turl = https://evil.example.com\n", '[remote "origin"]\n\tlfsurl = https://evil.example.com\n']
)
def test_a_commit_cannot_send_git_lfs_elsewhere(large: Path, scratch: None, git_lfs: Path, text: str) -> None:
    git_lfs.write_text(f"touch {git_lfs}.ran")
    tag_with(large, "v1.2.0", _dot_lfsconfig=text)
    with pytest.raises(Refused, match=r"\.lfsconfig names a Git LFS server: .*evil\.example\.com"):
        checked_out(large, "v1.2.0")
    assert not Path(f"{git_lfs}.ran").exists()


# --- limits, and its end


@pytest.mark.parametrize(
    ("more", "files"),
    [("max_mib = 1", {"big": "x" * 2_000_000}), ("max_files = 90", {f"f{n}": str(n) for n in range(90)})],
)
def test_a_checkout_beyond_the_limits_is_refused(tmp_path: Path, scratch: None, more: str, files: Any) -> None:
    made = make_repository(tmp_path / "app")
    tag_with(made, "v1.0.0", **files)
    with pytest.raises(Refused, match="The checkout is too large: it holds more than"):
        checked_out(made, "v1.0.0", more)
    assert checked_out(made, "v1.0.0").commit


def test_a_fetch_beyond_the_limits_is_ended_while_it_runs(
    tmp_path: Path, source: Path, scratch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging_git(tmp_path, monkeypatch, 'fetch) dd if=/dev/zero of="$2/.git/huge" bs=1M count=3 2>/dev/null; sleep 60')
    began = time.monotonic()
    with pytest.raises(Refused, match="The checkout is too large"):
        checked_out(source, "v1.0.0", "max_mib = 2")
    assert time.monotonic() - began < 20


def hanging_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """A git that at one of its commands, its third argument, does something else."""
    real, shim = shutil.which("git"), tmp_path / "hanging" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\ncase "$3" in\n{case};;\n*) exec "{real}" "$@";;\nesac\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")


def test_git_and_its_children_end_with_the_run(
    tmp_path: Path, source: Path, scratch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    hanging_git(tmp_path, monkeypatch, f"fetch) sh -c 'echo $$ > {pid}; exec sleep 60'")
    ends: list[BaseException] = []

    def run() -> None:
        try:
            checked_out(source, "v1.0.0")
        except Permanent as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    interrupt_children()
    thread.join(20)
    assert len(ends) == 1
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    deadline = time.monotonic() + 30
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
