"""Probes of a release through a listener: answers in a row, each from the release expected."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

import pytest

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.errors import Permanent
from core.serving import Deployed
from core.settings import SmokeCheck
from core.smoke import Answer
from operation.operation import Operation
from systems import recognition
from systems.http import Endpoint
from systems.probes import endpoint_of
from tasks.probes import confirm_release
from tests.unit.adapters import probe_release
from tests.unit.facts import NAMED, release, settings_with, slot_of
from tests.unit.fakes import Block, FakeAws, refusal

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

    monkeypatch.setattr(recognition, "ask", ask)
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


# --- without a path at which the application names itself


GREEN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/team-shop-test-green:7"
UNNAMED = release("v1.1.0", version_path="", health_check_path="/up")


@pytest.fixture
def unnamed(operation: Operation, aws: FakeAws) -> Operation:
    """A release without such a path, all of whose targets in green are its own tasks."""
    operation.journal.change(lambda a: a.pinned(UNNAMED).started_as(slot_of(GREEN, "shop-test-green")))
    aws.ecs.serving["shop-test-green"] = [("10.0.0.1", GREEN), ("10.0.0.2", GREEN)]
    aws.elbv2.targets[Colour.GREEN] = [("10.0.0.1", "healthy"), ("10.0.0.2", "healthy")]
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    settings = settings_with('[traffic]\nconnect_to = ["127.0.0.1", "127.0.0.2"]\n')
    return replace(operation, block=cast(ReleaseEnvironment, Block(settings)))


def test_a_release_that_does_not_name_itself_is_proven_by_its_targets(
    unnamed: Operation, answers: list[Answer]
) -> None:
    answers.append(Answer(200, "up"))
    confirm_release.fn(unnamed)
    detail = unnamed.journal.steps[-1].detail
    assert detail.startswith("10 answers in a row from v1.1.0")
    assert detail.endswith(
        "the listener sends all to green, whose 2 healthy targets are tasks of team-shop-test-green:7; "
        "each address answered for 0.001 s"
    )


HANDS = {
    "a healthy target that no task is": lambda aws: aws.elbv2.targets[Colour.GREEN].append(("10.0.0.9", "healthy")),
    "a task of another definition": lambda aws: aws.ecs.serving["shop-test-green"].append(("10.0.0.9", f"{GREEN}1")),
    "another weight": lambda aws: setattr(aws.elbv2, "weights", Weights(blue=1, green=99)),
    "no healthy target": lambda aws: aws.elbv2.targets.update({Colour.GREEN: [("10.0.0.1", "unhealthy")]}),
    "AWS that throttles": lambda aws: aws.elbv2.broken.update(
        describe_target_health=lambda: refusal("ThrottlingException")
    ),
}


@pytest.mark.parametrize("hand", HANDS)
def test_what_could_be_another_release_is_refused_however_it_answers(
    unnamed: Operation, aws: FakeAws, answers: list[Answer], hand: str
) -> None:
    answers.append(Answer(200, "up"))
    HANDS[hand](aws)
    with pytest.raises(Permanent, match=r"does not serve v1\.1\.0"):
        confirm_release.fn(unnamed)


@pytest.mark.parametrize("came", [Answer(503), Answer(404), Answer(None, error="ConnectError: refused")])
def test_an_address_where_the_application_does_not_answer_is_refused(
    unnamed: Operation, answers: list[Answer], came: Answer
) -> None:
    answers.append(came)
    with pytest.raises(
        Permanent, match=r"expected 10 answers in a row from all requests to healthy tasks of team-shop"
    ):
        confirm_release.fn(unnamed)


def test_its_health_check_path_is_what_each_address_is_asked(
    unnamed: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(_: Endpoint, __: str, check: SmokeCheck) -> Answer:
        asked.append(check.path)
        return Answer(200)

    monkeypatch.setattr(recognition, "ask", ask)
    confirm_release.fn(unnamed)
    assert set(asked) == {"/up"}


@pytest.mark.parametrize(
    ("recorded", "configured", "recognised"),
    [
        pytest.param("/version", "", recognition.ByAnswer, id="as recorded, though the file has none now"),
        pytest.param("", NAMED, recognition.ByTargets, id="as recorded, though the file has one now"),
        pytest.param(None, NAMED, recognition.ByAnswer, id="an older record, as the file says"),
        pytest.param(None, "", recognition.ByTargets, id="an older record, as the file says not"),
    ],
)
def test_a_release_is_recognised_as_it_was_when_it_was_made(
    operation: Operation, recorded: str | None, configured: str, recognised: type
) -> None:
    settings = settings_with(f"[traffic]\nanswers = 1\n{configured or '# version_path'}")
    prober = replace(operation.prober, settings=settings)
    deployed = Deployed(release("v1.0.0", version_path=recorded), Colour.BLUE, "shop:1")
    assert type(prober.recognise(deployed, None)) is recognised
