"""May this tag be released here, now? Each refusal says what, why and what to do instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admission import Admission, Turn, WantedRelease, admit, refuse_prerelease, whose_turn
from core.errors import Refused
from core.history import State, VersionRecord
from core.record import EnvironmentRecord
from core.version import Version
from tests.unit.facts import COMMIT, FROZEN, attempt, configuration, environment, live, release, waiter

MOVED = "dead" * 10
DIGEST = configuration().digest
LIVE = environment(live=live("v1.1.0"))
FLOORED = environment(live=live("v1.1.0"), rollback_floor="v1.2.0")


def wanted(version: str = "v1.1.0", **facts: Any) -> WantedRelease:
    return WantedRelease(
        **{
            "version": Version.parse(version),
            "commit": COMMIT,
            "configuration_digest": DIGEST,
            "flow_run_id": "run-1",
            **facts,
        }
    )


def history(version: str = "v1.1.0", commit: str = COMMIT, *states: tuple[str, State]) -> VersionRecord:
    tries = tuple(attempt(state, run) for run, state in states)
    return VersionRecord(environment="test", version=version, commit=commit, attempts=tries)


@pytest.mark.parametrize(
    ("rule", "record", "known", "wish", "admission"),
    [
        ("the first release", environment(), None, wanted(), Admission.PROCEED),
        ("a newer version", LIVE, None, wanted("v1.2.0"), Admission.PROCEED),
        ("another build of the live version is not older", LIVE, None, wanted("v1.1.0+b"), Admission.PROCEED),
        ("a newer pre-release", LIVE, None, wanted("v1.2.0-rc.1"), Admission.PROCEED),
        ("live already", LIVE, history(), wanted(), Admission.ALREADY_LIVE),
        ("another configuration", LIVE, history(), wanted(configuration_digest="new"), Admission.PROCEED),
        (
            "live already by its name, with a commit that nobody knows",
            environment(live=live("v1.1.0", commit="")),
            None,
            wanted(),
            Admission.PROCEED,
        ),
        (
            "live already, adopted and never released from here",
            environment(live=live("v1.1.0").adopting("arn:aws:ecs:eu-west-1:123456789012:task-definition/theirs:3")),
            None,
            wanted(),
            Admission.PROCEED,
        ),
        ("on the rollback floor", FLOORED, None, wanted("v1.2.0"), Admission.PROCEED),
        ("an older version on wish", LIVE, None, wanted("v1.0.0", allow_downgrade=True), Admission.PROCEED),
        (
            "live already, downgrade allowed",
            LIVE,
            history(),
            wanted(allow_downgrade=True),
            Admission.ALREADY_LIVE,
        ),
        (
            "a failed version again",
            LIVE,
            history("v1.2.0", COMMIT, ("run-0", State.FAILED)),
            wanted("v1.2.0"),
            Admission.PROCEED,
        ),
        ("its commit not known at first", LIVE, history("v1.2.0", ""), wanted("v1.2.0"), Admission.PROCEED),
        (
            "another run of it was superseded",
            LIVE,
            history("v1.2.0", COMMIT, ("run-0", State.SUPERSEDED)),
            wanted("v1.2.0"),
            Admission.PROCEED,
        ),
    ],
)
def test_a_wish_is_admitted(
    rule: str, record: EnvironmentRecord, known: VersionRecord | None, wish: WantedRelease, admission: Admission
) -> None:
    assert admit(record, known, wish) is admission, rule


@pytest.mark.parametrize(
    ("record", "known", "wish", "what", "why", "do"),
    [
        pytest.param(
            environment(live=live("v1.1.0"), frozen=FROZEN),
            None,
            wanted("v1.2.0"),
            "test is frozen",
            "the production listener carries blue 50, green 50",
            "python -m flows unfreeze test --keep blue|green",
            id="frozen",
        ),
        pytest.param(
            environment(live=live("v1.1.0"), frozen=FROZEN),
            history(),
            wanted(),
            "test is frozen",
            "blue 50, green 50",
            "unfreeze",
            id="frozen though live already",
        ),
        pytest.param(
            environment(infrastructure=None),
            None,
            wanted(),
            "test has no infrastructure yet",
            "its record has none",
            "prefect deployment run provision/test",
            id="not provisioned",
        ),
        pytest.param(
            LIVE,
            history("v1.2.0", MOVED),
            wanted("v1.2.0"),
            "The tag v1.2.0 moved",
            f"it was first seen at {MOVED[:12]} and now points to {COMMIT[:12]}",
            "give the new commit a new tag",
            id="moved",
        ),
        pytest.param(
            LIVE,
            history("v1.0.0", MOVED),
            wanted("v1.0.0", allow_downgrade=True),
            "The tag v1.0.0 moved",
            "now points to",
            "new tag",
            id="moved, always",
        ),
        pytest.param(
            LIVE,
            history("v1.1.0", MOVED),
            wanted(commit=COMMIT),
            "The tag v1.1.0 moved",
            "now points to",
            "new tag",
            id="moved while live",
        ),
        pytest.param(
            LIVE,
            None,
            wanted(commit=MOVED),
            "The tag v1.1.0 moved",
            COMMIT[:12],
            "new tag",
            id="moved away from the live release, its history lost",
        ),
        pytest.param(
            LIVE,
            None,
            wanted("v1.0.9"),
            "v1.0.9 is older than the live v1.1.0",
            "releasing it would move traffic to an older version",
            "prefect deployment run rollback/test",
            id="older",
        ),
        pytest.param(
            LIVE,
            None,
            wanted("v1.1.0-rc.9"),
            "v1.1.0-rc.9 is older than the live v1.1.0",
            "to an older version",
            "allow_downgrade",
            id="older pre-release",
        ),
        pytest.param(
            LIVE,
            history("v1.2.0", COMMIT, ("run-1", State.SUPERSEDED)),
            wanted("v1.2.0"),
            "v1.2.0 was superseded",
            "a newer version took its place",
            "Push a newer tag",
            id="superseded run",
        ),
        pytest.param(
            LIVE,
            history("v1.2.0", COMMIT, ("run-1", State.SUPERSEDED), ("run-2", State.FAILED)),
            wanted("v1.2.0", allow_downgrade=True),
            "v1.2.0 was superseded",
            "newer version",
            "start a new run",
            id="superseded run, retried late",
        ),
        pytest.param(
            FLOORED,
            None,
            wanted("v1.1.9"),
            "v1.1.9 is below the rollback floor v1.2.0",
            "schema no longer serves",
            "works with this schema",
            id="below the floor",
        ),
        pytest.param(
            FLOORED,
            None,
            wanted("v1.0.0", allow_downgrade=True),
            "v1.0.0 is below the rollback floor v1.2.0",
            "schema no longer serves",
            "works with this schema",
            id="below the floor, downgrade allowed",
        ),
    ],
)
def test_a_wish_is_refused_with_what_why_and_what_to_do(
    record: EnvironmentRecord, known: VersionRecord | None, wish: WantedRelease, what: str, why: str, do: str
) -> None:
    with pytest.raises(Refused) as refusal:
        admit(record, known, wish)
    assert refusal.value.what == what
    assert why in refusal.value.why
    assert do in refusal.value.do


# --- announced again, and pre-releases

LEFT = release("v1.2.0")
AFTER_ROLLBACK = environment(live=live("v1.1.0"), rolled_back=(LEFT.revision,))
LEFT_HISTORY = VersionRecord(
    environment="test",
    version="v1.2.0",
    commit=COMMIT,
    attempts=(attempt(State.ROLLED_BACK, "run-0", release=LEFT),),
)


@pytest.mark.parametrize(
    ("rule", "record", "wish"),
    [
        ("by hand", AFTER_ROLLBACK, wanted("v1.2.0")),
        ("the same run, retried", AFTER_ROLLBACK, wanted("v1.2.0", announced=True, flow_run_id="run-0")),
        ("not left behind", LIVE, wanted("v1.2.0", announced=True)),
    ],
)
def test_a_version_that_was_rolled_back_from_comes_back_by_a_human(
    rule: str, record: EnvironmentRecord, wish: WantedRelease
) -> None:
    assert admit(record, LEFT_HISTORY, wish) is Admission.PROCEED, rule


def test_a_version_that_was_rolled_back_from_does_not_come_back_by_a_repeated_delivery() -> None:
    with pytest.raises(Refused, match=r"v1\.2\.0 was rolled back from: .*release/test --param tag=v1\.2\.0"):
        admit(AFTER_ROLLBACK, LEFT_HISTORY, wanted("v1.2.0", announced=True))


@pytest.mark.parametrize(
    ("tag", "allowed"), [("v1.2.0", False), ("v1.2.0+rc.1", False), ("v1.2.0-rc.1", True), ("v1.2.0", True)]
)
def test_a_version_that_the_environment_takes_is_not_refused(tag: str, allowed: bool) -> None:
    refuse_prerelease(Version.parse(tag), "test", allowed=allowed)


@pytest.mark.parametrize("tag", ["v2.0.0-rc.1", "v2.0.0-0", "v2.0.0-rc.1+build"])
def test_a_pre_release_is_refused_where_the_file_does_not_ask_for_it(tag: str) -> None:
    with pytest.raises(Refused, match=r"is a pre-release: test does not accept pre-releases.*prereleases = true"):
        refuse_prerelease(Version.parse(tag), "test", allowed=False)


# --- whose turn it is


@pytest.mark.parametrize(
    ("rule", "others", "in_order", "turn"),
    [
        ("alone", [], False, Turn.GO),
        ("alone, in order", [], True, Turn.GO),
        ("a newer one waits", [("v1.3.0", 99)], False, Turn.SUPERSEDED),
        ("a newer one came first", [("v1.3.0", -99)], False, Turn.SUPERSEDED),
        ("only older ones wait", [("v1.1.0", 99), ("v1.0.0", -99)], False, Turn.GO),
        ("one newer among older", [("v1.1.0", 1), ("v1.10.0", 2)], False, Turn.SUPERSEDED),
        ("its release waits, this is a pre-release's end", [("v1.2.0-rc.1", 9)], False, Turn.GO),
        ("the same version later", [("v1.2.0", 9)], False, Turn.SUPERSEDED),
        ("the same version earlier", [("v1.2.0", -9)], False, Turn.GO),
        ("in order, another came first", [("v1.3.0", -9)], True, Turn.WAIT),
        ("in order, an older version came first", [("v1.0.0", -9)], True, Turn.WAIT),
        ("in order, the others came later", [("v1.3.0", 9), ("v1.0.0", 9)], True, Turn.GO),
    ],
)
def test_of_those_that_wait_the_newest_goes_or_each_in_its_order(
    rule: str, others: list[tuple[str, float]], in_order: bool, turn: Turn
) -> None:
    me = waiter("v1.2.0", "me")
    queue = [me, *(waiter(version, f"run-{n}", queued=queued) for n, (version, queued) in enumerate(others))]
    assert whose_turn(queue, me, in_order=in_order) is turn, rule


WAITERS = st.lists(
    st.builds(
        lambda version, queued: (version, float(queued)),
        st.sampled_from(["v1.0.0", "v1.0.0+a", "v1.0.0+b", "v1.1.0-rc.1", "v1.1.0", "v2.0.0"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@given(WAITERS, st.booleans())
def test_somebody_always_goes_and_it_is_never_an_older_one(queue: list[tuple[str, float]], in_order: bool) -> None:
    waiting = [waiter(version, f"run-{n}", queued=queued) for n, (version, queued) in enumerate(queue)]
    going = [w for w in waiting if whose_turn(waiting, w, in_order=in_order) is Turn.GO]
    assert going
    if not in_order:
        newest = max(waiting, key=lambda w: Version.parse(w.version)._precedence)
        assert all(not Version.parse(w.version) < Version.parse(newest.version) for w in going)
