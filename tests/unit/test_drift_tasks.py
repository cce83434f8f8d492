"""The looks of `drift`: what is read of listeners and services, twice where it differs, and what is not read."""

from __future__ import annotations

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.foreign import Definition
from operation.operation import Operation, open_account
from tasks.drift import compare_account, compare_slot, compare_traffic
from tests.unit.facts import definition_of, environment, lease_of, live, owner, release, settings_with, slot_of
from tests.unit.fakes import FakeAws, operation_of, refusal

BLUE_1, BLUE_9 = "shop-test-blue:1", "shop-test-blue:9"
LIVE = live("v1.0.0").model_copy(update={"slot": slot_of(BLUE_1)})
RECORD = environment(live=LIVE, weights=Weights.all_on(Colour.BLUE))


@pytest.fixture
def reader(aws: FakeAws, no_waiting: None, no_run_log: None) -> Operation:
    made = operation_of(aws, settings_with(), owner("look", flow="drift"))
    made.records.change_environment(lambda _record: RECORD)
    aws.ecs.uses = {"shop-test-blue": BLUE_1}
    return made


def told(reader: Operation, known: frozenset[str] | None = None) -> list[tuple[str, str, str]]:
    found = compare_traffic(reader, reader.records.environment(), known)
    return [(d.address, d.attribute, d.found) for d in found.differences]


def test_as_it_was_left(reader: Operation) -> None:
    assert told(reader) == []


def test_weights_rules_and_listeners_of_nobody(reader: Operation, aws: FakeAws) -> None:
    aws.elbv2.weights = Weights(blue=50, green=50)
    aws.elbv2.listeners = {"arn:foreign": 9000}
    aws.elbv2.rules = [{"Priority": "5", "Actions": [{"Type": "redirect"}]}]
    assert told(reader, frozenset({aws.elbv2.infrastructure.production_listener_arn})) == [
        ("production listener on port 80", "weights", "blue 50, green 50"),
        ("listener on port 80", "rule", "priority 5: any request → redirect"),
        ("listener on port 9000", "", "a listener that Terraform did not make"),
        ("listener on port 9000", "rule", "priority 5: any request → redirect"),
    ]


def test_what_differs_is_looked_at_twice(reader: Operation, aws: FakeAws) -> None:
    aws.elbv2.stale = [Weights.all_on(Colour.GREEN)] * 2
    assert told(reader) == [], "a read of AWS may lag"
    assert aws.elbv2.stale == []


def test_a_foreign_definition_and_another_image(reader: Operation, aws: FakeAws) -> None:
    aws.ecs.definitions[BLUE_9] = definition_of(release("v9.0.0"))
    aws.ecs.uses = {"shop-test-blue": BLUE_9}
    assert told(reader) == [("blue service", "task definition", str(Definition(BLUE_9)))]
    aws.ecs.uses = {"shop-test-blue": BLUE_1}
    aws.ecs.definitions[BLUE_1] = definition_of(release("v1.0.0", digest="sha256:" + "9" * 64))
    assert [(address, attribute) for address, attribute, _ in told(reader)] == [("blue service", "image")]


def test_tasks_where_nothing_is_released(reader: Operation, aws: FakeAws) -> None:
    aws.ecs.desired["shop-test-green"] = 2
    assert told(reader) == [("green service", "desired count", "2")]


def test_a_slot_of_which_there_is_no_state_was_never_released_into(
    reader: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def head_object(**_: object) -> None:
        raise refusal("404", 404, "HeadObject")

    monkeypatch.setattr(aws.s3, "head_object", head_object, raising=False)
    assert compare_slot(reader, RECORD, Colour.GREEN).differences == ()


def test_the_account_is_not_compared_while_it_is_provisioned(reader: Operation) -> None:
    held = lease_of(owner(flow="provision"), version=None)
    open_account(reader).records.change_environment(lambda r: r.leased(held))
    with pytest.raises(Refused, match="account is held by provision"):
        compare_account(reader)
