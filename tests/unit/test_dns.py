"""One name between two load balancers: what its records mean, the one batch that shares it out, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.colour import Colour, Weights
from core.dns import (
    LiveSide,
    Move,
    NameState,
    plan_finish,
    plan_move,
    read_name,
    refuse_nothing_live,
    refuse_unready,
    same_host,
)
from core.errors import Permanent, Refused, UnknownOutcome
from emulator.route53 import fault_of
from systems.route53 import HostedZone, find_zone
from tests.unit.facts import FROZEN, environment, lease_of, live, owner
from tests.unit.fakes import Answer, Fault, closed, lost, refusal
from tests.unit.hosted_zone import BLUE, NAME, OLD, OURS, TIMING, FakeRoute53, alias, cname


def state_of(*sets: Answer, old: str | None = None) -> NameState:
    return read_name(NAME, sets, OURS, old)


def written(sets: Iterable[Mapping[str, Any]], move: Move) -> list[Mapping[str, Any]]:
    """What Route 53 makes of a batch, or its refusal."""
    left = list(sets)
    for change in move.changes:
        one = change["ResourceRecordSet"]
        left = [s for s in left if (s["Type"], s.get("SetIdentifier")) != (one["Type"], one.get("SetIdentifier"))]
        if change["Action"] == "UPSERT":
            left.append(one)
    fault = fault_of("example.com.", left)
    assert fault is None, fault
    return left


@pytest.mark.parametrize(
    ("sets", "ours", "ttl"),
    [
        pytest.param([alias(OLD)], 0, 60, id="an alias to the old one"),
        pytest.param([alias(OURS)], 100, 60, id="an alias to ours"),
        pytest.param([cname(OLD.dns_name)], 0, 300, id="a CNAME to the old one"),
        pytest.param([cname(OURS.dns_name.upper() + ".", 60)], 100, 60, id="a CNAME to ours, otherwise written"),
        pytest.param([alias(OLD, 90), alias(OURS, 10)], 10, 60, id="a tenth"),
        pytest.param([alias(OLD, 0), alias(OURS, 255)], 100, 60, id="weights of somebody else's scale"),
        pytest.param([alias(OLD, 0), alias(OURS, 0)], 50, 60, id="all weights 0 are all alike"),
        pytest.param(
            [alias(OURS), {"Name": f"{NAME}.", "Type": "TXT", "TTL": 5, "ResourceRecords": []}], 100, 60, id="a text"
        ),
    ],
)
def test_what_a_name_does_is_read_from_its_records(sets: list[Answer], ours: int, ttl: int) -> None:
    state = state_of(*sets)

    assert (state.ours, state.ttl) == (ours, ttl)


@pytest.mark.parametrize(
    ("sets", "old", "named"),
    [
        ([], None, "has no record"),
        ([alias(OLD, Failover="PRIMARY")], None, "routed by Failover"),
        ([alias(OLD, 1, HealthCheckId="abc")], None, "routed by HealthCheckId"),
        ([alias(OLD, 1, Region="eu-west-1")], None, "routed by Region"),
        ([alias(OLD), alias(OLD, type_="AAAA")], None, "AAAA"),
        ([{"Name": NAME, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}], None, r"192\.0\.2\.1"),
        ([cname("elsewhere.example.net")], OLD.dns_name, "points at elsewhere"),
        ([alias(OLD, 1), cname("x.example.net", SetIdentifier="x", Weight=1)], OLD.dns_name, "points at x"),
    ],
)
def test_a_name_that_is_not_shared_between_the_two_is_refused(sets: list[Answer], old: str | None, named: str) -> None:
    with pytest.raises(Refused, match=named):
        state_of(*sets, old=old)


@pytest.mark.parametrize("first", [alias(OLD), alias(OLD, evaluates=True), cname(OLD.dns_name), alias(OURS)])
def test_the_whole_way_over_and_back_is_valid_at_each_step(first: Answer) -> None:
    sets: list[Mapping[str, Any]] = [first]
    for weight in (0, 10, 50, 100, 50, 0, 100):
        move = plan_move(state_of(*sets), OURS, OLD, weight)
        sets = written(sets, move)
        assert move.is_seen(sets)
        assert state_of(*sets).ours == weight
        assert sum(one["Weight"] for one in sets) == 100
    sets = written(sets, plan_finish(state_of(*sets), OURS))
    (left,) = sets
    assert "Weight" not in left
    assert state_of(left).ours == 100


@given(st.lists(st.integers(0, 100), min_size=2, max_size=6))
def test_what_is_written_is_what_was_asked_from_wherever(weights: list[int]) -> None:
    sets: list[Mapping[str, Any]] = [alias(OLD)]
    for weight in weights:
        sets = written(sets, plan_move(state_of(*sets), OURS, OLD, weight))
        assert state_of(*sets).ours == weight


def test_what_is_so_already_is_not_written_again() -> None:
    move = plan_move(state_of(alias(OLD, 90), alias(OURS, 10)), OURS, OLD, 10)

    assert move.changes == ()


def test_route_53_does_not_judge_the_health_of_either() -> None:
    move = plan_move(state_of(alias(OLD, evaluates=True)), OURS, OLD, 10)

    assert [one["AliasTarget"]["EvaluateTargetHealth"] for one in move.wanted] == [False, False]


def test_identifiers_of_before_are_kept() -> None:
    theirs = {**alias(OLD, 100), "SetIdentifier": "blue stack"}
    move = plan_move(state_of(theirs), OURS, OLD, 10)

    assert [one["SetIdentifier"] for one in move.wanted] == ["blue stack", "pointsman-test"]


def test_a_long_time_to_live_is_shortened_with_the_first_change() -> None:
    assert [one["TTL"] for one in plan_move(state_of(cname(OLD.dns_name, 3600)), OURS, OLD, 0).wanted] == [60, 60]
    assert [one["TTL"] for one in plan_move(state_of(cname(OLD.dns_name, 20)), OURS, OLD, 0).wanted] == [20, 20]


@pytest.mark.parametrize("weight", [-1, 101])
def test_a_weight_is_a_percentage(weight: int) -> None:
    with pytest.raises(Refused, match="not from 0 to 100"):
        plan_move(state_of(alias(OLD)), OURS, OLD, weight)


def test_nothing_is_finished_before_ours_has_all() -> None:
    with pytest.raises(Refused, match="90 of 100"):
        plan_finish(state_of(alias(OLD, 10), alias(OURS, 90)), OURS)


def test_the_old_one_is_told_by_the_records_where_there_is_one() -> None:
    assert state_of(alias(OLD)).other_than(OURS) == OLD.dns_name
    assert state_of(alias(OLD, 1), alias(OURS, 1)).other_than(OURS) == OLD.dns_name
    assert state_of(alias(OURS)).other_than(OURS) is None


def test_a_name_is_the_same_however_it_is_written() -> None:
    assert same_host("DUALSTACK.a.example.com.".lower(), "A.example.com")
    assert not same_host("a.example.com", "b.example.com")


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"live": live("v1.0.0"), "lease": lease_of(owner())}, "is held by release v1.1.0"),
        ({"live": live("v1.0.0"), "lease": lease_of(owner(flow="rollback"), version=None)}, "held by rollback"),
        ({"live": live("v1.0.0"), "frozen": FROZEN}, "is frozen"),
        ({}, "Nothing is live"),
    ],
)
def test_a_name_leads_to_no_environment_that_changes_or_has_nothing(facts: Answer, named: str) -> None:
    with pytest.raises(Refused, match=named):
        refuse_nothing_live(environment(**facts))


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (LiveSide(Weights(blue=50, green=50), 2, 2, True), "carries blue 50, green 50"),
        (LiveSide(Weights.all_on(Colour.GREEN), 2, 2, True), "carries blue 0, green 100"),
        (LiveSide(BLUE, 2, 2, False), "a task definition that the record does not know"),
        (LiveSide(BLUE, 2, 1, True), "1 of 2 targets are healthy"),
        (LiveSide(BLUE, 0, 0, True), "0 of 0 targets are healthy"),
    ],
)
def test_a_name_leads_only_to_a_live_release_that_can_take_it(seen: LiveSide, named: str) -> None:
    with pytest.raises(Refused, match=named):
        refuse_unready(environment(live=live("v1.0.0")), seen)


def test_a_healthy_live_release_may_have_the_name() -> None:
    record = environment(live=live("v1.0.0"))
    refuse_nothing_live(record)
    refuse_unready(record, LiveSide(BLUE, 2, 2, True))


# --- the adapter


def zone_of(route53: FakeRoute53) -> HostedZone:
    return HostedZone(route53, "Z1", "example.com.", TIMING)


def a_tenth(route53: FakeRoute53) -> Move:
    return plan_move(state_of(*zone_of(route53).records(f"{NAME}.")), OURS, OLD, 10)


@pytest.fixture
def route53() -> FakeRoute53:
    other = {"Name": "a.example.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    return FakeRoute53(sets=[alias(OLD), other, {**other, "Name": "zzz.example.com."}])


def test_a_change_is_waited_for_until_all_servers_have_it(route53: FakeRoute53) -> None:
    route53.pending = 3

    zone_of(route53).change(a_tenth(route53), "why")

    assert route53.count("get_change") == 4
    assert state_of(*zone_of(route53).records(f"{NAME}.")).ours == 10


@pytest.mark.parametrize("error", [lost, closed])
def test_a_change_whose_answer_is_lost_is_seen_and_waited_for(route53: FakeRoute53, error: Any) -> None:
    route53.fail("change_resource_record_sets", Fault(error(), lands=True))

    zone_of(route53).change(a_tenth(route53), "why")

    batches = [
        arguments["batch"]["Changes"] for call, arguments in route53.calls if call == "change_resource_record_sets"
    ]
    assert [[change["Action"] for change in batch] for batch in batches] == [
        ["DELETE", "UPSERT", "UPSERT"],
        ["UPSERT"] * 2,
    ]
    assert route53.count("get_change") == 2


def test_a_change_that_did_not_arrive_is_made_again(route53: FakeRoute53) -> None:
    route53.fail("change_resource_record_sets", Fault(lost()), Fault(refusal("PriorRequestNotComplete")))

    zone_of(route53).change(a_tenth(route53), "why")

    assert state_of(*zone_of(route53).records(f"{NAME}.")).ours == 10


def test_a_change_that_is_never_seen_is_an_unknown_outcome(route53: FakeRoute53) -> None:
    route53.broken["change_resource_record_sets"] = lost

    with pytest.raises(UnknownOutcome, match="may or may not have changed"):
        zone_of(route53).change(a_tenth(route53), "why")


def test_a_record_that_somebody_changed_meanwhile_is_not_overwritten(route53: FakeRoute53) -> None:
    move = a_tenth(route53)
    route53.sets[0] = alias(OURS)

    with pytest.raises(Permanent, match="InvalidChangeBatch"):
        zone_of(route53).change(move, "why")
    assert alias(OURS) in route53.sets


def test_only_the_names_own_records_are_read_across_pages(route53: FakeRoute53) -> None:
    route53.page = 1

    assert zone_of(route53).records(f"{NAME}.") == [alias(OLD)]


@pytest.mark.parametrize("named", ["example.com", "example.com.", "Z1"])
def test_a_zone_is_found_by_name_or_id(route53: FakeRoute53, named: str) -> None:
    assert find_zone(route53, named, TIMING).id == "Z1"


def test_a_zone_that_is_missing_or_ambiguous_is_refused(route53: FakeRoute53) -> None:
    with pytest.raises(Refused, match=r"no hosted zone example\.org"):
        find_zone(route53, "example.org", TIMING)
    route53.zones["Z2"] = "example.com."
    with pytest.raises(Refused, match="more than one"):
        find_zone(route53, "example.com", TIMING)
