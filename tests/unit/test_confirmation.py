"""Answers of a release on every address: slow ones are right ones, and no probe undoes a rollback."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent
from core.history import State
from core.record import RollbackIntent
from core.smoke import Streak
from flows.retire import retire_old_colour
from lifecycle import finish_rollback as finishing
from lifecycle.acquire import take_at_once
from lifecycle.finish_rollback import finish_rollback
from operation.lease import now
from operation.operation import Operation
from operation.weights import see_winner, see_winner_if_recent
from systems.http import Endpoint
from tests.unit.adapters import abort, probe_release
from tests.unit.facts import NOON, definition_of, live, owner, release, settings_with, slot_of
from tests.unit.fakes import FakeAws, operation_of
from tests.unit.servers import Handler, Servers, as_release

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NEW, OLD = release("v1.1.0"), release("v1.0.0")
BLUE, GREEN = Weights.all_on(Colour.BLUE), Weights.all_on(Colour.GREEN)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """A load balancer's three addresses behind one name."""
    made = Servers(*ADDRESSES)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, made.port)) for address in ADDRESSES]
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return found if str(host).endswith("example.com") else real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield made
    made.close()


def endpoint(servers: Servers) -> Endpoint:
    return Endpoint("http", "shop.example.com", servers.port)


def run_on(aws: FakeAws, servers: Servers, **timing: str) -> Operation:
    """A run whose production listener has the three addresses."""
    settings = settings_with(f"[ports]\nproduction = {servers.port}\n[traffic]\nanswers = 3\n", **timing)
    made = operation_of(aws, settings, owner("run-2", pid=9))
    take_at_once(made)
    return made


@pytest.fixture
def run(operation: Operation, aws: FakeAws, servers: Servers) -> Iterator[Operation]:
    operation.lease.drop()
    made = run_on(aws, servers)
    yield made
    made.lease.stop_heartbeat()


# --- patience


@pytest.mark.parametrize(
    ("rule", "answers", "streak"),
    [
        ("right answers cost nothing, however slow", [(True, 100), (True, 200)], Streak(200, 2, 100, 0)),
        ("a wrong one costs the time since the last right one", [(True, 100), (False, 103)], Streak(103, 0, 0, 3)),
        ("wrong ones add up", [(False, 2), (True, 50), (False, 51)], Streak(51, 0, 0, 3)),
        ("and begin the row anew", [(True, 1), (False, 2), (True, 9)], Streak(9, 1, 9, 1)),
    ],
)
def test_only_wrong_answers_cost_patience(rule: str, answers: list[tuple[bool, float]], streak: Streak) -> None:
    now = Streak(0.0)
    for right, at in answers:
        now = now.after(right=right, now=at)
    assert now == streak, rule


def test_slow_right_answers_on_three_addresses_are_right(run: Operation, servers: Servers) -> None:
    servers.answer(as_release(NEW, after=0.04))  # three addresses, three answers: far beyond `confirm`
    assert probe_release(run, endpoint(servers), NEW, patience=0.05) == 9


def test_each_address_has_patience_of_its_own(run: Operation, servers: Servers) -> None:
    asked = itertools.count()

    def late(handler: Handler) -> None:
        as_release(OLD if next(asked) < 2 else NEW)(handler)

    servers.answer(late)
    assert probe_release(run, endpoint(servers), NEW, patience=5) == 11


def test_one_address_that_never_answers_rightly_is_named(run: Operation, servers: Servers) -> None:
    servers.answer(as_release(NEW))
    servers.answer(as_release(OLD), "127.0.0.3")
    with pytest.raises(Permanent, match=r"at 127\.0\.0\.3, got v1\.0\.0"):
        probe_release(run, endpoint(servers), NEW, patience=0.1)


def test_answers_that_change_for_ever_end_too(run: Operation, servers: Servers) -> None:
    turn = [0]

    def by_turns(handler: Handler) -> None:
        turn[0] += 1
        as_release(NEW if turn[0] % 2 else OLD)(handler)

    servers.answer(by_turns)
    with pytest.raises(Permanent):
        probe_release(run, endpoint(servers), NEW, patience=0.1)


# --- what lost its weight is stopped late


def test_the_loser_is_not_stopped_before_every_address_answers_from_the_winner(
    operation: Operation, aws: FakeAws, servers: Servers
) -> None:
    operation.lease.drop()
    run = run_on(aws, servers, weights_settle="0.1", confirm="5")
    began = time.monotonic()

    def behind(handler: Handler) -> None:
        as_release(OLD if time.monotonic() - began > 0.3 else NEW)(handler)

    servers.answer(as_release(OLD))
    servers.answer(behind, "127.0.0.2")
    see_winner(run, Colour.BLUE)
    run.lease.stop_heartbeat()
    assert time.monotonic() - began >= 0.4
    assert all(servers.asked(address) for address in ADDRESSES)


def test_weights_that_were_written_long_ago_are_not_waited_for(
    operation: Operation, aws: FakeAws, servers: Servers
) -> None:
    operation.records.change_environment(lambda r: r.carrying(BLUE, since=NOON))
    see_winner_if_recent(operation, Colour.BLUE)
    assert servers.asked("127.0.0.1") == 0


