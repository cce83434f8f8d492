"""`init` as an operator types it, on working copies of this machine: read by git, written once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.environment import PROJECT
from core.errors import Refused
from core.settings import parse_settings
from flows import __main__ as commands
from systems.repository import read_repository
from tests.unit.first_file import FASTAPI, MONOREPO, NODE, fill, lay_out

CONNECTIONS = PROJECT / "examples/connections/app"
NOTES = PROJECT / "examples/notes/app"
GIVEN = ["--account", "210987654321", "--region", "eu-central-1"]


@pytest.fixture(autouse=True)
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where the files are; no Prefect server is known, and no AWS."""
    folder = tmp_path / "environments"
    monkeypatch.setenv("POINTSMAN_ENVIRONMENTS", str(folder))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def cloned(folder: Path, origin: str = "https://user:token@github.com/acme/shop.git", branch: str = "trunk") -> Path:
    """Make a folder what `git clone` would, its default branch known."""
    git(folder, "init", "-q", "-b", branch)
    git(folder, "remote", "add", "origin", origin)
    git(folder, "symbolic-ref", "refs/remotes/origin/HEAD", f"refs/remotes/origin/{branch}")
    return folder


@pytest.mark.parametrize("shape", ["connections", "notes", "fastapi", "monorepo"])
def test_what_is_written_is_valid_once_it_is_filled_in(
    tmp_path: Path, environments: Path, capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    folder = tmp_path / "shop"
    if shape in ("connections", "notes"):
        shutil.copytree(CONNECTIONS if shape == "connections" else NOTES, folder)
    else:
        lay_out(folder, FASTAPI if shape == "fastapi" else MONOREPO)
    cloned(folder)
    assert commands.main(["init", "production", "--checkout", str(folder), *GIVEN]) == 0
    text = (environments / "production.toml").read_text()
    with pytest.raises(Refused, match="not filled in yet"):
        parse_settings("production", text)
    settings = parse_settings("production", fill(text))
    assert settings.source.url == "https://github.com/acme/shop.git"
    assert settings.source.main_branch == "trunk"
    assert settings.aws_account_number == "210987654321"
    assert settings.migration.engine == {"notes": "alembic", "fastapi": "alembic"}.get(shape, "prisma")
    shown = capsys.readouterr().out
    assert "token" not in text + shown
    for told in ("a route in", "Next:", "FILL-IN", "preflight production", "provision production"):
        assert told in shown


def test_the_first_example_needs_no_more_than_account_and_machine(tmp_path: Path, environments: Path) -> None:
    cloned(Path(shutil.copytree(CONNECTIONS, tmp_path / "app")), "git@github.com:cursive-team/connections.git", "main")
    assert commands.main(["init", "production", "--checkout", str(tmp_path / "app"), *GIVEN]) == 0
    text = (environments / "production.toml").read_text()
    with pytest.raises(Refused) as raised:
        parse_settings("production", text)
    assert "pipeline_principal_arns.0, provision.environment.test_listener_cidrs.0 still have" in str(raised.value)
    ours = parse_settings("production", (PROJECT / "environments/production.toml").read_text())
    made = parse_settings("production", fill(text))
    for same in ("namespace", "name", "image", "migration", "traffic", "smoke"):
        assert getattr(made, same) == getattr(ours, same)
    assert made.service.container_port == ours.service.container_port
    assert made.service.health_check_path == ours.service.health_check_path
    assert made.service.secrets.keys() == ours.service.secrets.keys()


def test_a_file_that_exists_is_left_as_it_is(
    tmp_path: Path, environments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path, {"Dockerfile": NODE, "environments/production.toml": "mine"})
    assert commands.main(["init", "production", "--checkout", str(tmp_path)]) == 1
    assert "overwrites none" in capsys.readouterr().err
    assert (environments / "production.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("production", {"a.js": ""}, "No Dockerfile was found"),
        ("account", {"Dockerfile": NODE}, "not a valid environment name"),
        ("../x", {"Dockerfile": NODE}, "not a valid environment name"),
    ],
)
def test_what_is_refused_writes_nothing(
    tmp_path: Path,
    environments: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    files: dict[str, str],
    message: str,
) -> None:
    lay_out(tmp_path / "shop", files)
    assert commands.main(["init", name, "--checkout", str(tmp_path / "shop")]) == 1
    assert message in capsys.readouterr().err
    assert not environments.exists()


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not a folder"):
        read_repository(tmp_path / "none", tmp_path)


def test_what_git_ignores_and_what_a_link_leads_to_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside.js").write_text("'/healthz'")
    folder = cloned(
        lay_out(tmp_path / "shop", {"Dockerfile": NODE, ".gitignore": ".env*\n!.env.example\n", ".env": "A=1"})
    )
    lay_out(folder, {".env.example": "A=", "größe.js": "1"})
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    seen = read_repository(folder, tmp_path)
    assert set(seen.paths) == {"Dockerfile", ".gitignore", ".env.example", "größe.js"}
    assert ".env" not in seen.texts


def test_a_folder_without_git_is_read_too(tmp_path: Path) -> None:
    lay_out(tmp_path, {"Dockerfile": NODE, "node_modules/x/a.js": "'/healthz'", ".env": "A=1"})
    seen = read_repository(tmp_path, tmp_path)
    assert (seen.origin, seen.branch) == (None, None)
    assert set(seen.texts) == {"Dockerfile"}


def test_a_large_file_and_more_files_than_a_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("systems.repository._MOST_SOURCES", 2)
    lay_out(tmp_path, {"Dockerfile": NODE, "a.js": "1", "b.js": "x" * 300_000, "c.js": "1", "d/e.js": "1"})
    assert set(read_repository(tmp_path, tmp_path).texts) == {"Dockerfile", "a.js"}


def test_a_folder_below_the_root_is_read_as_a_part_of_its_repository(tmp_path: Path) -> None:
    cloned(lay_out(tmp_path, MONOREPO))
    seen = read_repository(tmp_path / "apps/web", tmp_path)
    assert (seen.folder, "apps/api/Dockerfile" in seen.paths) == ("apps/web", True)


def test_an_example_is_read_where_it_is_asked_for(tmp_path: Path, environments: Path) -> None:
    cloned(lay_out(tmp_path, {"Dockerfile": NODE, "examples/a/Dockerfile": NODE, "examples/a/a.js": "'/livez'"}))
    assert commands.main(["init", "production", "--checkout", str(tmp_path / "examples/a")]) == 0
    settings = parse_settings("production", fill((environments / "production.toml").read_text()))
    assert (settings.image.dockerfile, settings.service.health_check_path) == ("examples/a/Dockerfile", "/livez")


def test_no_program_of_the_repository_s_own_configuration_is_started(tmp_path: Path) -> None:
    folder = cloned(lay_out(tmp_path / "shop", {"Dockerfile": NODE}))
    git(folder, "config", "core.fsmonitor", f"touch {tmp_path / 'started'}")
    assert read_repository(folder, tmp_path).paths == ("Dockerfile",)
    assert not (tmp_path / "started").exists()
