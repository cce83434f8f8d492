"""The record's state machine: one table of legal moves, and what an attempt may become."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest
from pydantic import ValidationError

from core.colour import Colour, Weights
from core.errors import Permanent
from core.history import LEGAL_MOVES, State, StepRecord, VersionRecord, move
from core.record import EnvironmentRecord, Live, RollbackIntent
from core.version import Version
from tests.unit.facts import FROZEN, NOON, attempt, environment, live, slot_of

S = State
HAPPY_PATH = (
    S.BUILDING,
    S.PLANNED,
    S.APPLIED,
    S.MIGRATED,
    S.RUNNING,
    S.VERIFIED,
    S.AWAITING_APPROVAL,
    S.SHIFTING,
    S.BAKING,
    S.HEALTHY,
)
IN_FLIGHT = HAPPY_PATH[:-1]
ILLEGAL = [(a, b) for a, b in product(State, State) if b not in LEGAL_MOVES[a]]
BLUE, GREEN = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN)


def history(*states: State) -> VersionRecord:
    tries = tuple(attempt(state, f"run-{n}") for n, state in enumerate(states))
    return VersionRecord(environment="test", version="v1.0.0", commit="", attempts=tries)


# --- the table


@pytest.mark.parametrize(("current", "to"), list(pairwise(HAPPY_PATH)))
def test_a_release_goes_through_its_states_in_order(current: State, to: State) -> None:
    assert move(current, to) is to


def test_a_release_that_needs_no_approval_goes_on_to_shift() -> None:
    assert move(S.VERIFIED, S.SHIFTING) is S.SHIFTING


@pytest.mark.parametrize("current", IN_FLIGHT)
@pytest.mark.parametrize("to", [S.FAILED, S.ABORTED])
def test_whatever_is_in_flight_can_fail_and_be_aborted(current: State, to: State) -> None:
    assert move(current, to) is to


@pytest.mark.parametrize("current", [S.BUILDING, S.AWAITING_APPROVAL])
def test_what_waits_or_is_parked_can_be_superseded(current: State) -> None:
    assert move(current, S.SUPERSEDED) is S.SUPERSEDED


@pytest.mark.parametrize("current", [S.SHIFTING, S.BAKING])
def test_what_has_traffic_is_never_superseded(current: State) -> None:
    with pytest.raises(Permanent):
        move(current, S.SUPERSEDED)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_way_out(state: State) -> None:
    assert LEGAL_MOVES[state]


@pytest.mark.parametrize("state", list(State))
def test_from_every_state_a_release_can_still_become_healthy(state: State) -> None:
    reached, frontier = {state}, [state]
    while frontier:
        for to in LEGAL_MOVES[frontier.pop()] - reached:
            reached.add(to)
            frontier.append(to)
    assert S.HEALTHY in reached


@pytest.mark.parametrize(("current", "to"), ILLEGAL)
def test_a_move_that_is_not_in_the_table_is_refused_with_those_that_are(current: State, to: State) -> None:
    with pytest.raises(Permanent, match=f"cannot move from {current} to {to}") as refusal:
        move(current, to)
    assert all(allowed.value in refusal.value.why for allowed in LEGAL_MOVES[current])


@pytest.mark.parametrize("to", [s for s in IN_FLIGHT if s is not S.BUILDING])
@pytest.mark.parametrize("ended", [s for s in State if s.ended])
def test_what_has_ended_goes_on_only_by_a_new_attempt(ended: State, to: State) -> None:
    with pytest.raises(Permanent):
        move(ended, to)


@pytest.mark.parametrize("state", list(State))
def test_only_states_after_the_last_step_have_ended(state: State) -> None:
    assert state.ended == (state not in IN_FLIGHT)


# --- attempts


@pytest.mark.parametrize("ended", [s for s in State if s.ended])
def test_a_new_attempt_begins_once_the_last_has_ended(ended: State) -> None:
    begun = history(ended).with_attempt(attempt(run="run-9"))
    assert [a.state for a in begun.attempts] == [ended, S.BUILDING]


@pytest.mark.parametrize("state", IN_FLIGHT)
def test_no_attempt_begins_while_another_is_in_flight(state: State) -> None:
    with pytest.raises(Permanent, match=f"from {state} to BUILDING"):
        history(state).with_attempt(attempt(run="run-9"))


@pytest.mark.parametrize("state", IN_FLIGHT)
def test_an_attempt_is_replaced_in_its_place(state: State) -> None:
    noted = history(S.FAILED, state).with_attempt(attempt(state, "run-1", approver="Ada"))
    assert [(a.flow_run_id, a.approver) for a in noted.attempts] == [("run-0", None), ("run-1", "Ada")]


@pytest.mark.parametrize(
    ("current", "to"),
    [(S.BUILDING, S.HEALTHY), (S.ABORTED, S.PLANNED), (S.FAILED, S.HEALTHY), (S.SHIFTING, S.SUPERSEDED)],
)
def test_an_attempt_is_never_replaced_by_one_that_it_cannot_become(current: State, to: State) -> None:
    with pytest.raises(Permanent):
        history(current).with_attempt(attempt(to, "run-0"))


def test_an_intent_becomes_an_outcome_and_a_repeated_step_stands_once() -> None:
    intent = StepRecord(name="apply", intent="apply plan abc", started_at=NOON)
    outcome = intent.model_copy(update={"outcome": "done", "seconds": 1.0})
    begun = attempt().begun(intent)
    assert begun.open_step == "apply"
    assert begun.concluded(outcome).steps == (outcome,)
    assert begun.concluded(outcome).open_step is None
    assert begun.concluded(outcome).begun(intent).steps == (intent,)


@pytest.mark.parametrize("outcome", ["done", "skipped", "failed", None])
def test_a_step_was_reached_however_it_ended(outcome: str | None) -> None:
    step = StepRecord.model_validate({"name": "apply", "intent": "", "started_at": NOON, "outcome": outcome})
    assert attempt(steps=(step,)).reached("apply")
    assert not attempt(steps=(step,)).reached("shift")


# --- the environment


def test_what_goes_live_makes_what_was_live_a_rollback_target() -> None:
    record = environment(live=live("v1.0.0")).gone_live(live("v1.1.0", Colour.GREEN))
    assert record.live == live("v1.1.0", Colour.GREEN)
    assert [h.release.version for h in record.healthy] == ["v1.0.0"]


def test_the_first_release_has_no_predecessor() -> None:
    assert environment().gone_live(live("v1.0.0")).healthy == ()


@pytest.mark.parametrize(
    ("healthy", "was", "goes_live", "targets"),
    [
        (["v1.0.0"], "v1.1.0", "v1.2.0", ["v1.0.0", "v1.1.0"]),
        (["v1.0.0"], "v1.1.0", "v1.0.0", ["v1.1.0"]),
        ([], "v1.0.0", "v1.0.0", []),
    ],
)
def test_what_is_live_is_no_target_and_no_target_stands_twice(
    healthy: list[str], was: str, goes_live: str, targets: list[str]
) -> None:
    record = environment(live=live(was), healthy=tuple(live(v) for v in healthy)).gone_live(live(goes_live))
    assert [h.release.version for h in record.healthy] == targets


def test_going_live_ends_a_rollback_a_failure_and_a_version_s_exile() -> None:
    before = environment(
        live=live("v1.0.0"),
        rolled_back=(live("v1.1.0").release.revision, live("v0.9.0").release.revision),
        last_failure="v1.1.0 FAILED",
    )
    record = before.gone_live(live("v1.1.0", Colour.GREEN))
    assert (record.rolled_back, record.rollback, record.last_failure) == (
        (live("v0.9.0").release.revision,),
        None,
        None,
    )


def test_a_version_rolled_back_from_is_left_behind() -> None:
    record = environment(live=live("v1.1.0", Colour.GREEN), healthy=(live("v1.0.0"),)).gone_back(live("v1.0.0"))
    assert record.rolled_back == (live("v1.1.0").release.revision,)
    assert record.live == live("v1.0.0")


@pytest.mark.parametrize(
    ("record", "observed", "ours"),
    [
        (environment(weights=BLUE), BLUE, True),
        (environment(weights=BLUE), GREEN, False),
        (environment(weights=BLUE, weights_intent=GREEN), GREEN, True),
        (environment(weights=BLUE, weights_intent=GREEN), BLUE, True),
        (environment(weights=BLUE, weights_intent=GREEN), Weights(blue=50, green=50), False),
        (environment(weights=GREEN, live=live("v1.0.0", Colour.BLUE)), BLUE, True),
        (environment(weights=BLUE), Weights(blue=99, green=0), False),
        (environment(), BLUE, False),
    ],
)
def test_weights_are_ours_if_we_wrote_them_or_were_about_to_or_they_are_home(
    record: EnvironmentRecord, observed: Weights, ours: bool
) -> None:
    assert record.ours(observed) is ours


INTENT = RollbackIntent(target=live("v1.0.0"), leaving=live("v1.1.0", Colour.GREEN), flow_run_id="run-1", at=NOON)
HOUR = NOON + timedelta(hours=1)


def test_what_a_move_may_lead_to_is_listed() -> None:
    with pytest.raises(Permanent) as refusal:
        move(S.HEALTHY, S.FAILED)
    assert refusal.value.why == "from HEALTHY it can go to BUILDING, ROLLED_BACK"


def test_going_live_ends_the_rollback_that_stood_and_what_failed_last() -> None:
    before = environment(live=live("v1.0.0"), rollback=INTENT).with_failure("v1.1.0", "v1.1.0 FAILED at smoke")
    assert (before.last_failed, before.last_failure) == ("v1.1.0", "v1.1.0 FAILED at smoke")
    after = before.gone_live(live("v1.2.0", Colour.GREEN))
    assert (after.rollback, after.last_failed, after.last_failure) == (None, None, None)


def test_going_back_keeps_the_rollback_until_the_histories_say_so_too() -> None:
    before = environment(live=live("v1.1.0", Colour.GREEN), healthy=(live("v1.0.0"),), rollback=INTENT)
    assert before.gone_back(live("v1.0.0")).rollback == INTENT


@pytest.mark.parametrize(
    ("rule", "was", "to", "named", "rolled_back"),
    [
        ("back", "v1.1.0", "v1.0.0", False, True),
        ("back, named", "v1.1.0", "v1.0.0", True, True),
        ("forward", "v1.0.0", "v1.1.0", False, True),
        ("forward, named", "v1.0.0", "v1.1.0", True, False),
        ("to another build of the same version, named", "v1.0.0", "v1.0.0+b", True, True),
    ],
)
def test_what_a_rollback_left_is_no_target_unless_a_human_named_a_step_forward(
    rule: str, was: str, to: str, named: bool, rolled_back: bool
) -> None:
    after = environment(live=live(was), healthy=(live(to),)).gone_back(live(to, Colour.GREEN), named=named)
    assert after.rolled_back == ((live(was).release.revision,) if rolled_back else ()), rule


def test_where_nothing_was_live_going_back_leaves_nothing_behind() -> None:
    after = environment().gone_back(live("v1.0.0"))
    assert (after.live, after.rolled_back) == (live("v1.0.0"), ())


@pytest.mark.parametrize(
    ("before", "floor", "after"),
    [
        (None, "v1.1.0", "v1.1.0"),
        ("v1.0.0", "v1.1.0", "v1.1.0"),
        ("v1.2.0", "v1.1.0", "v1.2.0"),
        ("v1.1.0+a", "v1.1.0+b", "v1.1.0+a"),
    ],
)
def test_a_floor_only_rises(before: str | None, floor: str, after: str) -> None:
    assert environment(rollback_floor=before).with_floor(Version.parse(floor)).rollback_floor == after


@pytest.mark.parametrize(("of_apply", "kept"), [(slot_of("blue:9"), "blue:9"), (None, "green:1")])
def test_a_release_that_moves_keeps_its_definitions_without_an_apply_of_its_own(of_apply: Any, kept: str) -> None:
    was = live("v1.0.0", Colour.GREEN).model_copy(update={"slot": slot_of("green:1")})
    moved = was.moved_to(Colour.BLUE, HOUR, of_apply)
    assert (moved.release, moved.colour, moved.since, moved.definition) == (was.release, Colour.BLUE, HOUR, kept)


@pytest.mark.parametrize(("definition", "adopted"), [("theirs:7", "theirs:7"), ("blue:1", None)])
def test_only_a_foreign_definition_is_adopted(definition: str, adopted: str | None) -> None:
    was = live("v1.0.0").model_copy(update={"slot": slot_of("blue:1"), "adopted": "other:3"})
    assert was.adopting(definition).adopted == adopted
    assert was.adopting(definition).definition == definition
    assert live("v1.0.0").adopting("blue:1").adopted == "blue:1", "where none is known, all are foreign"


def test_a_rollback_s_target_is_known_by_what_was_registered_for_it() -> None:
    assert environment().starting_target(slot_of("blue:9")).rollback is None
    started = environment(rollback=INTENT).starting_target(slot_of("blue:9")).rollback
    assert started == INTENT.model_copy(update={"slot": slot_of("blue:9")})


@pytest.mark.parametrize(("since", "stands"), [(HOUR, HOUR), (None, NOON)])
def test_the_record_says_since_when_the_listener_was_written_last(since: datetime | None, stands: datetime) -> None:
    before = environment(weights=BLUE, weights_intent=GREEN, weights_since=NOON)
    after = before.carrying(GREEN, since=since)
    assert (after.weights, after.weights_intent, after.weights_since) == (GREEN, None, stands)


@pytest.mark.parametrize(
    ("rule", "was", "kept", "healthy"),
    [
        ("the same goes on", live("v1.0.0"), live("v1.0.0").adopting("theirs:7"), []),
        ("another one", live("v1.0.0"), live("v1.1.0", Colour.GREEN), ["v1.0.0"]),
        ("the first one", None, live("v1.1.0", Colour.GREEN), []),
        ("none", live("v1.0.0"), None, []),
        ("none, as before", None, None, []),
    ],
)
def test_a_human_s_answer_ends_the_freeze_with_what_runs_and_what_was_seen(
    rule: str, was: Live | None, kept: Live | None, healthy: list[str]
) -> None:
    before = environment(live=was, frozen=FROZEN, rollback=INTENT, weights=BLUE, weights_intent=BLUE)
    after = before.unfrozen(GREEN, kept)
    assert (after.live, after.frozen, after.rollback) == (kept, None, None), rule
    assert (after.weights, after.weights_intent) == (GREEN, None)
    assert [h.release.version for h in after.healthy] == healthy


@pytest.mark.parametrize(
    ("kept", "failure"), [(live("v1.0.0").adopting("theirs:7"), "v1.1.0 FAILED"), (live("v1.1.0", Colour.GREEN), None)]
)
def test_only_another_release_that_a_human_kept_ends_what_failed_last(kept: Live, failure: str | None) -> None:
    before = environment(live=live("v1.0.0"), frozen=FROZEN).with_failure("v1.1.0", "v1.1.0 FAILED")
    assert before.unfrozen(BLUE, kept).last_failure == failure


# --- the object in S3


def test_a_record_has_a_schema_version_and_survives_writing_and_reading() -> None:
    record = environment(live=live("v1.0.0"), weights=BLUE, fencing_token=3)
    text = record.model_dump_json(by_alias=True)
    assert '"schema":2' in text
    assert EnvironmentRecord.model_validate_json(text) == record


@pytest.mark.parametrize("text", ['{"schema": 3, "environment": "test"}', '{"schema": 1, "environment": "t", "x": 1}'])
def test_a_record_of_another_schema_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ValidationError):
        EnvironmentRecord.model_validate_json(text)
