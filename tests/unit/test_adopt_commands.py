"""`adopt` and `dns` as an operator types them: with an identity of one's own, and one thing to do with the name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.adoption import Adoption, Fate, Row
from core.errors import Refused
from flows import __main__ as commands
from lifecycle.dns import NameToMove

ON_NAME = ["dns", "production", "--zone", "example.com", "--name", "a.example.com"]


@pytest.fixture(autouse=True)
def server() -> Any:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        yield


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was opened, and as whom; nothing is."""
    seen: list[tuple[Any, ...]] = []

    def open_run(flow: str, environment: str, *, provisions: bool = False) -> str:
        seen.append((flow, environment, provisions))
        return "the operation"

    monkeypatch.setattr(commands, "open_run", open_run)
    return seen


@pytest.mark.parametrize("given", [[], ["--weight", "10", "--finish"]])
def test_a_name_is_either_weighed_or_finished(
    opened: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert commands.main([*ON_NAME, *given]) == 1
    assert "--weight or --finish" in capsys.readouterr().err
    assert opened == []


@pytest.mark.parametrize(
    ("given", "call"),
    [
        (["--weight", "0"], ("move", NameToMove("example.com", "a.example.com"), 0)),
        (["--weight", "7", "--old", "b"], ("move", NameToMove("example.com", "a.example.com", "b"), 7)),
        (["--finish"], ("finish", NameToMove("example.com", "a.example.com"))),
    ],
)
def test_a_name_is_moved_by_the_operators_own_identity(
    opened: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    call: tuple[Any, ...],
) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(commands, "move_name", lambda _, *given: made.append(("move", *given)) or "moved")
    monkeypatch.setattr(commands, "finish_name", lambda _, *given: made.append(("finish", *given)) or "finished")

    assert commands.main([*ON_NAME, *given]) == 0

    assert made == [call]
    assert opened == [("dns", "production", True)]
    assert capsys.readouterr().out in ("moved\n", "finished\n")


@pytest.mark.parametrize(("fate", "status"), [(Fate.BESIDE, 0), (Fate.OFF, 0), (Fate.IN_THE_WAY, 1)])
def test_what_is_in_the_way_is_the_exit_status(
    opened: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fate: Fate,
    status: int,
) -> None:
    adoption = Adoption((Row("role", "operator", fate, "why"),), "", ("Do it.",))
    monkeypatch.setattr(commands, "examine_stack", lambda _, checkout: adoption if checkout == Path("x") else None)

    assert commands.main(["adopt", "production", "--checkout", "x"]) == status

    assert opened == [("adopt", "production", True)]
    assert fate.value in capsys.readouterr().out


def test_a_refusal_is_one_message_and_no_traceback(
    opened: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> str:
        raise Refused("Nothing is live in production", do="Release first.")

    monkeypatch.setattr(commands, "move_name", refuse)

    assert commands.main([*ON_NAME, "--weight", "10"]) == 1
    assert capsys.readouterr().err == "Nothing is live in production. Release first.\n"
