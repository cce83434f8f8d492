"""What counts as drift, whose hand it was, and what is told of it: tables over `core.drift*`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.drift import (
    ACCOUNT,
    CANNOT_TELL,
    ENVIRONMENT,
    SLOTS,
    TRAFFIC,
    Difference,
    Hand,
    Report,
    Scope,
    TrailEvent,
    began_meanwhile,
    hand_of,
    scope_of,
    why_unseen,
)
from core.drift_plan import listed_listeners, plan_differences, plan_pending
from core.drift_traffic import SeenService, TrafficSeen, traffic_differences
from core.errors import Permanent
from core.foreign import Definition
from core.health_check import HealthCheck
from core.listener import ListenerView, SeenListener, describe_rules
from core.record import EnvironmentRecord
from tests.unit.facts import (
    DIGEST,
    NOON,
    REPOSITORY,
    environment,
    lease_of,
    live,
    owner,
    settings_with,
    slot_of,
)

BLUE, GREEN = Colour.BLUE, Colour.GREEN
ROLE = "arn:aws:iam::123456789012:role/team-shop-test-pipeline"


# ---- Terraform


def drifted(address: str, before: dict[str, Any] | None, after: dict[str, Any] | None, **marks: Any) -> dict[str, Any]:
    actions = ["delete"] if after is None else ["update"]
    change = {"actions": actions, "before": before, "after": after, **marks}
    return {"address": address, "mode": "managed", "type": address.partition(".")[0], "change": change}


def now(address: str, **values: Any) -> dict[str, Any]:
    return {"address": address, "mode": "managed", "type": address.partition(".")[0], "values": values}


def plan(*drift: dict[str, Any], state: tuple[dict[str, Any], ...] = (), changes: Any = ()) -> dict[str, Any]:
    prior = {"values": {"root_module": {"resources": list(state)}}}
    return {"resource_drift": list(drift), "resource_changes": list(changes), "prior_state": prior}


def told(plan: dict[str, Any], area: str = ENVIRONMENT, live: Colour | None = None) -> list[tuple[str, str, str, str]]:
    return [(d.address, d.attribute, d.recorded, d.found) for d in plan_differences(area, plan, live)]


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


READ = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}


@pytest.mark.parametrize(
    ("address", "before", "after", "differs"),
    [
        ("aws_cloudwatch_log_group.tasks", {"retention_in_days": 365}, {"retention_in_days": 1}, "retention_in_days"),
        ("aws_subnet.private", {"tags": {}, "tags_all": {"A": "1"}}, {"tags_all": {"A": "2"}}, "tags.A"),
        ("aws_lb_listener.test", {"default_action": [{"type": "forward"}]}, {"default_action": [{"type": "x"}]},
         "default_action[0].type"),
        ("aws_lb_target_group.colour", {"health_check": [{"interval": 15, "path": "/"}]},
         {"health_check": [{"interval": 77, "path": "/"}]}, "health_check[0].interval"),
        ("aws_iam_role_policy.execution", {"policy": policy(READ)},
         {"policy": policy({**READ, "Action": "*"})}, "policy.Statement[0].Action"),
        ("aws_iam_role_policy.execution", {"policy": policy(READ)}, {"policy": policy(READ, {**READ, "Action": "*"})},
         "policy.Statement"),
        ("aws_iam_role.task", {"permissions_boundary": ROLE}, {"permissions_boundary": None}, "permissions_boundary"),
        ("aws_ecs_service.slot", {"enable_execute_command": False}, {"enable_execute_command": True},
         "enable_execute_command"),
        ("aws_lb_listener.redirect", {"port": 80}, {"port": 81}, "port"),
    ],
)  # fmt: skip
def test_what_changed_since_the_apply_is_named_by_its_smallest_part(
    address: str, before: dict[str, Any], after: dict[str, Any], differs: str
) -> None:
    assert [(a, attribute) for a, attribute, _, _ in told(plan(drifted(address, before, after)))] == [
        (address, differs)
    ]


def test_what_is_gone_is_missing_as_a_whole() -> None:
    gone = plan(drifted("aws_route.nat", {"route_table_id": "rtb-1"}, None))
    assert told(gone) == [("aws_route.nat", "", "exists", "missing")]
    [difference] = plan_differences(ENVIRONMENT, gone)
    assert (difference.names, difference.service) == (("rtb-1",), "ec2")


@pytest.mark.parametrize(
    ("address", "before", "after"),
    [
        ("aws_lb_listener.http_forward[0]", {"default_action": [{"weight": 100}]}, {"default_action": [{"weight": 0}]}),
        ("aws_lb_listener.https[0]", {"default_action": [{"weight": 100}]}, {"default_action": [{"weight": 0}]}),
        ("aws_ecs_service.slot", {"desired_count": 0}, {"desired_count": 3}),
        ("aws_lb_target_group.colour", {"health_check": [{"path": "/"}]}, {"health_check": [{"path": "/healthz"}]}),
        ("aws_lb_target_group.colour", {"health_check": [{"matcher": "200"}]}, {"health_check": [{"matcher": "204"}]}),
        ("aws_lb_target_group.colour", {"load_balancer_arns": []}, {"load_balancer_arns": ["arn:1"]}),
        ("aws_eip.nat", {"association_id": ""}, {"association_id": "eipassoc-1"}),
        ("aws_iam_role.task", {"inline_policy": []}, {"inline_policy": [{"name": "a", "policy": "{}"}]}),
        ("aws_security_group.tasks", {"ingress": []}, {"ingress": [{"protocol": "tcp"}]}),
        ("aws_route_table.private", {"route": []}, {"route": [{"cidr_block": "0.0.0.0/0"}]}),
        ("aws_ecr_repository.application", {"tags": None, "x": None}, {"tags": {}, "x": []}),
        ("aws_cloudwatch_metric_alarm.a", {"enabled": None}, {"enabled": False}),
        ("aws_security_group.tasks", {"list": ["a", "b"]}, {"list": ["b", "a"]}),
    ],
)
def test_what_a_release_moves_and_what_aws_fills_in_is_no_drift(
    address: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert told(plan(drifted(address, before, after))) == []


def test_the_live_service_s_definition_is_the_record_s_affair() -> None:
    moved = plan(drifted("aws_ecs_service.slot", {"task_definition": "blue:1"}, {"task_definition": "blue:2"}))
    assert told(moved, SLOTS[BLUE], live=BLUE) == []
    assert told(moved, SLOTS[BLUE], live=GREEN) == [("aws_ecs_service.slot", "task_definition", "blue:1", "blue:2")]


@pytest.mark.parametrize("mark", ["before_sensitive", "after_sensitive"])
def test_what_terraform_calls_sensitive_is_never_shown(mark: str) -> None:
    secret = plan(drifted("aws_x.y", {"a": "hunter2", "b": 1}, {"a": "hunter3", "b": 2}, **{mark: {"a": True}}))
    assert told(secret) == [("aws_x.y", "a", "(sensitive)", "(sensitive)"), ("aws_x.y", "b", "1", "2")]
    nested = plan(drifted("aws_x.y", {"l": [{"a": "hunter2"}]}, {"l": []}, **{mark: {"l": [{"a": True}]}}))
    assert "hunter" not in str(told(nested))


def test_what_looks_like_a_secret_is_not_shown_either() -> None:
    leaked = plan(drifted("aws_x.y", {"u": "a"}, {"u": "postgresql://app:hunter2@db:5432/x"}))
    assert "hunter2" not in str(told(leaked))
    assert "app" in str(told(leaked))


def test_a_long_value_is_cut() -> None:
    [(_, _, _, found)] = told(plan(drifted("aws_x.y", {"u": "a"}, {"u": "b" * 10_000})))
    assert len(found) < 300


def group(**rules: Any) -> dict[str, Any]:
    return now("aws_security_group.tasks", id="sg-1", arn="arn:sg-1", name="tasks", **rules)


def rule(first: int, last: int, *, protocol: str = "tcp", **sources: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"cidr_blocks": [], "ipv6_cidr_blocks": [], "security_groups": [], "prefix_list_ids": []}
    return {"protocol": protocol, "from_port": first, "to_port": last, "self": False, **empty, **sources}


def ingress(**values: Any) -> dict[str, Any]:
    return now("aws_vpc_security_group_ingress_rule.a", security_group_id="sg-1", **values)


ADMITTED = ingress(ip_protocol="tcp", from_port=0, to_port=65535, referenced_security_group_id="sg-2")


@pytest.mark.parametrize(
    ("listed", "owned", "foreign"),
    [
        ([rule(0, 65535, security_groups=["sg-2"])], [ADMITTED], []),
        ([rule(0, 65535, security_groups=["sg-2", "sg-3"])], [ADMITTED], ["tcp 0-65535 from sg-3"]),
        ([rule(22, 22, cidr_blocks=["0.0.0.0/0"])], [ADMITTED], ["tcp 22 from 0.0.0.0/0"]),
        ([rule(22, 22, ipv6_cidr_blocks=["::/0"])], [], ["tcp 22 from ::/0"]),
        ([rule(0, 0, protocol="-1", self=True)], [], ["everything from sg-1"]),
        ([rule(0, 0, protocol="-1", self=True)], [ingress(ip_protocol="-1", referenced_security_group_id="sg-1")], []),
        ([rule(0, 0, protocol="-1", cidr_blocks=["10.0.0.0/8"])],
         [ingress(ip_protocol="-1", cidr_ipv4="10.0.0.0/8")], []),
        (
            [rule(80, 80, cidr_blocks=["10.0.0.0/8"])],
            [{**ingress(ip_protocol="tcp", from_port=80, to_port=80, cidr_ipv4="10.0.0.0/8")}
             | {"values": {"security_group_id": "sg-9", "ip_protocol": "tcp", "from_port": 80, "to_port": 80,
                           "cidr_ipv4": "10.0.0.0/8"}}],
            ["tcp 80 from 10.0.0.0/8"],
        ),
    ],
)  # fmt: skip
def test_a_rule_belongs_to_a_resource_or_is_foreign(
    listed: list[dict[str, Any]], owned: list[dict[str, Any]], foreign: list[str]
) -> None:
    found = told(plan(state=(group(ingress=listed), *owned)))
    assert found == [("aws_security_group.tasks", "ingress", "nothing", one) for one in foreign]


def test_policies_and_routes_belong_to_a_resource_or_are_foreign() -> None:
    state = (
        now(
            "aws_iam_role.task",
            name="task",
            arn="arn:task",
            inline_policy=[{"name": "ours", "policy": policy(READ)}, {"name": "wide", "policy": policy(READ)}],
            managed_policy_arns=["arn:ours", "arn:admin"],
        ),
        now("aws_iam_role_policy.ours", role="task", name="ours"),
        now("aws_iam_role_policy.elsewhere", role="other", name="wide"),
        now("aws_iam_role_policy_attachment.ours", role="task", policy_arn="arn:ours"),
        now(
            "aws_route_table.private",
            id="rtb-1",
            route=[
                {"cidr_block": "0.0.0.0/0", "nat_gateway_id": "nat-1"},
                {"cidr_block": "10.9.0.0/16", "gateway_id": "igw-1"},
            ],
        ),
        now("aws_route.nat", route_table_id="rtb-1", destination_cidr_block="0.0.0.0/0"),
    )
    assert told(plan(state=state)) == [
        ("aws_iam_role.task", "inline_policy", "nothing", f"wide {policy(READ)}"),
        ("aws_iam_role.task", "managed_policy_arns", "nothing", "arn:admin"),
        ("aws_route_table.private", "route", "nothing", "10.9.0.0/16 to igw-1"),
    ]


@pytest.mark.parametrize(("name", "foreign"), [("place", 0), ("wide", 1)])
def test_the_environment_s_policy_on_the_account_s_role_is_ours(name: str, foreign: int) -> None:
    listed = [{"name": name, "policy": policy(READ)}]
    role = now('aws_iam_role.pipeline["test"]', name="pipeline", inline_policy=listed)
    assert len(told(plan(state=(role,)), ACCOUNT)) == foreign


def test_newer_settings_are_no_drift_but_wait_for_provision() -> None:
    changes = [
        {"address": "aws_lb.main", "change": {"actions": ["update"]}},
        {"address": "aws_subnet.a", "change": {"actions": ["no-op"]}},
        {"address": "data.aws_x.y", "change": {"actions": ["read"]}},
        {"address": "aws_route.nat", "change": {"actions": ["create"]}},
        {"address": "aws_iam_role.task", "change": {"actions": ["update"]}},
    ]
    drift = [
        drifted("aws_route.nat", {"id": "r"}, None),
        drifted("aws_iam_role.task", {"inline_policy": []}, {"x": None}),
    ]
    both = plan(*drift, changes=changes)
    assert plan_pending(both, plan_differences(ENVIRONMENT, both)) == ("aws_lb.main", "aws_iam_role.task")


def test_the_listeners_that_terraform_made() -> None:
    state = (now("aws_lb_listener.test", arn="arn:l"), now("aws_lb.main", arn="arn:b"))
    assert listed_listeners(plan(state=state)) == {"arn:l"}


# ---- traffic

SETTINGS = settings_with()
LIVE = live("v1.0.0").model_copy(update={"slot": slot_of("arn:task-definition/blue:1")})
WARM = live("v0.9.0", GREEN).model_copy(update={"slot": slot_of("arn:task-definition/green:1")})
RECORD = environment(live=LIVE, weights=Weights.all_on(BLUE))
WANTED = SETTINGS.service.desired_count
RUNS = SeenService(Definition("arn:task-definition/blue:1"), WANTED, ("shop-test-blue",))
HOME = ListenerView(Weights.all_on(BLUE))


def seen(**facts: Any) -> TrafficSeen:
    usual: dict[str, Any] = {
        "production": {"arn:production": HOME},
        "listeners": (SeenListener("arn:production", 80), SeenListener("arn:test", 8081)),
        "services": {BLUE: RUNS, GREEN: None},
        "live_image": LIVE.release.image,
    }
    return TrafficSeen(**{**usual, **facts})


def differences(
    record: EnvironmentRecord = RECORD, known: frozenset[str] | None = None, at: datetime = NOON, **facts: Any
) -> list[tuple[str, str, str, str]]:
    found = traffic_differences(record, SETTINGS, seen(**facts), known, at)
    assert all(d.area == TRAFFIC for d in found)
    return [(d.address, d.attribute, d.recorded, d.found) for d in found]


def test_as_a_release_left_it_nothing_differs() -> None:
    assert differences() == []
    assert differences(known=frozenset({"arn:production", "arn:test"})) == []
    assert differences(environment(weights=Weights.all_on(GREEN)), services={}, live_image=None,
                       production={"arn:production": ListenerView(Weights.all_on(GREEN))}) == []  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "differs"),
    [
        (
            {"production": {"arn:production": ListenerView(Weights(blue=50, green=50))}},
            ("production listener on port 80", "weights", "blue 100, green 0", "blue 50, green 50"),
        ),
        (
            {"production": {"arn:production": ListenerView(Weights.all_on(BLUE), "has group stickiness enabled")}},
            ("production listener on port 80", "default action", "one forward to both target groups",
             "it has group stickiness enabled"),
        ),
        (
            {"listeners": (SeenListener("arn:test", 8081, ("priority 5: …",)),)},
            ("listener on port 8081", "rule", "nothing", "priority 5: …"),
        ),
        ({"services": {BLUE: None, GREEN: None}}, ("blue service", "", "runs v1.0.0", "missing")),
        (
            {"services": {BLUE: SeenService(Definition("arn:task-definition/evil:7"), WANTED)}},
            ("blue service", "task definition", "blue:1", "evil:7"),
        ),
        ({"live_image": "elsewhere@sha256:1"},
         ("blue service", "image", f"{REPOSITORY}@{DIGEST}", "elsewhere@sha256:1")),
        (
            {"services": {BLUE: SeenService(RUNS.definition, WANTED - 1)}},
            ("blue service", "desired count", f"at least {WANTED}", str(WANTED - 1)),
        ),
        (
            {"services": {BLUE: RUNS, GREEN: SeenService(Definition("green:9"), 2)}},
            ("green service", "desired count", "0: nothing is released there", "2"),
        ),
    ],
)  # fmt: skip
def test_what_differs_from_the_record(facts: dict[str, Any], differs: tuple[str, str, str, str]) -> None:
    assert differences(**facts) == [differs]


@pytest.mark.parametrize(
    "facts",
    [
        {"services": {BLUE: SeenService(RUNS.definition, WANTED + 3), GREEN: None}},
        {"services": {BLUE: RUNS, GREEN: SeenService(Definition("green:9"), 0)}},
        {"live_health_check": HealthCheck("/anything")},
    ],
)
def test_what_a_release_moves_is_not_held_against_the_record(facts: dict[str, Any]) -> None:
    assert differences(**facts) == []


@pytest.mark.parametrize(
    ("check", "differs"),
    [(HealthCheck("/healthz"), 0), (HealthCheck("/foreign"), 1), (HealthCheck("/healthz", "200-499"), 1)],
)
def test_the_live_group_keeps_the_health_check_that_its_release_was_healthy_with(
    check: HealthCheck, differs: int
) -> None:
    with_path = live("v1.0.0", health_check_path="/healthz").model_copy(update={"slot": LIVE.slot})
    record = environment(live=with_path, weights=Weights.all_on(BLUE))
    assert len(differences(record, live_health_check=check, live_image=None)) == differs


def test_a_listener_that_terraform_did_not_make_is_foreign_where_its_state_was_read() -> None:
    known = frozenset({"arn:production"})
    assert differences(known=known) == [
        ("listener on port 8081", "", "nothing", "a listener that Terraform did not make")
    ]
    assert differences(known=None) == []


def test_a_foreign_definition_that_a_human_adopted_is_no_drift() -> None:
    record = environment(live=LIVE.adopting("arn:task-definition/evil:7"), weights=Weights.all_on(BLUE))
    adopted = SeenService(Definition("arn:task-definition/evil:7"), WANTED)
    assert differences(record, services={BLUE: adopted}, live_image="elsewhere@sha256:1") == []


@pytest.mark.parametrize(
    ("definition", "after", "scheduled", "differs"),
    [
        ("arn:task-definition/green:1", timedelta(), "true", False),
        ("arn:task-definition/green:1", timedelta(hours=1, minutes=29), "true", False),
        ("arn:task-definition/green:1", timedelta(hours=1, minutes=31), "true", True),
        ("arn:task-definition/green:1", timedelta(days=9), "false", False),
        ("arn:task-definition/green:2", timedelta(), "false", True),
    ],
)
def test_the_old_colour_may_be_warm_until_it_is_retired(
    definition: str, after: timedelta, scheduled: str, differs: bool
) -> None:
    settings = settings_with().model_copy(update={"retire_on_schedule": scheduled == "true"})
    assert settings.timing.rollback_window == 3_600
    record = environment(live=LIVE, weights=Weights.all_on(BLUE), healthy=(WARM,))
    services = {BLUE: RUNS, GREEN: SeenService(Definition(definition), 2, ("shop-test-green",))}
    found = traffic_differences(record, settings, seen(services=services), None, LIVE.since + after)
    assert bool(found) is differs


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {"Priority": "5", "Conditions": [{"Field": "path-pattern", "Values": ["/a", "/b"]}],
             "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}]},
            "priority 5: path-pattern /a or /b → fixed-response 503",
        ),
        (
            {"Priority": "1", "Conditions": [{"Field": "host-header", "HostHeaderConfig": {"Values": ["x"]}}],
             "Actions": [{"Type": "forward", "TargetGroupArn": "arn:x:targetgroup/evil/1"}]},
            "priority 1: host-header x → forward evil 100",
        ),
        ({"Priority": "2"}, "priority 2: any request →"),
    ],
)  # fmt: skip
def test_a_rule_in_words(rule: dict[str, Any], words: str) -> None:
    assert [one.strip() for one in describe_rules([rule, {"IsDefault": True}])] == [words]


# ---- what may be looked at


@pytest.mark.parametrize(
    ("flow", "infrastructure"),
    [("release", True), ("rollback", True), ("retire", True), ("provision", False), ("destroy", False)],
)
def test_what_a_holder_writes_is_left_to_the_next_run(flow: str, infrastructure: bool) -> None:
    held = environment(lease=lease_of(owner(flow=flow)))
    assert scope_of(held) == Scope(infrastructure, False, f"{flow} v1.1.0 (at starting) is at work")
    assert scope_of(environment()) == Scope(True, True)


def test_what_was_looked_at_while_somebody_began_is_worth_nothing() -> None:
    before = environment()
    assert began_meanwhile(before, before) == Scope(True, True)
    held = environment(lease=lease_of(owner()))
    assert began_meanwhile(before, held) == Scope(True, False, "release v1.1.0 (at starting) began meanwhile")
    ended = environment(fencing_token=1)
    assert began_meanwhile(before, ended) == Scope(False, False, "somebody worked on it during the look")


def test_a_holder_that_was_there_all_along_leaves_the_infrastructure_comparable() -> None:
    held = environment(lease=lease_of(owner()), fencing_token=1)
    assert began_meanwhile(held, held).infrastructure


# ---- whose hand

OPENED = Difference(ENVIRONMENT, "aws_security_group.tasks", "ingress", "nothing", "tcp 22 from 0.0.0.0/0")


def event(name: str, who: str, minutes: int, error: str = "") -> TrailEvent:
    return TrailEvent(name, who, NOON + timedelta(minutes=minutes), error)


OURS = "arn:aws:sts::123456789012:assumed-role/team-shop-test-pipeline/pointsman-1a2b3c4d"


@pytest.mark.parametrize(
    ("events", "since", "hand"),
    [
        ([], None, None),
        ([event("A", "ada", 1), event("B", "bob", 2)], None, "B by bob"),
        ([event("B", "bob", 2), event("A", "ada", 1)], NOON, "B by bob"),
        ([event("A", "ada", 1)], NOON + timedelta(minutes=2), None),
        ([event("A", "ada", 1), event("B", "bob", 2, "AccessDenied")], None, "A by ada"),
        ([event("A", "ada", 1), event("B", OURS, 2)], None, "A by ada"),
        ([event("B", OURS, 2)], None, None),
        ([event("B", OURS.replace("pointsman-", "eve-"), 2)], None, f"B by {OURS.replace('pointsman-', 'eve-')}"),
    ],
)
def test_the_newest_write_since_ours_is_the_hand(
    events: list[TrailEvent], since: datetime | None, hand: str | None
) -> None:
    found = hand_of(OPENED, events, since, ROLE)
    assert (f"{found.call} by {found.who}" if found else None) == hand


def test_a_call_that_makes_such_a_change_comes_before_a_newer_one() -> None:
    rule = Difference(TRAFFIC, "listener on port 80", "rule", "nothing", "x", calls=("CreateRule",))
    events = [event("ModifyListener", "bob", 2), event("CreateRule", "ada", 1)]
    found = hand_of(rule, events, None)
    assert found is not None
    assert (found.who, found.call) == ("ada", "CreateRule")
    assert hand_of(rule, events[:1], None) is not None


# ---- what is told


def test_without_a_difference_the_report_says_what_it_did_not_see() -> None:
    assert Report("test", ()).message == "No drift in test from Terraform's state and the release record."
    unseen = Report("test", (), unseen={ACCOUNT: "not allowed"})
    assert unseen.message == "No drift in test in what could be looked at. Not looked at: account."
    assert "not allowed" in unseen.markdown
    assert Report("test", (), pending=("environment: aws_lb.main",)).message.endswith(
        "1 change of the settings waits for `provision`."
    )


def test_a_difference_is_told_with_its_hand_and_what_to_do() -> None:
    hand = str(Hand("arn:aws:iam::1:user/ada", "AuthorizeSecurityGroupIngress", datetime(2026, 3, 1, 12, tzinfo=UTC)))
    report = Report("test", (OPENED,), {OPENED: hand})
    assert report.message == (
        "Drift in test: 1 difference: environment: aws_security_group.tasks ingress: recorded nothing, "
        "found tcp 22 from 0.0.0.0/0 (arn:aws:iam::1:user/ada, AuthorizeSecurityGroupIngress, 2026-03-01 12:00:00 UTC)."
    )
    assert "| `aws_security_group.tasks` | `ingress` |" in report.markdown
    assert "python -m flows provision test" in report.markdown
    assert CANNOT_TELL in Report("test", (OPENED,)).message


def test_a_message_names_three_and_counts_the_rest() -> None:
    many = tuple(Difference(TRAFFIC, f"listener {n}", "rule", "nothing", "x") for n in range(5))
    message = Report("test", many).message
    assert "5 differences" in message
    assert "listener 2" in message
    assert "listener 3" not in message
    assert "and 2 more" in message


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            Permanent(
                "terraform plan failed",
                why="reading EC2 VPC: api error UnauthorizedOperation: not authorized to perform: ec2:DescribeVpcs; "
                "AccessDenied: User: x is not authorized to perform: iam:GetRole on resource: role y",
                do="Press Retry.",
            ),
            "terraform plan failed: the role lacks ec2:DescribeVpcs, iam:GetRole",
        ),
        (Permanent("terraform init failed", why="no such host"), "terraform init failed: no such host"),
        (Permanent("It failed"), "It failed"),
    ],
)
def test_why_something_was_not_looked_at(error: Permanent, why: str) -> None:
    assert why_unseen(error) == why


def test_foreign_text_cannot_format_the_report() -> None:
    forged = Difference(ENVIRONMENT, "aws_subnet.a", "tags.X", "nothing", "a | b <img src=x> [x](http://evil)")
    assert "| b <img" not in Report("test", (forged,)).markdown
