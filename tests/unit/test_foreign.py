"""Foreign hands on the listener or the live service: they freeze, they are said in words, and a human answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.admission import Admission, WantedRelease, admit
from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused
from core.foreign import Definition, Seen, foreign_hand, freeze, runs
from core.listener import ListenerView
from core.record import Frozen, NamedRelease, RollbackIntent
from core.rollback import choose_target
from core.version import Version
from flows.status import describe_environment
from lifecycle.cleaning import watch_hands
from lifecycle.takeover import take_over
from operation.foreign_hands import refuse_foreign_hands, refuse_foreign_target
from operation.operation import Operation
from operation.weights import move_weights
from systems.probes import Prober
from tasks.candidate import vacate_slot
from tasks.retirement import empty_old_slot
from tasks.traffic import return_traffic, shift_traffic
from tasks.unfreezing import choose_colour
from tests.unit.facts import (
    COMMIT,
    FROZEN,
    NOON,
    definition_of,
    environment,
    lease_of,
    live,
    owner,
    release,
    settings_with,
    slot_of,
)
from tests.unit.fakes import FakeAws, lost, operation_of, refusal, store_of

BLUE, GREEN, SPLIT = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN), Weights(blue=50, green=50)
OURS, THEIRS = "arn:aws:ecs:eu-west-1:1:task-definition/shop:1", "arn:aws:ecs:eu-west-1:1:task-definition/other:7"
EVIL = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/evil/9"
KNOWN = live("v1.0.0").model_copy(update={"slot": slot_of(OURS)})
NAMES = NamedRelease(image=KNOWN.release.image, version="v1.0.0", revision=KNOWN.release.revision)


# --- decisions


@pytest.mark.parametrize(
    ("rule", "known", "definition", "same"),
    [
        ("by its ARN", KNOWN, Definition(OURS), True),
        ("another ARN, whatever it names", KNOWN, Definition(THEIRS, NAMES), False),
        ("an older record: by what it names", live("v1.0.0"), Definition(THEIRS, NAMES), True),
        ("an older record and another name", live("v1.1.0"), Definition(THEIRS, NAMES), False),
        ("what a human adopted", KNOWN.adopting(THEIRS), Definition(THEIRS), True),
        ("no more what it replaced", KNOWN.adopting(THEIRS), Definition(OURS), False),
        ("its own again", KNOWN.adopting(THEIRS).adopting(OURS), Definition(OURS), True),
    ],
)
def test_a_release_is_known_by_its_task_definition(rule: str, known: Any, definition: Definition, same: bool) -> None:
    assert runs(known, definition) is same, rule


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(ListenerView(BLUE), Colour.BLUE, Definition(OURS)), None),
        (Seen(ListenerView(BLUE)), None),
        (Seen(ListenerView(BLUE), Colour.GREEN, Definition(THEIRS)), None),
        (Seen(ListenerView(Weights(blue=1, green=1))), "has the weights blue 1, green 1"),
        (Seen(ListenerView(BLUE, "has group stickiness enabled")), "has group stickiness enabled"),
        (Seen(ListenerView(BLUE), Colour.BLUE, Definition(THEIRS)), "runs the task definition other:7"),
    ],
)
def test_what_we_did_not_write_is_said_in_words(seen: Seen, reason: str | None) -> None:
    said = foreign_hand(environment(live=KNOWN, weights=BLUE), seen)
    assert said is None if reason is None else reason in (said or "")


@pytest.mark.parametrize(
    ("known", "deployed"),
    [(KNOWN, "shop:1"), (live("v1.0.0"), "v1.0.0")],
)
def test_what_should_run_is_said_beside_what_does(known: Any, deployed: str) -> None:
    other = NamedRelease(image="someone/else:1", version="v9.0.0", revision="0" * 12)
    said = foreign_hand(
        environment(live=known, weights=BLUE), Seen(ListenerView(BLUE), Colour.BLUE, Definition(THEIRS, other))
    )
    assert said == (
        "the live blue service runs the task definition other:7, which Pointsman did not deploy "
        f"(it deployed {deployed})"
    )


@pytest.mark.parametrize(
    ("rule", "seen", "strange", "definition"),
    [
        ("a definition", Seen(ListenerView(BLUE), Colour.BLUE, Definition(THEIRS)), "", THEIRS),
        ("weights", Seen(ListenerView(SPLIT)), "", None),
        ("weights beside a definition", Seen(ListenerView(SPLIT), Colour.BLUE, Definition(THEIRS)), "", None),
        (
            "a listener beside a definition",
            Seen(ListenerView(BLUE, "has group stickiness enabled"), Colour.BLUE, Definition(THEIRS)),
            "has group stickiness enabled",
            None,
        ),
        ("a listener", Seen(ListenerView(BLUE, "has the rule 7")), "has the rule 7", None),
    ],
)
def test_a_freeze_keeps_what_a_human_has_to_decide_about(
    rule: str, seen: Seen, strange: str, definition: str | None
) -> None:
    record = environment(live=KNOWN, weights=BLUE)
    frozen = freeze(record, seen, NOON).frozen
    assert frozen is not None
    assert (frozen.observed, frozen.expected, frozen.at) == (seen.listener.weights, BLUE, NOON)
    assert (frozen.seen, frozen.definition) == (strange, definition), rule
    assert frozen.reason == foreign_hand(record, seen)


def test_a_freeze_that_stands_stays_and_what_is_ours_freezes_nothing() -> None:
    stands = environment(live=KNOWN, weights=BLUE, frozen=FROZEN)
    assert freeze(stands, Seen(ListenerView(GREEN, "has the rule 7")), NOON) == stands
    at_rest = environment(live=KNOWN, weights=BLUE)
    assert freeze(at_rest, Seen(ListenerView(BLUE), Colour.BLUE, Definition(OURS)), NOON) == at_rest


def test_a_freeze_written_by_yesterday_s_code_still_loads() -> None:
    old = {"reason": "r", "observed": {"blue": 1, "green": 1}, "expected": None, "at": NOON.isoformat()}
    assert Frozen.model_validate(old).seen == ""


def test_the_version_whose_place_a_foreign_definition_took_is_released_anew_and_is_no_target() -> None:
    adopted = KNOWN.adopting(THEIRS)
    record = environment(live=adopted)
    wanted = WantedRelease(Version.parse("v1.0.0"), COMMIT, adopted.release.configuration.digest, "run-1")
    assert admit(record, None, wanted) is Admission.PROCEED
    with pytest.raises(Refused, match="no healthy predecessor"):
        choose_target(record.gone_live(live("v1.1.0", Colour.GREEN)), None)


# --- what freezes


def sticky(forward: dict[str, Any]) -> list[dict[str, Any]]:
    forward["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True}
    return [forward]


def third(forward: dict[str, Any]) -> list[dict[str, Any]]:
    forward["ForwardConfig"]["TargetGroups"].append({"TargetGroupArn": EVIL, "Weight": 1})
    return [forward]


def login(forward: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Type": "authenticate-oidc"}, forward]


def on_listener(change: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> Callable[[FakeAws], None]:
    def by_hand(aws: FakeAws) -> None:
        aws.elbv2.foreign = change

    return by_hand


def add_rule(aws: FakeAws) -> None:
    group = aws.elbv2.infrastructure.target_group_arns[Colour.BLUE]
    aws.elbv2.rules = [{"Priority": "10", "Actions": [{"Type": "forward", "TargetGroupArn": group}]}]


def deploy(aws: FakeAws) -> None:
    aws.ecs.uses["shop-test-blue"] = THEIRS
    aws.ecs.definitions[THEIRS] = {"containerDefinitions": [{"image": "someone/else:1"}]}


HANDS = {
    "forwards to evil as well": on_listener(third),
    "default actions authenticate-oidc, forward": on_listener(login),
    "group stickiness enabled": on_listener(sticky),
    "the rule 10 that names our target groups": add_rule,
    "runs the task definition other:7": deploy,
}


@pytest.mark.parametrize("words", list(HANDS))
@pytest.mark.parametrize("to", [BLUE, GREEN])
@pytest.mark.parametrize("tolerate_unwritten_record", [True, False])
def test_a_foreign_hand_freezes_and_no_weight_is_written(
    operation: Operation, aws: FakeAws, words: str, to: Weights, tolerate_unwritten_record: bool
) -> None:
    HANDS[words](aws)
    with pytest.raises(Refused, match=f"test is frozen: .*{words}"):
        move_weights(operation, to, tolerate_unwritten_record=tolerate_unwritten_record)
    assert aws.elbv2.count("modify_listener") == 0
    frozen = store_of(aws.s3).environment().frozen
    assert frozen is not None
    assert words in frozen.reason


@pytest.mark.parametrize("words", list(HANDS))
def test_the_watch_freezes_an_environment_at_rest(operation: Operation, aws: FakeAws, words: str) -> None:
    operation.lease.drop()
    HANDS[words](aws)
    with pytest.raises(Refused, match=f"test is frozen: .*{words}"):
        watch_hands.fn(operation)


@pytest.mark.parametrize("words", list(HANDS))
def test_retire_stops_nothing_where_a_foreign_hand_was(operation: Operation, aws: FakeAws, words: str) -> None:
    aws.ecs.desired["shop-test-green"] = 2
    HANDS[words](aws)
    with pytest.raises(Refused, match="frozen"):
        empty_old_slot.fn(operation, Colour.GREEN)
    assert aws.ecs.desired["shop-test-green"] == 2


@pytest.mark.parametrize("words", list(HANDS))
def test_a_release_gives_up_no_fallback_where_a_foreign_hand_was(
    operation: Operation, aws: FakeAws, words: str
) -> None:
    aws.ecs.desired["shop-test-green"] = 2
    HANDS[words](aws)
    with pytest.raises(Refused, match="frozen"):
        vacate_slot.fn(operation)
    assert aws.ecs.desired["shop-test-green"] == 2


def test_a_stale_read_freezes_nothing(operation: Operation, aws: FakeAws) -> None:
    aws.elbv2.stale = [Weights(blue=3, green=4)]
    stranger = {**aws.ecs.service("shop-test-blue"), "taskDefinition": THEIRS}
    aws.ecs.definitions[THEIRS] = {"containerDefinitions": [{"image": "someone/else:1"}]}
    refuse_foreign_hands(operation)
    aws.ecs.stale = [[stranger]]
    refuse_foreign_hands(operation)
    assert store_of(aws.s3).environment().frozen is None


@pytest.mark.parametrize(
    ("client", "call"), [("ecs", "describe_services"), ("elbv2", "describe_rules"), ("ecs", "describe_task_definition")]
)
@pytest.mark.parametrize("error", [lost, lambda: refusal("AccessDenied", 403)])
def test_what_cannot_be_read_beside_the_weights_keeps_no_traffic_from_going_home(
    operation: Operation, aws: FakeAws, client: str, call: str, error: Callable[[], Exception]
) -> None:
    move_weights(operation, GREEN)
    getattr(aws, client).broken = {call: error}
    with pytest.raises(PointsmanError):
        move_weights(operation, GREEN)
    move_weights(operation, BLUE, tolerate_unwritten_record=True)
    assert aws.elbv2.weights == BLUE


# --- what was approved is looked at again


@pytest.mark.parametrize("step", [shift_traffic, return_traffic])
@pytest.mark.parametrize("what", ["definition", "image"])
def test_another_definition_or_image_than_the_tested_one_gets_no_traffic(
    operation: Operation, aws: FakeAws, step: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prober, "see_candidate", lambda *_, **__: 1)
    operation.journal.change(lambda a: a.started_as(slot_of("shop-test-green:1", "shop-test-green")))
    if what == "definition":
        aws.ecs.uses["shop-test-green"] = THEIRS
        aws.ecs.definitions[THEIRS] = definition_of(release("v1.1.0"))
    else:
        other = release("v1.1.0", digest="sha256:" + "cd" * 32)
        aws.ecs.definitions["shop-test-green:1"] = definition_of(other)
    with pytest.raises(Refused, match="The green slot no longer runs"):
        step.fn(operation)
    assert aws.elbv2.weights == BLUE


# --- thaw and status


def frozen_by(operation: Operation, hand: Callable[[FakeAws], None], aws: FakeAws) -> None:
    operation.records.change_environment(lambda r: r.model_copy(update={"live": KNOWN}))
    aws.ecs.uses["shop-test-blue"] = OURS
    aws.ecs.definitions[OURS] = definition_of(KNOWN.release)
    refuse_foreign_hands(operation)
    hand(aws)
    with pytest.raises(Refused, match="frozen"):
        refuse_foreign_hands(operation)


def test_thaw_adopts_what_runs_and_the_record_says_that_it_is_foreign(operation: Operation, aws: FakeAws) -> None:
    frozen_by(operation, deploy, aws)
    said = choose_colour.fn(operation, Colour.BLUE, False)
    record = store_of(aws.s3).environment()
    assert record.frozen is None
    assert record.live is not None
    assert record.live.adopted == THEIRS
    assert "other:7 was kept" in said
    assert aws.ecs.uses["shop-test-blue"] == THEIRS
    refuse_foreign_hands(operation)
    assert "foreign task definition other:7" in dict(describe_environment(operation))["live"]


def test_thaw_restores_the_recorded_definition(operation: Operation, aws: FakeAws) -> None:
    frozen_by(operation, deploy, aws)
    choose_colour.fn(operation, Colour.BLUE, True)
    record = store_of(aws.s3).environment()
    assert (record.frozen, record.live) == (None, KNOWN)
    assert aws.ecs.uses["shop-test-blue"] == OURS


def test_a_definition_that_no_record_knows_cannot_be_restored(operation: Operation, aws: FakeAws) -> None:
    deploy(aws)
    with pytest.raises(Refused, match="frozen"):
        refuse_foreign_hands(operation)
    with pytest.raises(Refused, match="has no task definition of"):
        choose_colour.fn(operation, Colour.BLUE, True)
    assert store_of(aws.s3).environment().frozen is not None


def test_only_the_live_colour_can_be_restored(operation: Operation, aws: FakeAws) -> None:
    frozen_by(operation, deploy, aws)
    with pytest.raises(Refused, match="green is not live according to the record"):
        choose_colour.fn(operation, Colour.GREEN, True)


@pytest.mark.parametrize("hand", [third, login, sticky])
def test_thaw_makes_the_listener_ours_again(operation: Operation, aws: FakeAws, hand: Any) -> None:
    frozen_by(operation, on_listener(hand), aws)
    choose_colour.fn(operation, Colour.BLUE, False)
    assert aws.elbv2.history == [BLUE]
    refuse_foreign_hands(operation)


def test_a_rule_has_to_go_before_a_thaw(operation: Operation, aws: FakeAws) -> None:
    frozen_by(operation, add_rule, aws)
    with pytest.raises(Refused, match="cannot be unfrozen yet: the production listener has the rule 10"):
        choose_colour.fn(operation, Colour.BLUE, False)
    aws.elbv2.rules = []
    choose_colour.fn(operation, Colour.BLUE, False)
    assert store_of(aws.s3).environment().frozen is None


def test_status_shows_a_foreign_definition_on_either_slot(operation: Operation, aws: FakeAws) -> None:
    aws.ecs.desired["shop-test-green"] = 1
    rows = dict(describe_environment(operation))
    assert "foreign" not in rows["live"] + rows["warm"].replace("foreign task definition shop-test-green:1", "")
    deploy(aws)
    aws.ecs.uses["shop-test-green"] = THEIRS
    rows = dict(describe_environment(operation))
    assert "v1.0.0" in rows["live"]
    assert "its service runs the foreign task definition other:7" in rows["live"]
    assert rows["warm"].startswith("nothing; the foreign task definition other:7 in green")


# --- on the target of a rollback whose run died once traffic lay there

TARGET = live("v0.9.0").model_copy(update={"slot": slot_of("shop-test-green:4", "shop-test-green")})


@pytest.fixture
def dead_rollback(operation: Operation, aws: FakeAws) -> FakeAws:
    """Its run gave green, which runs v0.9.0 anew, all traffic and died; then somebody deployed to green by hand."""
    operation.lease.stop_heartbeat()
    leaving = operation.record.live
    assert leaving is not None
    intent = RollbackIntent(target=TARGET, leaving=leaving, flow_run_id="run-1", at=NOON)
    gone = lease_of(owner(flow="rollback"), fencing_token=operation.record.fencing_token, version=None)
    operation.records.change_environment(
        lambda r: r.carrying(GREEN).model_copy(update={"rollback": intent, "healthy": (TARGET,), "lease": gone})
    )
    aws.elbv2.weights = GREEN
    aws.ecs.desired["shop-test-green"] = 1
    aws.ecs.definitions |= {"shop-test-green:4": definition_of(TARGET.release), THEIRS: {"containerDefinitions": [{}]}}
    aws.ecs.uses["shop-test-green"] = THEIRS
    return aws


def reconciler(aws: FakeAws) -> Operation:
    return operation_of(aws, settings_with(), owner("rec-1", flow="reconcile", pid=9))


def test_a_foreign_definition_under_a_rollback_s_traffic_freezes_and_is_settled(dead_rollback: FakeAws) -> None:
    run = reconciler(dead_rollback)
    with pytest.raises(Refused, match=r"test is frozen: the rollback to v0\.9\.0 .* green runs .* other:7"):
        take_over(run)
    assert store_of(dead_rollback.s3).environment().lease is None, "it is given back, and a human answers"
    assert dead_rollback.elbv2.weights == GREEN
    assert dead_rollback.ecs.desired["shop-test-green"] == 1
    assert dead_rollback.ecs.count("update_service") == 0


def test_a_stale_read_of_a_rollback_s_target_freezes_nothing(dead_rollback: FakeAws) -> None:
    stranger = dead_rollback.ecs.service("shop-test-green")
    dead_rollback.ecs.uses["shop-test-green"] = "shop-test-green:4"
    blue = dead_rollback.ecs.service("shop-test-blue")
    run = reconciler(dead_rollback)
    run.lease.take(None, lambda _: None, taking_over=True)
    dead_rollback.ecs.stale = [[stranger]]
    refuse_foreign_target(run, TARGET, Colour.GREEN)
    run.lease.stop_heartbeat()
    assert blue["taskDefinition"] != stranger["taskDefinition"]
    assert store_of(dead_rollback.s3).environment().frozen is None


@pytest.mark.parametrize(
    ("keep", "restore", "version", "runs_in_green"),
    [(Colour.GREEN, True, "v0.9.0", "shop-test-green:4"), (Colour.BLUE, False, "v1.0.0", THEIRS)],
)
def test_a_human_completes_or_gives_up_a_rollback_onto_a_foreign_definition(
    dead_rollback: FakeAws,
    keep: Colour,
    restore: bool,
    version: str,
    runs_in_green: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.unfreezing.see_winner", lambda *_: None)  # there is no load balancer to ask
    run = reconciler(dead_rollback)
    with pytest.raises(Refused, match="frozen"):
        take_over(run)
    run.lease.take(None, lambda _: None)
    choose_colour.fn(run, keep, restore)
    run.lease.stop_heartbeat()
    record = store_of(dead_rollback.s3).environment()
    assert record.live is not None
    assert (record.live.release.version, record.live.colour) == (version, keep)
    assert (record.frozen, record.rollback) == (None, None)
    assert dead_rollback.elbv2.weights == Weights.all_on(keep)
    assert dead_rollback.ecs.uses["shop-test-green"] == runs_in_green
