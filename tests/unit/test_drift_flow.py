"""`drift` as a flow: what it looks at while who is at work, how it ends, and what it publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State

import flows.drift
import tasks.drift
from core.colour import Colour, Weights
from core.drift import ACCOUNT, CANNOT_TELL, ENVIRONMENT, SLOTS, TRAFFIC, Difference, Report
from core.errors import Permanent, PointsmanError
from core.record import EnvironmentRecord
from flows.drift import compare_with_aws
from operation.operation import Operation
from tasks.drift import EVENT, Look, name_hands, publish
from tests.unit.facts import NOON, environment, lease_of, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, refusal
from tests.unit.test_cloudtrail import FakeTrail, event

OPENED = Difference(ENVIRONMENT, "aws_security_group.tasks", "ingress", "nothing", "tcp 22", ("sg-1",), "ec2")
AREAS = [ACCOUNT, ENVIRONMENT, SLOTS[Colour.BLUE], SLOTS[Colour.GREEN], TRAFFIC]


@dataclass
class Stage:
    """A `drift` whose looks are given, and what came of it."""

    operation: Operation
    looked: list[str] = field(default_factory=list)
    given: dict[str, Look | PointsmanError] = field(default_factory=dict)
    during: Callable[[], object] = lambda: None
    published: list[Report] = field(default_factory=list)

    def look(self, area: str) -> Look:
        self.looked.append(area)
        if area == TRAFFIC:
            self.during()
        found = self.given.get(area, Look(area))
        if isinstance(found, PointsmanError):
            raise found
        return found

    def record(self, **facts: Any) -> None:
        written = environment(live=live("v1.0.0"), weights=Weights.all_on(Colour.BLUE), **facts)
        self.operation.records.change_environment(lambda _record: written)

    def run(self) -> State[None]:
        ended = compare_with_aws(self.operation)
        assert isinstance(ended, State)
        return ended


@pytest.fixture
def stage(aws: FakeAws, no_waiting: None, no_run_log: None, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(operation_of(aws, settings_with(), owner("look", flow="drift")))
    monkeypatch.setattr(flows.drift, "compare_account", lambda _reader: made.look(ACCOUNT))
    monkeypatch.setattr(flows.drift, "compare_environment", lambda _reader, _record, _account: made.look(ENVIRONMENT))
    monkeypatch.setattr(flows.drift, "compare_slot", lambda _reader, _record, colour: made.look(SLOTS[colour]))
    monkeypatch.setattr(flows.drift, "compare_traffic", lambda _reader, _record, _known: made.look(TRAFFIC))
    monkeypatch.setattr(flows.drift, "name_hands", lambda _reader, _looks: {OPENED: "ada"})
    monkeypatch.setattr(flows.drift, "publish", lambda _operation, report: made.published.append(report))
    made.record()
    return made


def test_everything_is_looked_at_and_nothing_is_written(stage: Stage, aws: FakeAws) -> None:
    puts = aws.s3.count("put_object")
    ended = stage.run()
    assert stage.looked == AREAS
    assert (ended.type.value, ended.name) == ("COMPLETED", "Completed")
    assert aws.s3.count("put_object") == puts
    assert stage.operation.records.environment().lease is None


def test_a_difference_ends_red_under_a_name_of_its_own(stage: Stage) -> None:
    stage.given[ENVIRONMENT] = Look(ENVIRONMENT, (OPENED,))
    ended = stage.run()
    assert (ended.type.value, ended.name) == ("FAILED", "Drift")
    assert "tcp 22 (ada)" in str(ended.message)
    assert stage.published[0].differences == (OPENED,)


def test_what_could_not_be_looked_at_is_not_called_free_of_drift(stage: Stage) -> None:
    stage.given[ACCOUNT] = Permanent("terraform plan failed", why="not authorized to perform: iam:GetRole")
    ended = stage.run()
    assert stage.looked == AREAS, "the others are looked at all the same"
    assert (ended.type.value, ended.name) == ("COMPLETED", "Incomplete")
    assert stage.published[0].unseen == {ACCOUNT: "terraform plan failed: the role lacks iam:GetRole"}
    stage.given[ENVIRONMENT] = Look(ENVIRONMENT, (OPENED,))
    assert stage.run().name == "Drift"


@pytest.mark.parametrize(
    ("flow", "looked"),
    [("release", [ACCOUNT, ENVIRONMENT]), ("retire", [ACCOUNT, ENVIRONMENT]), ("provision", []), ("destroy", [])],
)
def test_what_is_being_written_is_left_to_the_next_run(stage: Stage, flow: str, looked: list[str]) -> None:
    stage.record(lease=lease_of(owner(flow=flow)))
    ended = stage.run()
    assert stage.looked == looked
    assert ended.name == "Incomplete"
    assert set(stage.published[0].unseen) == set(AREAS) - set(looked)
    assert all("is at work" in why for why in stage.published[0].unseen.values())


def test_what_was_looked_at_while_a_release_began_is_thrown_away(stage: Stage) -> None:
    difference = Difference(TRAFFIC, "production listener", "weights", "blue 100, green 0", "blue 50, green 50")
    stage.given[TRAFFIC] = Look(TRAFFIC, (difference,))
    stage.during = lambda: stage.record(lease=lease_of(owner()), fencing_token=1)
    ended = stage.run()
    assert ended.name == "Incomplete"
    report = stage.published[0]
    assert report.differences == ()
    assert report.unseen[TRAFFIC] == "release v1.1.0 (at starting) began meanwhile"
    assert ACCOUNT not in report.unseen


def test_before_provision_there_is_nothing_to_compare(stage: Stage) -> None:
    stage.operation.records.change_environment(lambda _record: EnvironmentRecord(environment="test"))
    assert compare_with_aws(stage.operation) == "test has no infrastructure yet, so there is nothing to compare."
    assert stage.looked == []
    assert stage.published == []


# ---- hands


def test_each_difference_gets_its_hand(stage: Stage) -> None:
    fake = FakeTrail(event("AuthorizeSecurityGroupIngress", "sg-1", minutes=1))
    other = Difference(ENVIRONMENT, "aws_subnet.a", "tags.X", "1", "2", ("subnet-1",), "ec2")
    object.__setattr__(stage.operation, "aws", fake)
    hands = name_hands(stage.operation, [Look(ENVIRONMENT, (OPENED, other), written_at=NOON)])
    assert hands[OPENED].startswith("arn:aws:iam::1:user/ada, AuthorizeSecurityGroupIngress, 2026-03-01 12:01")
    assert hands[other] == CANNOT_TELL


def test_what_came_before_the_last_apply_is_nobody_s(stage: Stage) -> None:
    object.__setattr__(stage.operation, "aws", FakeTrail(event("Authorize", "sg-1", minutes=1)))
    late = Look(ENVIRONMENT, (OPENED,), written_at=NOON + timedelta(minutes=2))
    assert name_hands(stage.operation, [late]) == {OPENED: CANNOT_TELL}


def test_where_it_may_not_ask_it_says_so_and_asks_no_more(stage: Stage) -> None:
    fake = FakeTrail()
    fake.error = refusal("AccessDeniedException")
    object.__setattr__(stage.operation, "aws", fake)
    other = Difference(ENVIRONMENT, "aws_subnet.a", "tags.X", "1", "2", ("subnet-1",), "ec2")
    hands = name_hands(stage.operation, [Look(ENVIRONMENT, (OPENED, other))])
    assert len(fake.asked) == 1
    assert all(hand.startswith(f"{CANNOT_TELL}: AccessDeniedException") for hand in hands.values())


# ---- what is published


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(tasks.drift, "create_markdown_artifact", lambda **artifact: kept.update(artifact=artifact))
    monkeypatch.setattr(tasks.drift, "emit_event", lambda **event: kept.update(event=event))
    return kept


def test_an_event_and_an_artifact_tell_a_difference(stage: Stage, told: dict[str, Any]) -> None:
    report = Report("test", (OPENED,), {OPENED: "ada"}, unseen={ACCOUNT: "why"})
    publish(stage.operation, report)
    assert told["artifact"]["key"] == "drift-test"
    assert told["artifact"]["markdown"] == report.markdown
    assert told["event"]["event"] == EVENT
    assert told["event"]["resource"]["prefect.resource.id"] == "pointsman.environment.test"
    assert told["event"]["payload"] == {
        "environment": "test",
        "message": report.message,
        "differences": [str(OPENED)],
        "hands": ["ada"],
        "not_looked_at": {ACCOUNT: "why"},
    }


def test_without_a_difference_there_is_no_event(stage: Stage, told: dict[str, Any]) -> None:
    publish(stage.operation, Report("test", ()))
    assert "event" not in told
    assert told["artifact"]["key"] == "drift-test"
