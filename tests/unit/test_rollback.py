"""Where a rollback may go, and whom it may interrupt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.colour import Colour
from core.errors import Refused
from core.history import State
from core.record import EnvironmentRecord
from core.rollback import choose_target, may_interrupt
from tests.unit.facts import FROZEN, environment, lease_of, live, owner

V1, V2, V3 = live("v1.0.0"), live("v1.1.0", Colour.GREEN), live("v1.2.0")
V2_BEFORE = live("v1.1.0", Colour.GREEN, variables={"LOG": "old"})


def record(**facts: Any) -> EnvironmentRecord:
    return environment(**{"live": V3, "healthy": (V1, V2), **facts})


@pytest.mark.parametrize(
    ("rule", "facts", "to_version", "target"),
    [
        ("the last healthy one", {}, None, V2),
        ("a named one", {}, "v1.0.0", V1),
        ("past what was rolled back from", {"rolled_back": (V2.release.revision,)}, None, V1),
        ("what was rolled back from, if named", {"rolled_back": (V2.release.revision,)}, "v1.1.0", V2),
        ("forward by name", {"live": V1, "healthy": (V2, V3), "rolled_back": (V3.release.revision,)}, "v1.2.0", V3),
        ("the newest revision of a named version", {"healthy": (V2_BEFORE, V2)}, "v1.1.0", V2),
        ("the last revision before, of the same version", {"live": V2, "healthy": (V1, V2_BEFORE)}, None, V2_BEFORE),
        ("on the floor", {"rollback_floor": "v1.1.0"}, None, V2),
    ],
)
def test_a_rollback_goes_to_a_healthy_release(
    rule: str, facts: dict[str, Any], to_version: str | None, target: object
) -> None:
    assert choose_target(record(**facts), to_version) == target, rule


@pytest.mark.parametrize(
    ("facts", "to_version", "what", "why"),
    [
        pytest.param(
            {"live": None, "healthy": ()}, None, "Nothing is live in test", "ever been healthy", id="none live"
        ),
        pytest.param(
            {"healthy": ()}, None, "test has no healthy predecessor of v1.2.0", "healthy before: none", id="first"
        ),
        pytest.param(
            {"rolled_back": (V1.release.revision, V2.release.revision)},
            None,
            "test has no healthy predecessor of v1.2.0",
            "rolled back from: v1.0.0, v1.1.0",
            id="all left behind",
        ),
        pytest.param({}, "v0.9.0", "v0.9.0 was never healthy in test", "v1.1.0, v1.0.0", id="never healthy"),
        pytest.param({}, "v1.2.0", "v1.2.0 is already live in test", "", id="live already"),
        pytest.param(
            {"rollback_floor": "v1.1.0"},
            "v1.0.0",
            "v1.0.0 is below the rollback floor v1.1.0",
            "never migrated down",
            id="named, below the floor",
        ),
        pytest.param(
            {"rollback_floor": "v1.2.0"},
            None,
            "v1.1.0 is below the rollback floor v1.2.0",
            "schema",
            id="the last one is below the floor",
        ),
        pytest.param({"frozen": FROZEN}, None, "test is frozen", "blue 50, green 50", id="frozen"),
        pytest.param({"frozen": FROZEN}, "v1.0.0", "test is frozen", "blue 50, green 50", id="frozen, named"),
        pytest.param({}, "1.0.0", "'1.0.0' is not a valid version tag", "SemVer", id="no version"),
    ],
)
def test_a_rollback_is_refused_with_the_reason(
    facts: dict[str, Any], to_version: str | None, what: str, why: str
) -> None:
    with pytest.raises(Refused) as refusal:
        choose_target(record(**facts), to_version)
    assert refusal.value.what == what
    assert why in refusal.value.why
    assert refusal.value.do


# --- rolling back twice never ping-pongs


def rolled_back(before: EnvironmentRecord, to_version: str | None = None) -> EnvironmentRecord:
    assert before.live is not None
    target = choose_target(before, to_version)
    back = target.model_copy(update={"colour": before.live.colour.other})
    return before.gone_back(back, named=to_version is not None)


def released(*versions: tuple[str, str]) -> EnvironmentRecord:
    now = environment()
    for version, config in versions:
        colour = now.live.colour.other if now.live else Colour.BLUE
        now = now.gone_live(live(version, colour, variables={"LOG": config}))
    return now


def test_rolling_back_twice_goes_back_twice() -> None:
    once = rolled_back(released(("v1.0.0", "a"), ("v1.1.0", "a"), ("v1.2.0", "a")))
    twice = rolled_back(once)
    assert [r.live.release.version for r in (once, twice) if r.live] == ["v1.1.0", "v1.0.0"]
    with pytest.raises(Refused, match="no healthy predecessor"):
        choose_target(twice, None)


def test_after_a_rollback_the_version_left_is_skipped_by_a_later_one() -> None:
    back = rolled_back(released(("v1.0.0", "a"), ("v1.1.0", "a")))
    again = back.gone_live(live("v1.2.0", Colour.GREEN))
    assert choose_target(again, None).release.version == "v1.0.0"


def test_a_configuration_rolled_back_from_is_no_target_again() -> None:
    back = rolled_back(released(("v1.0.0", "good"), ("v1.0.0", "bad")))
    assert back.live is not None
    assert back.live.release.configuration.variables == {"LOG": "good"}
    with pytest.raises(Refused, match="no healthy predecessor"):
        choose_target(back, None)


def test_a_downgrade_rolled_back_from_is_no_target_again() -> None:
    back = rolled_back(released(("v1.1.0", "a"), ("v1.0.0", "a")))
    assert back.live is not None
    assert back.live.release.version == "v1.1.0"
    with pytest.raises(Refused, match="no healthy predecessor"):
        choose_target(back, None)


def test_a_version_left_behind_is_a_target_again_once_named_and_left() -> None:
    forward = rolled_back(rolled_back(released(("v1.0.0", "a"), ("v1.1.0", "a"))), "v1.1.0")
    assert forward.rolled_back == ()
    assert choose_target(forward, None).release.version == "v1.0.0"


RELEASES = st.lists(
    st.tuples(st.sampled_from(["v1.0.0", "v1.0.0+a", "v1.1.0", "v1.2.0"]), st.sampled_from("ab")),
    min_size=1,
    max_size=6,
)


@given(RELEASES)
def test_rollbacks_without_a_name_never_reach_a_release_twice(releases: list[tuple[str, str]]) -> None:
    now = released(*releases)
    assert now.live is not None
    seen = [now.live.release.revision]
    for _ in releases:
        try:
            now = rolled_back(now)
        except Refused:
            return
        assert now.live is not None
        assert now.live.release.revision not in seen
        seen.append(now.live.release.revision)


# --- whom a rollback may interrupt

RELEASE = lease_of(owner(), version="v1.2.0", step="apply")
BEFORE_TRAFFIC = [s for s in State if s not in (State.SHIFTING, State.BAKING)]


@pytest.mark.parametrize("state", [State.SHIFTING, State.BAKING])
@pytest.mark.parametrize("asked", [None, True])
def test_a_release_is_interrupted_while_traffic_is_at_stake(state: State, asked: bool | None) -> None:
    may_interrupt("test", RELEASE, state, asked)


@pytest.mark.parametrize("state", [*BEFORE_TRAFFIC, None])
def test_a_release_is_interrupted_earlier_only_on_wish(state: State | None) -> None:
    may_interrupt("test", RELEASE, state, True)
    with pytest.raises(Refused, match=r"v1\.2\.0 is in flight in test") as refusal:
        may_interrupt("test", RELEASE, state, None)
    assert "abort_in_flight" in refusal.value.do


@pytest.mark.parametrize("state", [*State, None])
def test_a_release_is_never_interrupted_against_the_wish(state: State | None) -> None:
    with pytest.raises(Refused, match="abort_in_flight"):
        may_interrupt("test", RELEASE, state, False)


@pytest.mark.parametrize("flow", ["rollback", "provision", "reconcile", "retire", "destroy"])
@pytest.mark.parametrize("asked", [None, True, False])
def test_nothing_but_a_release_is_interrupted(flow: str, asked: bool | None) -> None:
    with pytest.raises(Refused, match=f"test is held by {flow}"):
        may_interrupt("test", lease_of(owner(flow=flow), version=None), State.SHIFTING, asked)


def test_who_is_not_interrupted_is_told_with_version_and_stage() -> None:
    lease = lease_of(owner(flow="rollback"), version="v1.0.0", step="return")
    with pytest.raises(Refused, match=r"test is held by rollback v1\.0\.0: it is at return\. ") as refusal:
        may_interrupt("test", lease, State.SHIFTING, True)
    assert refusal.value.do
    with pytest.raises(Refused, match=r"test is held by provision: "):
        may_interrupt("test", lease_of(owner(flow="provision"), version=None), State.SHIFTING, True)
    with pytest.raises(Refused, match=r"v1\.2\.0 is in flight in test: it is at apply"):
        may_interrupt("test", RELEASE, State.PLANNED, None)


def test_where_nothing_was_left_behind_the_refusal_says_none() -> None:
    with pytest.raises(Refused, match="healthy before: none; rolled back from: none"):
        choose_target(record(healthy=()), None)
