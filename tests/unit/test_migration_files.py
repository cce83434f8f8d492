"""The migrations of a checkout: read whole and only from inside it, refused by name where they are no migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Refused
from core.settings import Migration
from systems.migrations.prisma import read_migrations, repair_command, tool_of

WHERE = "prisma/migrations"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    for name in ("2_b", "1_a"):
        write(made, name, f"-- {name}\r\n".encode())
    (made / WHERE / "migration_lock.toml").touch()
    return made


def write(checkout: Path, name: str, content: bytes) -> Path:
    folder = checkout / WHERE / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "migration.sql").write_bytes(content)
    return folder / "migration.sql"


def test_migrations_are_read_in_order_and_to_the_last_byte(checkout: Path) -> None:
    found = read_migrations(checkout, WHERE)
    assert [(file.name, file.text) for file in found] == [("1_a", "-- 1_a\r\n"), ("2_b", "-- 2_b\r\n")]


def test_a_directory_without_migrations_has_none(tmp_path: Path) -> None:
    (tmp_path / WHERE).mkdir(parents=True)
    assert read_migrations(tmp_path, WHERE) == ()


def test_a_directory_that_does_not_exist_is_refused_with_what_to_set(checkout: Path) -> None:
    with pytest.raises(Refused, match="migration directory db/migrate does not exist") as refusal:
        read_migrations(checkout, "db/migrate")
    assert "migration.directory" in refusal.value.do
    assert "migration.enabled = false" in refusal.value.do


def test_a_file_in_place_of_the_directory_is_refused(checkout: Path) -> None:
    with pytest.raises(Refused, match="does not exist"):
        read_migrations(checkout, f"{WHERE}/migration_lock.toml")


@pytest.mark.parametrize("directory", ["../outside", "/outside", "link"])
def test_a_directory_outside_of_the_checkout_is_refused(checkout: Path, directory: str) -> None:
    outside = checkout.parent / "outside"
    (outside / "1_a").mkdir(parents=True)
    (outside / "1_a" / "migration.sql").touch()
    (checkout / "link").symlink_to(outside)
    with pytest.raises(Refused):
        read_migrations(checkout, directory.replace("/outside", str(outside)) if directory[0] == "/" else directory)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "../../../../outside.sql"])
def test_a_link_that_leaves_the_checkout_is_refused_unread(checkout: Path, target: str) -> None:
    (checkout.parent / "outside.sql").touch()
    path = write(checkout, "3_c", b"")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(Refused, match="3_c is not a file of the repository"):
        read_migrations(checkout, WHERE)


def test_a_folder_that_is_a_link_out_of_the_checkout_is_refused(checkout: Path) -> None:
    outside = checkout.parent / "outside"
    outside.mkdir()
    (outside / "migration.sql").touch()
    (checkout / WHERE / "3_c").symlink_to(outside)
    with pytest.raises(Refused, match="3_c is not a file of the repository"):
        read_migrations(checkout, WHERE)


@pytest.mark.parametrize("target", ["../nothing.sql", "migration.sql"], ids=["to nothing", "to itself"])
def test_a_link_to_nothing_is_refused_and_not_passed_over(checkout: Path, target: str) -> None:
    path = write(checkout, "3_c", b"")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(Refused, match="3_c is not a file of the repository"):
        read_migrations(checkout, WHERE)


def test_a_link_inside_the_checkout_is_followed(checkout: Path) -> None:
    path = write(checkout, "3_c", b"")
    path.unlink()
    path.symlink_to("../1_a/migration.sql")
    assert read_migrations(checkout, WHERE)[-1].text == "-- 1_a\r\n"


def test_a_folder_in_place_of_the_file_is_refused(checkout: Path) -> None:
    (checkout / WHERE / "3_c" / "migration.sql").mkdir(parents=True)
    with pytest.raises(Refused, match="3_c is not a file of the repository"):
        read_migrations(checkout, WHERE)


@pytest.mark.parametrize(("size", "refused"), [(1024 * 1024, False), (1024 * 1024 + 1, True)])
def test_a_file_of_more_than_a_mebibyte_is_refused(checkout: Path, size: int, refused: bool) -> None:
    write(checkout, "3_c", b" " * size)
    if not refused:
        assert len(read_migrations(checkout, WHERE)) == 3
        return
    with pytest.raises(Refused, match="3_c is larger than 1 MiB"):
        read_migrations(checkout, WHERE)


@pytest.mark.parametrize("name", ["a b", "x|y", "001 [approved](https://evil)", "n\nn", "ü", "x" * 201])
def test_a_name_that_could_be_more_than_a_name_is_refused(checkout: Path, name: str) -> None:
    write(checkout, name.replace("/", "_"), b"")
    with pytest.raises(Refused, match="has an invalid name") as refusal:
        read_migrations(checkout, WHERE)
    assert "\n" not in refusal.value.what


def test_what_is_not_utf_8_is_refused(checkout: Path) -> None:
    write(checkout, "3_c", "SELECT 'ü'".encode("latin-1"))
    with pytest.raises(Refused, match="3_c is not valid UTF-8"):
        read_migrations(checkout, WHERE)


@pytest.mark.parametrize(
    ("command", "tool", "options"),
    [
        (["npx", "--no-install", "prisma", "migrate", "deploy"], ["npx", "--no-install", "prisma"], []),
        (["prisma", "migrate", "deploy", "--schema", "db/s.prisma"], ["prisma"], ["--schema", "db/s.prisma"]),
        (
            ["node_modules/.bin/prisma", "migrate", "deploy", "--config=c.ts"],
            ["node_modules/.bin/prisma"],
            ["--config=c.ts"],
        ),
        (["pnpm", "exec", "prisma", "migrate", "deploy"], ["pnpm", "exec", "prisma"], []),
        (["npm", "run", "migrate"], ["npx", "--no-install", "prisma"], []),
        (["./migrate.sh"], ["npx", "--no-install", "prisma"], []),
        (["prisma migrate deploy && node seed.js"], ["npx", "--no-install", "prisma"], []),
        (["migrate", "up"], ["npx", "--no-install", "prisma"], []),
    ],
)
def test_prismas_cli_is_what_stands_before_migrate(command: list[str], tool: list[str], options: list[str]) -> None:
    assert tool_of(command) == (tool, options)


def test_the_command_that_repairs_names_environment_and_tool() -> None:
    said = repair_command("production", Migration(command=["prisma", "migrate", "deploy", "--schema", "s.prisma"]))
    assert said == "python -m flows run production -- prisma migrate resolve --schema s.prisma"
