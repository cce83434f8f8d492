"""`release` as its drawing: the order of its steps, where it ends early, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from prefect import Task
from prefect.exceptions import TerminationSignal

from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent, PointsmanError, Refused
from core.history import State
from core.version import Version
from flows import release as flow
from flows.release import release_version
from lifecycle import run
from lifecycle.abort import abort_attempt
from lifecycle.run import run_operation
from operation.operation import Operation
from tasks.checkout import Checkout
from tests.unit.facts import COMMIT, live, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

ORDER = [
    "check_readiness",
    "check_out",
    "check_files",
    "init_slot",
    "build_image",
    "push_image",
    "plan_slot",
    "check_plan",
    "check_findings",
    "vacate_slot",
    "set_health_check",
    "apply_plan",
    "migrate_database",
    "start_candidate",
    "smoke_test",
    "note_findings",
    "note_size",
    "approve",
    "shift_traffic",
    "confirm_release",
    "finish_release",
    "keep_images",
    "prune_worker",
    "summarise",
]
"""The drawing of DESIGN and README; `enter`, which takes the lease, stands after the checkout and is real here."""


@pytest.fixture
def idle(aws: FakeAws, operation: Operation) -> Operation:
    """A run of its own on an environment that nobody holds: v1.0.0 is live in blue."""
    operation.lease.stop_heartbeat()
    store_of(aws.s3).change_environment(lambda r: r.leased(None))
    return operation_of(aws, settings_with(), owner("run-2", pid=9))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were called, each of which does nothing but say so."""
    return fake_steps(monkeypatch, flow, {})


def fake_steps(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, doing: dict[str, Callable[[Operation], object]]
) -> list[str]:
    called: list[str] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, operation: Operation, *_: object, **__: object) -> object:
            called.append(self.name)
            if self.name in doing:
                return doing[self.name](operation)
            if self.name == "check_out":
                return Checkout(Version.parse("v1.2.0"), COMMIT, Path(), ())
            return f"{self.name} said so"

        def submit(self, operation: Operation) -> Fake:
            self(operation)
            return self

        def result(self) -> object:
            return self

    for name in dict.fromkeys((*ORDER, *doing)):
        monkeypatch.setattr(module, name, Fake(name))
    return called


def test_a_release_goes_through_the_steps_of_its_drawing(idle: Operation, done: list[str], aws: FakeAws) -> None:
    assert release_version(idle, "v1.2.0", None, allow_downgrade=False) == "summarise said so"
    assert done == ORDER
    assert store_of(aws.s3).environment().lease is None, "the environment is given back"


def test_checks_are_waited_for_before_anything_is_held_or_built(
    idle: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Operation) -> object:
        raise Refused("red")

    settings = settings_with(github_repository='"team/shop"\nchecks = ["build"]')
    waiting = operation_of(aws, settings, owner("run-3", pid=9))
    called = fake_steps(monkeypatch, flow, {"await_checks": refuse})
    with pytest.raises(Refused, match="red"):
        release_version(waiting, "v1.2.0", None, allow_downgrade=False)
    assert called == ["check_readiness", "check_out", "await_checks"]
    assert store_of(aws.s3).environment().fencing_token == 1, "nobody took the lease for it"


def test_what_was_prepared_before_it_waited_is_not_prepared_again(idle: Operation, done: list[str]) -> None:
    idle.lease.take("v1.2.0", lambda _: None)
    idle.journal.begin_attempt("v1.2.0", COMMIT, Colour.GREEN)
    for state in ("PLANNED", "APPLIED", "MIGRATED", "RUNNING", "VERIFIED", "AWAITING_APPROVAL"):
        idle.journal.advance(State(state))
    release_version(idle, "v1.2.0", None, allow_downgrade=False)
    assert done == [*ORDER[:3], *ORDER[ORDER.index("approve") :]]


def test_what_is_live_already_ends_after_the_checkout(
    idle: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = live("v1.0.0")
    same = Checkout(Version.parse("v1.0.0"), was.release.commit, Path(), ())
    called = fake_steps(monkeypatch, flow, {"check_out": lambda _: same})
    ended = release_version(idle, "v1.0.0", None, allow_downgrade=False)
    assert not isinstance(ended, str)
    assert ended.is_completed()
    assert called == ORDER[:3]
    assert store_of(aws.s3).environment().fencing_token == 1, "nobody took the lease for it"


@pytest.mark.parametrize("step", ORDER[ORDER.index("init_slot") : ORDER.index("confirm_release")])
@pytest.mark.parametrize("error", [Permanent("It broke"), TerminationSignal(signal=15)])
def test_whatever_ends_it_early_no_later_step_runs_and_traffic_is_home(
    idle: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def break_off(_: Operation) -> object:
        raise error

    called = fake_steps(monkeypatch, flow, {step: break_off})
    monkeypatch.setattr(run, "open_run", lambda *_, **__: idle)
    monkeypatch.setattr(run, "label_run_with_owner", lambda *_: None)

    def body(operation: Operation) -> object:
        return release_version(operation, "v1.2.0", None, allow_downgrade=False)

    if isinstance(error, PointsmanError):
        state = run_operation("release", "test", body)  # type: ignore[arg-type]
        assert state.is_failed()
        assert "Traffic: 100 % on v1.0.0 (blue)." in str(state.message)
    else:
        with pytest.raises(TerminationSignal):
            run_operation("release", "test", body)  # type: ignore[arg-type]
    assert called[-1] == step
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)
    record = store_of(aws.s3).environment()
    assert (record.lease, record.live and record.live.release.version) == (None, "v1.0.0")
    history = store_of(aws.s3).version("v1.2.0")
    assert history is not None
    assert history.state is (State.FAILED if isinstance(error, PointsmanError) else State.ABORTED)
    assert {s.name for s in history.attempts[-1].steps} >= {"queue", "traffic back", "close record"}


@pytest.mark.parametrize(("tag", "recorded"), [("v1.4", False), ("1.4.0", False), ("v1.4.0", True)])
def test_what_is_no_version_has_no_history(
    idle: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, tag: str, recorded: bool
) -> None:
    def missing(_: Operation) -> object:
        raise Refused(f"The tag {tag} does not exist")

    fake_steps(monkeypatch, flow, {"check_out": missing})
    monkeypatch.setattr(run, "open_run", lambda *_, **__: idle)
    monkeypatch.setattr(run, "label_run_with_owner", lambda *_: None)
    state = run_operation("release", "test", lambda op: release_version(op, tag, None, allow_downgrade=False))
    assert state.is_failed()
    assert str(state.message).startswith(f"{tag} → test failed at ")
    assert (f"releases/test/{tag}.json" in aws.s3.objects) is recorded


def test_traffic_goes_home_though_prefect_can_run_no_task_any_more(
    operation: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> object:
        raise ConnectionError("Prefect's server is gone")

    for state in ("PLANNED", "APPLIED", "MIGRATED", "RUNNING", "VERIFIED", "SHIFTING"):
        operation.journal.advance(State(state))
    aws.elbv2.weights = Weights.all_on(Colour.GREEN)
    operation.records.change_environment(lambda r: r.carrying(aws.elbv2.weights))
    lease = operation.record.lease
    assert lease is not None
    monkeypatch.setattr(Task, "__call__", away)
    assert abort_attempt(operation, Ending(State.FAILED, "confirm", "it did not answer"), lease).complete
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)
    history = store_of(aws.s3).version("v1.1.0")
    assert history is not None
    assert history.state is State.FAILED
