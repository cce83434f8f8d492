"""The form of the database's address, judged alike here and inside a task, and never repeated by either."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from core.preflight.secret import ADDRESS_FAULTS, address_in, faults_of_address, faults_of_secret, requires_tls
from core.settings import Migration
from systems.preflight_task import PreflightScript

GOOD = "postgresql://app:s3cret@db.example.com:5432/connections?schema=public"

ADDRESSES: list[tuple[str, list[str]]] = [
    (GOOD, []),
    ("postgres://app:s3cret@db.example.com:5432/connections", []),
    ("postgresql://app:p%40ss%2Fword@10.0.0.1:5432/connections?schema=public&sslmode=require", []),
    ("postgresql://app:s3cret@[fd00::1]:5432/connections", []),
    ("postgresql://app:a!$&'()*+,;=-._~b@db:1/c", []),
    (f" {GOOD}", ["blank"]),
    (f"{GOOD}\n", ["blank"]),
    (f'"{GOOD}"', ["blank"]),
    (GOOD.replace("postgresql", "mysql"), ["scheme"]),
    (GOOD.removeprefix("postgresql://"), ["scheme"]),
    ("postgresql://db.example.com:5432/connections", ["user", "password"]),
    ("postgresql://app@db.example.com:5432/connections", ["password"]),
    ("postgresql://:s3cret@db.example.com:5432/connections", ["user"]),
    ("postgresql://app:@db.example.com:5432/connections", ["password"]),
    ("postgresql://app:p@ss@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:p/ss@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:p?ss#@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:100%@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:p ss@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:pä@db.example.com:5432/connections", ["encoding"]),
    ("postgresql://app:s3cret@:5432/connections", ["host"]),
    ("postgresql://app:s3cret@db example:5432/connections", ["host"]),
    ("postgresql://app:s3cret@db.example.com/connections", ["port"]),
    ("postgresql://app:s3cret@db.example.com:0/connections", ["port"]),
    ("postgresql://app:s3cret@db.example.com:65536/connections", ["port"]),
    ("postgresql://app:s3cret@db.example.com:54x2/connections", ["port"]),
    ("postgresql://app:s3cret@db.example.com:5432", ["database"]),
    ("postgresql://app:s3cret@db.example.com:5432/?schema=public", ["database"]),
    ("postgresql://app:s3cret@db.example.com:5432/a/b", ["database"]),
    ("postgresql://app:s3cret@db.example.com:5432/connections?schema=", ["schema"]),
    ("postgresql://app:p^ss@:x/", ["encoding", "host", "port", "database"]),
]


@pytest.mark.parametrize(("address", "faults"), ADDRESSES)
def test_the_part_that_is_wrong_is_named(address: str, faults: list[str]) -> None:
    assert faults_of_address(address) == faults
    assert set(faults) <= set(ADDRESS_FAULTS)


def test_a_task_names_the_same_parts(tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "systems/preflight_task.js").read_text()
    begin = source.index("function faultsOfAddress")
    asked = source[begin : source.index("\n}\n", begin) + 3]
    script = tmp_path / "script.js"
    script.write_text(f"{asked}\nconsole.log(JSON.stringify(JSON.parse(process.argv[2]).map(faultsOfAddress)));")
    given = json.dumps([address for address, _ in ADDRESSES])
    done = subprocess.run(["node", script, given], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [faults for _, faults in ADDRESSES]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps({"URL": GOOD}), []),
        ("postgresql://x", ["it is not JSON"]),
        ('["URL"]', ["it is not a JSON object"]),
        ('{"url": "x"}', ["it has no key URL"]),
        ('{"URL": 5}', ["URL is not a text, or empty"]),
        ('{"URL": ""}', ["URL is not a text, or empty"]),
        (json.dumps({"URL": GOOD.replace("s3cret", "s3cr@t")}), [f"URL: {ADDRESS_FAULTS['encoding']}"]),
    ],
)
def test_a_secret_is_judged_without_a_word_of_it(content: str, says: list[str]) -> None:
    found = faults_of_secret(content, "URL", is_address=True)
    assert found == says
    assert "s3cr" not in " ".join(found)
    assert faults_of_secret('{"URL": "anything"}', "URL", is_address=False) == []


def test_the_address_is_found_under_its_key() -> None:
    assert address_in(json.dumps({"URL": GOOD}), "URL") == GOOD
    assert [address_in(content, "URL") for content in ("x", "[]", "{}", '{"URL": 1}')] == [None] * 4


@pytest.mark.parametrize(
    ("query", "required"),
    [("", False), ("?sslmode=prefer", False), ("?sslmode=require", True), ("?schema=a&sslmode=verify-full", True)],
)
def test_only_some_modes_require_tls(query: str, required: bool) -> None:
    assert requires_tls(f"postgresql://a:b@c:1/d{query}") is required


# ---- The task's script, run as it would be


def run_script(address: str | None, entry_point: list[str] | None = None) -> tuple[dict[str, Any], str]:
    """What the script says in a container without driver and tool, and everything that it printed."""
    settings = Migration(entry_point=entry_point or [], command=["nowhere-to-be-found-prisma", "migrate", "deploy"])
    script = PreflightScript(settings, ["DATABASE_URL", "OTHER"])
    variables = {**script.environment, "PATH": "/usr/bin:/bin:/usr/local/bin"}
    if address is not None:
        variables["DATABASE_URL"] = address
    done = subprocess.run(
        [*(entry_point or []), *script.command], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert script.ended(lines[-1])
    assert not any(script.ended(line) for line in lines[:-1])
    return script.facts(lines), done.stdout + done.stderr


def test_a_task_says_which_variables_have_a_value() -> None:
    facts, _ = run_script(None)
    assert facts == {"variables": {"DATABASE_URL": False, "OTHER": False}, "role": None, "end": 0}


def test_a_task_says_what_is_wrong_and_nothing_of_the_value() -> None:
    facts, printed = run_script("postgresql://app:s3cr@t@db.example.com/connections")
    assert facts["address"] == ["encoding", "port"]
    assert "reach" not in facts
    assert "s3cr" not in printed


@pytest.mark.parametrize("entry_point", [[], ["/bin/sh", "-c"]])
def test_a_task_says_how_far_it_came(entry_point: list[str]) -> None:
    assert run_script("postgresql://app:s3cret@nowhere.invalid:5432/db", entry_point)[0]["reach"] == "name"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        facts, printed = run_script(f"postgresql://app:s3cret@127.0.0.1:{closed.getsockname()[1]}/db", entry_point)
    assert facts["reach"] == "port"
    assert "s3cret" not in printed


def test_a_server_without_tls_is_left_alone_where_the_address_requires_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(8) == bytes([0, 0, 0, 8, 4, 210, 22, 47])
                connection.sendall(b"N")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        facts, _ = run_script(f"postgresql://app:s3cret@127.0.0.1:{server.getsockname()[1]}/db?sslmode=require")
        thread.join(10)
    assert (facts["reach"], facts["tls"]) == ("tls", True)
