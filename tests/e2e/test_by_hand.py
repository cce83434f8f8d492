"""The commands of docs/by-hand.md, as they stand there, in the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.environment import PROJECT
from sandbox.operator import Operator

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("something_live")]

BLOCK = re.compile(r"^## (?P<title>[^\n]+)\n|^<!-- sandbox -->\n```sh\n(?P<commands>.*?)```", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """The blocks that the sandbox can run, each with its section."""
    found, title = [], ""
    for match in BLOCK.finditer((PROJECT / "docs/by-hand.md").read_text()):
        if match["commands"] is None:
            title = match["title"]
        else:
            found.append((title, match["commands"]))
    return found


EXPECTED = {
    "An image": "ok",
    "A specific tag": "Completed",
    "Migrations": "up to date",
    "psql": "applied ",
    "Utilities": "live",
}


def test_all_that_can_be_run_is() -> None:
    assert [title for title, _ in blocks()] == list(EXPECTED)


@pytest.mark.parametrize(("title", "commands"), blocks(), ids=lambda value: value if "\n" not in value else "")
def test_what_is_written_works(operator: Operator, tmp_path: Path, title: str, commands: str) -> None:
    given = operator.sandbox.environment()
    source = (operator.sandbox.settings.directories.home / "git/connections.git").resolve()
    environment = {
        **os.environ,
        **given,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:{os.environ['PATH']}",  # Debian's docker needs no plugin
        "PYTHONPATH": str(PROJECT),
        "TAG": operator.live,
        "SOURCE": str(source),
        "BASE_IMAGE": "pointsman/node:sandbox",
        "DATABASE_URL": given["POINTSMAN_SANDBOX_DATABASE_URL"],
    }
    script = "set -euo pipefail\n" + commands.replace("production", "sandbox")
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        if title == "An image":
            subprocess.run(["docker", "rm", "--force", "connections-by-hand"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert EXPECTED[title] in done.stdout + done.stderr