def failed_release(operation: Operation, aws: FakeAws, run: Operation) -> None:
    """A release of `operation` that shifted, and that `run` settles."""
    for state in (State.PLANNED, State.APPLIED, State.MIGRATED, State.RUNNING, State.VERIFIED, State.SHIFTING):
        operation.journal.advance(state)
    aws.ecs.desired["shop-test-green"] = 1
    run.records.change_environment(lambda r: r.carrying(GREEN, since=now()))
    aws.elbv2.weights = GREEN


@pytest.mark.parametrize(
    ("steps", "answering", "left"),
    [
        pytest.param(("vacate", "shift"), OLD, 0, id="home everywhere"),
        pytest.param(("vacate", "shift"), NEW, 1, id="one node is still behind"),
        pytest.param(("vacate",), NEW, 0, id="it never had weight"),
    ],
)
def test_a_candidate_is_stopped_once_no_address_sends_requests_to_it(
    operation: Operation, aws: FakeAws, servers: Servers, steps: tuple[str, ...], answering: object, left: int
) -> None:
    for name in steps:
        with operation.journal.step(name, "said") as step:
            step.done("said")
    attempt = operation.journal.attempt
    operation.lease.stop_heartbeat()
    operation.records.change_environment(lambda r: r.model_copy(update={"lease": None}))
    run = run_on(aws, servers)
    failed_release(operation, aws, run)
    servers.answer(as_release(OLD))
    servers.answer(as_release(answering), "127.0.0.3")  # type: ignore[arg-type]
    settled = abort(run, Ending(State.FAILED, "confirm", "said"), attempt)
    run.lease.stop_heartbeat()
    assert settled.complete
    assert aws.elbv2.weights == BLUE
    assert aws.ecs.desired["shop-test-green"] == left
    assert ("left running" in settled.traffic) is bool(left)


def test_a_slot_that_was_left_running_is_retired_once_every_address_answers(
    operation: Operation, aws: FakeAws, servers: Servers
) -> None:
    """What was live may long be older than the rollback window, so the next look of `retire` stops it."""
    operation.lease.stop_heartbeat()
    operation.records.change_environment(lambda r: r.model_copy(update={"lease": None}))
    aws.ecs.desired["shop-test-green"] = 1
    servers.answer(as_release(OLD))
    servers.answer(as_release(NEW), "127.0.0.3")
    run = run_on(aws, servers)
    run.lease.drop()
    with pytest.raises(Permanent, match=r"green slot was left running: .* at 127\.0\.0\.3.* then run `retire`"):
        retire_old_colour(run, at_once=False)
    assert aws.ecs.desired["shop-test-green"] == 1
    run.lease.drop()
    servers.answer(as_release(OLD), "127.0.0.3")
    assert "1 task stopped" in retire_old_colour(run, at_once=False)
    assert aws.ecs.desired["shop-test-green"] == 0


# --- a rollback is never undone by a probe

TARGET = live("v0.9.0", Colour.GREEN).model_copy(update={"slot": slot_of("green:4", "shop-test-green")})


@pytest.fixture
def warm(run: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> RollbackIntent:
    """v0.9.0 runs in green; v1.0.0 in blue is to be left."""
    aws.ecs.desired["shop-test-green"] = 1
    aws.ecs.uses["shop-test-green"] = "green:4"
    aws.ecs.definitions["green:4"] = definition_of(TARGET.release)
    leaving = run.record.live
    assert leaving is not None
    intent = RollbackIntent(target=TARGET, leaving=leaving, flow_run_id="run-2", at=NOON)
    run.records.change_environment(lambda r: r.model_copy(update={"rollback": intent, "healthy": (TARGET,)}))
    return intent


def test_a_rollback_whose_answers_are_wrong_keeps_its_traffic_and_is_completed_by_whoever_finds_it(
    run: Operation, aws: FakeAws, servers: Servers, warm: RollbackIntent
) -> None:
    servers.answer(as_release(OLD))
    with pytest.raises(Permanent, match=r"does not serve v0\.9\.0"):
        finish_rollback(run, warm)
    settled = abort(run, Ending(State.FAILED, "confirm", "said"))
    assert not settled.complete, "the hold stays for `reconcile` to find"
    assert "The rollback is kept" in settled.traffic
    assert aws.elbv2.weights == GREEN
    assert run.records.environment().rollback == warm
    said = finish_rollback(run, warm, insists=True)
    assert "Not confirmed" in said
    record = run.records.environment()
    assert record.live is not None
    assert (record.live.release, record.live.definition, record.rollback) == (TARGET.release, "green:4", None)
    assert aws.elbv2.history == [GREEN]


def test_a_rollback_whose_record_cannot_be_written_keeps_its_traffic(
    run: Operation, aws: FakeAws, servers: Servers, warm: RollbackIntent, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.answer(as_release(TARGET.release))

    def refuse(*_: object) -> None:
        raise Permanent("S3 refuses")

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "record_rollback", refuse)
        with pytest.raises(Permanent, match="S3 refuses"):
            finish_rollback(run, warm)
    assert not abort(run, Ending(State.FAILED, "record", "said")).complete
    assert aws.elbv2.weights == GREEN


def test_a_confirmed_rollback_says_nothing_of_doubts(
    run: Operation, aws: FakeAws, servers: Servers, warm: RollbackIntent
) -> None:
    servers.answer(as_release(TARGET.release, after=0.03))
    assert finish_rollback(run, warm).endswith("rolled back from v1.0.0.")
    assert aws.elbv2.weights == GREEN
