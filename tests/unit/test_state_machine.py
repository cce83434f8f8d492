"""No sequence of events brings the record to an illegal state, whoever dies in between."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from core.admission import WantedRelease, admit
from core.colour import Colour
from core.errors import Permanent, Refused
from core.history import LEGAL_MOVES, Attempt, State, VersionRecord
from core.lease import LeaseVerdict, ask_to_stop, drop, is_ours, judge_lease, park, renew, take
from core.record import Live, Owner
from core.rollback import choose_target, may_interrupt
from core.version import Version
from tests.unit.facts import COMMIT, NOON, environment, owner, release

EXPIRY = 60.0
APPROVAL = 600.0
TAGS = ("v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0-rc.1")
IN_FLIGHT = tuple(s for s in State if not s.ended)
FORWARD = (
    State.PLANNED,
    State.APPLIED,
    State.MIGRATED,
    State.RUNNING,
    State.VERIFIED,
    State.AWAITING_APPROVAL,
    State.SHIFTING,
    State.BAKING,
)


class Environment(RuleBasedStateMachine):
    """One environment's records, changed as runs do it: by the holder, through core's functions, at any moment."""

    former = Bundle("former")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.record = environment()
        self.versions: dict[str, VersionRecord] = {}
        self.traces: dict[str, list[State]] = {}
        self.runs = 0
        self.highest_fence = 0
        self.leases: tuple[Owner, int] | None = None
        self.current: tuple[str, str] | None = None  # version and attempt of the release that holds
        self.superseded: dict[str, str] = {}  # flow run to version

    # --- how a run writes

    def attempt(self) -> Attempt:
        assert self.current is not None
        version, attempt_id = self.current
        found = self.versions[version].attempt(attempt_id)
        assert found is not None
        return found

    def write(self, version: str, changed: Attempt) -> None:
        self.versions[version] = self.versions[version].with_attempt(changed)
        self.traces[changed.id].append(changed.state)

    def step_to(self, to: State) -> None:
        assert self.current is not None
        self.write(self.current[0], self.attempt().moved(to))

    def go_on(self, until: State, approved: bool) -> None:
        """Walk the legal path to `until`, or to its end; through an approval or past it."""
        while (state := self.attempt().state) is not until:
            ways = [s for s in FORWARD if s in LEGAL_MOVES[state]]
            if not ways:
                return
            self.step_to(ways[0] if approved else ways[-1])

    def take(self, whose: Owner, version: str | None) -> None:
        self.record = take(self.record, whose, self.now, expiry=EXPIRY, version=version)
        self.leases = (whose, self.record.fencing_token)

    def give_back(self) -> None:
        assert self.leases is not None
        self.record = drop(self.record, *self.leases)
        self.leases = self.current = None

    def begin(self, run: str, attempt_id: str, version: str, configured: str) -> None:
        wish = WantedRelease(Version.parse(version), COMMIT, configured, run, allow_downgrade=True)
        admit(self.record, self.versions.get(version), wish)
        self.take(owner(run, attempt=attempt_id), version)
        candidate = self.record.live.colour.other if self.record.live else Colour.GREEN
        fresh = Attempt(
            id=attempt_id,
            flow_run_id=run,
            started_at=self.now,
            release=release(version, variables={"LOG": configured}),
            colour=candidate,
        )
        history = self.versions.get(version) or VersionRecord(environment="test", version=version, commit=COMMIT)
        self.versions[version] = history.with_attempt(fresh)
        self.traces[attempt_id] = [fresh.state]
        self.current = (version, attempt_id)

    @property
    def parked(self) -> bool:
        return self.record.lease is not None and self.record.lease.parked_until is not None

    def works(self) -> bool:
        return self.leases is not None and self.current is not None and not self.parked

    def judged(self, whose: Owner, *, dead: bool = False) -> LeaseVerdict:
        return judge_lease(self.record, whose, self.now, owner_dead=dead)

    # --- releases

    @precondition(lambda self: self.leases is None)
    @rule(version=st.sampled_from(TAGS), configured=st.sampled_from("ab"), until=st.sampled_from(IN_FLIGHT))
    def begin_attempt(self, version: str, configured: str, until: State) -> None:
        self.runs += 1
        run = f"run-{self.runs}"
        assert self.judged(owner(run)) is LeaseVerdict.FREE
        self.begin(run, f"{run}-1", version, configured)
        self.go_on(until, until is State.AWAITING_APPROVAL)

    @precondition(works)
    @rule(until=st.sampled_from(FORWARD), approved=st.booleans())
    def legal_events(self, until: State, approved: bool) -> None:
        self.go_on(until, approved)

    @precondition(works)
    @rule(to=st.sampled_from(State))
    def illegal_event(self, to: State) -> None:
        before = self.attempt()
        if to not in LEGAL_MOVES[before.state]:
            with pytest.raises(Permanent, match=f"cannot move from {before.state} to {to}"):
                before.moved(to)
            assert self.attempt() == before

    @precondition(works)
    @rule(version=st.sampled_from(TAGS))
    def second_attempt_beside_it(self, version: str) -> None:
        assert self.current is not None
        history = self.versions.get(version)
        if version == self.current[0] and history is not None:
            with pytest.raises(Permanent):
                history.with_attempt(Attempt(id="other-1", flow_run_id="other", started_at=self.now))

    @precondition(works)
    @rule()
    def fail(self) -> None:
        self.step_to(State.FAILED)
        self.give_back()

    @precondition(works)
    @rule()
    def abort(self) -> None:
        assert self.leases is not None
        self.record = ask_to_stop(self.record, "an operator", "cancel", self.now)
        self.record = renew(self.record, *self.leases, self.now, expiry=EXPIRY)
        assert self.record.lease is not None
        assert self.record.lease.stop is not None
        self.step_to(State.ABORTED)
        self.give_back()

    @precondition(works)
    @rule(approved=st.booleans())
    def go_live(self, approved: bool) -> None:
        self.go_on(State.BAKING, approved)
        made = self.attempt()
        assert made.release is not None
        assert made.colour is not None
        self.record = self.record.gone_live(Live(release=made.release, colour=made.colour, since=self.now))
        self.step_to(State.HEALTHY)
        self.give_back()

    @precondition(lambda self: self.leases is None)
    @rule(
        version=st.sampled_from(TAGS),
        forced=st.booleans(),
    )
    def retry(self, version: str, forced: bool) -> None:
        history = self.versions.get(version)
        if history is None:
            return
        last = history.attempts[-1]
        run, attempt_id = last.flow_run_id, f"{last.flow_run_id}-{len(history.attempts) + 1}{'f' if forced else ''}"
        if run in self.superseded:
            with pytest.raises(Refused, match="was superseded"):
                self.begin(run, attempt_id, version, "a")
        elif last.state in (State.FAILED, State.ABORTED) and attempt_id not in self.traces:
            self.begin(run, attempt_id, version, "a")

    # --- rollbacks

    @precondition(lambda self: self.leases is None and self.record.live is not None)
    @rule(named=st.none() | st.sampled_from(TAGS))
    def roll_back(self, named: str | None) -> None:
        leaving = self.record.live
        assert leaving is not None
        try:
            target = choose_target(self.record, named)
        except Refused:
            return
        assert target.release.revision != leaving.release.revision
        assert named is not None or target.release.revision not in self.record.rolled_back
        self.runs += 1
        self.take(owner(f"run-{self.runs}", flow="rollback"), named)
        self.record = self.record.gone_back(
            target.model_copy(update={"colour": leaving.colour.other}), named=named is not None
        )
        for version, current, to in (
            (leaving.release.version, State.HEALTHY, State.ROLLED_BACK),
            (target.release.version, State.ROLLED_BACK, State.HEALTHY),
        ):
            last = next((a for a in reversed(self.versions[version].attempts) if a.state is current), None)
            if last is not None:
                self.write(version, last.moved(to))
        self.give_back()

    @precondition(works)
    @rule(wish=st.sampled_from([None, True, False]))
    def ask_for_a_rollback(self, wish: bool | None) -> None:
        lease, state = self.record.lease, self.attempt().state
        assert lease is not None
        allowed = wish if wish is not None else state in (State.SHIFTING, State.BAKING)
        if allowed:
            may_interrupt("test", lease, state, wish)
        else:
            with pytest.raises(Refused):
                may_interrupt("test", lease, state, wish)

    # --- the hold

    @precondition(works)
    @rule(after=st.floats(0, EXPIRY - 1))
    def renew(self, after: float) -> None:
        assert self.leases is not None
        self.now += timedelta(seconds=after)
        self.record = renew(self.record, *self.leases, self.now, expiry=EXPIRY, step="any")

    @precondition(lambda self: self.works() and self.attempt().state is State.AWAITING_APPROVAL)
    @rule()
    def park(self) -> None:
        assert self.leases is not None
        until = self.now + timedelta(seconds=APPROVAL)
        self.record = park(self.record, *self.leases, until)

    @precondition(lambda self: self.parked)
    @rule(answer_after=st.floats(0, APPROVAL * 1.2))
    def resume(self, answer_after: float) -> None:
        assert self.leases is not None
        self.now += timedelta(seconds=answer_after)
        before = self.leases[0]
        process = before.model_copy(update={"pid": before.pid + 1})
        verdict = self.judged(process)
        if answer_after >= APPROVAL:
            assert verdict is LeaseVerdict.ABANDONED
        elif verdict is LeaseVerdict.RESUMED:
            assert self.current is not None
            self.take(process, self.current[0])

    @precondition(lambda self: self.parked)
    @rule(target=former)
    def supersede(self) -> tuple[Owner, int]:
        assert self.leases is not None
        assert self.current is not None
        lost = self.leases
        self.runs += 1
        newer = owner(f"run-{self.runs}")
        assert self.judged(newer) in (LeaseVerdict.PARKED, LeaseVerdict.ABANDONED)
        self.take(newer, None)
        self.superseded[lost[0].flow_run_id] = self.current[0]
        self.step_to(State.SUPERSEDED)
        self.give_back()
        return lost

    @precondition(works)
    @rule(target=former, dead=st.booleans())
    def lose_the_process(self, dead: bool) -> tuple[Owner, int]:
        """Its heartbeat stops; whoever finds the hold expired, or its owner proven dead, settles the attempt."""
        assert self.leases is not None
        lost = self.leases
        self.runs += 1
        finder = owner(f"run-{self.runs}", flow="reconcile")
        assert self.judged(finder) in (LeaseVerdict.HELD, LeaseVerdict.ABANDONED)
        if not dead:
            assert self.record.lease is not None
            self.now = max(self.now, self.record.lease.expires_at)
        assert self.judged(finder, dead=dead) is LeaseVerdict.ABANDONED
        self.take(finder, None)
        self.step_to(State.FAILED)
        self.give_back()
        return lost

    @rule(lost=former)
    def who_was_taken_over_comes_back(self, lost: tuple[Owner, int]) -> None:
        before = self.record
        assert not is_ours(self.record, *lost)
        with pytest.raises(Refused, match="no longer ours"):
            renew(self.record, *lost, self.now, expiry=EXPIRY)
        with pytest.raises(Refused, match="no longer ours"):
            park(self.record, *lost, self.now)
        assert drop(self.record, *lost) == before

    # --- what always holds

    @invariant()
    def every_attempt_went_by_the_table(self) -> None:
        for trace in self.traces.values():
            for current, to in pairwise(trace):
                assert to in LEGAL_MOVES[current]

    @invariant()
    def every_state_has_a_way_out(self) -> None:
        for history in self.versions.values():
            assert history.state is not None
            assert LEGAL_MOVES[history.state]

    @invariant()
    def at_most_one_attempt_is_in_flight_and_the_environment_is_held_for_it(self) -> None:
        in_flight = [a.id for h in self.versions.values() for a in h.attempts if not a.state.ended]
        assert len(in_flight) <= 1
        if in_flight:
            assert self.record.lease is not None
            assert self.record.lease.owner.attempt == in_flight[0]

    @invariant()
    def at_most_one_is_live_and_it_is_no_target(self) -> None:
        revisions = [h.release.revision for h in self.record.healthy]
        assert len(revisions) == len(set(revisions))
        if self.record.live is not None:
            assert self.record.live.release.revision not in revisions
            assert self.record.live.release.revision not in self.record.rolled_back
            history = self.versions[self.record.live.release.version]
            assert any(a.state is State.HEALTHY for a in history.attempts)

    @invariant()
    def the_fence_only_rises(self) -> None:
        assert self.record.fencing_token >= self.highest_fence
        self.highest_fence = self.record.fencing_token
        if self.record.lease is not None:
            assert self.record.lease.fencing_token == self.record.fencing_token


Environment.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
test_no_sequence_of_events_reaches_an_illegal_state = Environment.TestCase
