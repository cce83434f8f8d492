"""Probes of a release through a listener: answers in a row, each from the release expected."""

from __future__ import annotations

import json

import pytest

from core.colour import Colour
from core.errors import Permanent
from core.smoke import Answer
from operation.operation import Operation
from systems import probes
from systems.http import Endpoint
from systems.probes import endpoint_of
from tests.unit.adapters import probe_release
from tests.unit.facts import release, settings_with

RELEASE = release("v1.1.0")
ENDPOINT = Endpoint("http", "shop.example.com", 80, connect_to=("127.0.0.1",))
RIGHT = Answer(200, json.dumps({"version": "v1.1.0", "revision": RELEASE.revision}))
OLD = Answer(200, json.dumps({"version": "v1.0.0", "revision": "000000000000"}))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """What the listener answers, in order; the last one for ever."""
    queue: list[Answer] = []

    def ask(*_: object) -> Answer:
        return queue.pop(0) if len(queue) > 1 else queue[0]

    monkeypatch.setattr(probes, "ask", ask)
    return queue


@pytest.mark.parametrize(
    ("came", "asked"),
    [([RIGHT], 10), ([OLD, RIGHT], 11), ([RIGHT] * 9 + [OLD, RIGHT], 20), ([Answer(502), RIGHT], 11)],
)
def test_only_answers_in_a_row_count(
    operation: Operation, answers: list[Answer], came: list[Answer], asked: int
) -> None:
    answers.extend(came)
    assert probe_release(operation, ENDPOINT, RELEASE, patience=5) == asked


@pytest.mark.parametrize(
    "came",
    [
        pytest.param(OLD, id="another release"),
        pytest.param(Answer(503, "down"), id="an error"),
        pytest.param(Answer(None, error="ConnectError: refused"), id="no answer"),
        pytest.param(Answer(200, "<html>"), id="no JSON"),
        pytest.param(Answer(200, "{}"), id="JSON without a version"),
        pytest.param(Answer(200, "[]"), id="JSON that is a list"),
        pytest.param(Answer(200, '"v1.1.0"'), id="JSON that is a string"),
        pytest.param(Answer(200, "null"), id="JSON that is nothing"),
    ],
)
def test_an_answer_from_elsewhere_is_told_with_what_was_expected(
    operation: Operation, answers: list[Answer], came: Answer
) -> None:
    answers.append(came)
    with pytest.raises(Permanent, match=r"does not serve v1\.1\.0") as failure:
        probe_release(operation, ENDPOINT, RELEASE, patience=0)
    assert f"expected 10 answers in a row from v1.1.0 ({RELEASE.revision})" in failure.value.why


@pytest.mark.parametrize(
    ("more", "colour", "address"),
    [
        ("", None, "http://alb.example.com:80"),
        ("", Colour.BLUE, "http://alb.example.com:8081"),
        ("", Colour.GREEN, "http://alb.example.com:8082"),
        (
            '[traffic]\nhttps = true\nhost = "shop.example.com"\n[ports]\nproduction = 443',
            None,
            "https://shop.example.com:443",
        ),
        ('[traffic]\nhttps = true\nhost = "shop.example.com"', Colour.GREEN, "http://alb.example.com:8082"),
    ],
)
def test_a_listener_is_reached_by_name_and_port(more: str, colour: Colour | None, address: str) -> None:
    assert str(endpoint_of(settings_with(more), "alb.example.com", colour)) == address


def test_a_name_that_does_not_resolve_needs_no_resolving_where_an_address_is_set() -> None:
    assert ENDPOINT.addresses().reachable == ("127.0.0.1",)
    assert Endpoint("http", "localhost", 80).addresses().reachable
