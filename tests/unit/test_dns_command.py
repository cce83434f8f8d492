"""The operator's `dns`: forward only to a healthy live release in peace; back whenever the old stack answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.record import EnvironmentRecord
from core.settings import EnvironmentSettings
from lifecycle.dns import NameToMove, finish_name, move_name
from operation.operation import Operation
from tests.unit.facts import INFRASTRUCTURE, environment, lease_of, live, owner, settings_with
from tests.unit.fakes import Answer, FakeAws, FakeElbV2, operation_of
from tests.unit.hosted_zone import BLUE, NAME, OLD, FakeRoute53, alias, cname

ASKED = NameToMove("example.com", NAME)


@dataclass
class TwoBalancers(FakeElbV2):
    """Ours with its two colours, and the old one with one target group."""

    old: int = 1
    gone: set[str] = field(default_factory=set)

    def describe_load_balancers(self) -> Answer:
        both = {"ours": INFRASTRUCTURE.alb_dns_name, "old": OLD.dns_name}
        listed = [
            {"LoadBalancerName": name, "LoadBalancerArn": name, "DNSName": dns, "CanonicalHostedZoneId": "Z32O"}
            for name, dns in both.items()
            if name not in self.gone
        ]
        return self._do("describe_load_balancers", {}, lambda: {"LoadBalancers": listed})

    def describe_target_groups(self, **arguments: Any) -> Answer:
        if "LoadBalancerArn" not in arguments:
            return super().describe_target_groups(**arguments)
        if arguments["LoadBalancerArn"] == "old":
            return {"TargetGroups": [{"TargetGroupArn": "old"}]}
        return {"TargetGroups": [{"TargetGroupArn": arn} for arn in INFRASTRUCTURE.target_group_arns.values()]}

    def describe_target_health(self, *, TargetGroupArn: str) -> Answer:  # noqa: N803
        if TargetGroupArn != "old":
            return super().describe_target_health(TargetGroupArn=TargetGroupArn)
        return {"TargetHealthDescriptions": [{"TargetHealth": {"State": "healthy"}}] * self.old}


@dataclass
class Scene:
    operation: Operation
    aws: FakeAws
    route53: FakeRoute53
    elbv2: TwoBalancers

    def record(self, **facts: Any) -> None:
        def change(_: EnvironmentRecord) -> EnvironmentRecord:
            return environment(**{"live": live("v1.0.0"), "weights": BLUE, **facts})

        self.operation.records.change_environment(change)

    def shares(self) -> dict[str, int]:
        return {
            one["AliasTarget"]["DNSName"]: one["Weight"]
            for one in self.route53.sets
            if "Weight" in one and "AliasTarget" in one
        }


@pytest.fixture
def scene(aws: FakeAws, no_waiting: None, no_run_log: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    route53, elbv2 = FakeRoute53(sets=[alias(OLD)]), TwoBalancers()
    monkeypatch.setattr(aws, "elbv2", elbv2)
    monkeypatch.setattr(aws, "route53", route53, raising=False)
    monkeypatch.setattr("operation.operation.refuse_foreign_infrastructure", lambda *_: None)
    settings: EnvironmentSettings = settings_with()
    made = Scene(operation_of(aws, settings, owner(flow="dns")), aws, route53, elbv2)
    made.record()
    yield made
    made.operation.close()


def move(scene: Scene, weight: int, asked: NameToMove = ASKED) -> str:
    return move_name(scene.operation, asked, weight)


def test_a_name_goes_over_step_by_step_and_back(scene: Scene) -> None:
    for weight in (0, 10, 100, 0):
        message = move(scene, weight)
        assert f"{weight} of 100 answers lead to test" in message
        assert scene.shares() == {OLD.dns_name: 100 - weight, INFRASTRUCTURE.alb_dns_name: weight}


def test_the_same_again_writes_nothing(scene: Scene) -> None:
    move(scene, 10)
    before = scene.route53.count("change_resource_record_sets")

    assert "already" in move(scene, 10)
    assert scene.route53.count("change_resource_record_sets") == before


def test_it_takes_no_lease_and_writes_no_record(scene: Scene) -> None:
    writes = scene.aws.s3.count("put_object")

    move(scene, 10)

    assert scene.aws.s3.count("put_object") == writes


def test_no_more_comes_while_somebody_changes_the_environment_but_less_may(scene: Scene) -> None:
    move(scene, 50)
    scene.record(lease=lease_of(owner("other")))

    with pytest.raises(Refused, match="is held by release"):
        move(scene, 60)
    assert scene.shares()[INFRASTRUCTURE.alb_dns_name] == 50
    move(scene, 0)
    assert scene.shares()[INFRASTRUCTURE.alb_dns_name] == 0


def test_no_more_comes_to_an_unhealthy_release_but_less_may(scene: Scene) -> None:
    move(scene, 50)
    scene.elbv2.healthy[Colour.BLUE] = 0

    for weight in (51, 100):
        with pytest.raises(Refused, match="0 of 1 targets are healthy"):
            move(scene, weight)
    move(scene, 10)
    assert scene.shares()[INFRASTRUCTURE.alb_dns_name] == 10


def test_no_more_comes_while_the_listener_carries_something_else(scene: Scene) -> None:
    scene.elbv2.weights = Weights(blue=90, green=10)

    with pytest.raises(Refused, match="carries blue 90, green 10"):
        move(scene, 1)


def test_no_more_comes_before_anything_is_live(scene: Scene) -> None:
    scene.record(live=None)

    with pytest.raises(Refused, match="Nothing is live"):
        move(scene, 10)


def test_records_get_their_weights_before_anything_is_live(scene: Scene) -> None:
    scene.record(live=None)

    move(scene, 0)

    assert scene.shares() == {OLD.dns_name: 100, INFRASTRUCTURE.alb_dns_name: 0}


def test_nobody_is_sent_back_to_an_old_stack_that_does_not_answer(scene: Scene) -> None:
    move(scene, 50)
    scene.elbv2.old = 0

    with pytest.raises(Refused, match="old has no healthy target"):
        move(scene, 0)
    move(scene, 100)


def test_there_is_no_way_back_to_a_stack_that_is_destroyed(scene: Scene) -> None:
    move(scene, 100)
    scene.elbv2.gone.add("old")

    with pytest.raises(Refused, match="does not exist in this account"):
        move(scene, 0)


def test_one_plain_record_stays_at_the_end_even_once_the_old_stack_is_destroyed(scene: Scene) -> None:
    move(scene, 100)
    scene.elbv2.gone.add("old")

    assert "one record leads to test" in finish_name(scene.operation, ASKED)

    (left,) = scene.route53.sets
    assert (left["AliasTarget"]["DNSName"], "Weight" in left) == (INFRASTRUCTURE.alb_dns_name, False)
    assert "already" in finish_name(scene.operation, ASKED)


def test_nothing_is_finished_while_the_old_stack_still_has_a_share(scene: Scene) -> None:
    move(scene, 99)

    with pytest.raises(Refused, match="99 of 100"):
        finish_name(scene.operation, ASKED)


def test_the_old_one_must_be_named_once_the_name_leads_to_ours_alone(scene: Scene) -> None:
    move(scene, 100)
    finish_name(scene.operation, ASKED)

    with pytest.raises(Refused, match="--old"):
        move(scene, 0)
    move(scene, 0, NameToMove("example.com", NAME, OLD.dns_name))
    assert scene.shares()[OLD.dns_name] == 100


def test_a_cname_is_shared_out_as_well(scene: Scene) -> None:
    scene.route53.sets = [cname(OLD.dns_name)]

    assert "for 300 s" in move(scene, 10)

    weights = {one["ResourceRecords"][0]["Value"]: one["Weight"] for one in scene.route53.sets}
    assert weights == {OLD.dns_name: 90, INFRASTRUCTURE.alb_dns_name: 10}
