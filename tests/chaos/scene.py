"""One case of the fault matrix: what it does to the sandbox, and what must be seen from outside afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from core.colour import Colour
from core.history import State
from core.record import EnvironmentRecord, LeaseRecord
from sandbox.observer import Observation, Observer
from sandbox.operator import Operator, Run
from sandbox.traffic import Client
from systems.process_table import carrying
from systems.processes import ATTEMPT_VARIABLE
from tests.waiting import wait_for

TREE = "v1.1.0"
SETTLED_WITHIN = 20.0
# A run that never held or introduced itself: twice the hold's expiry, a look, and its worker's time to tell.
FORGOTTEN_WITHIN = 45.0
PATIENCE = 150.0
_numbers = count(int(time.time()))


@dataclass(frozen=True)
class Expected:
    """How a run must end, and what must be live then; `None` stands for whichever the record says."""

    live: str | None
    run: tuple[str, ...]
    states: tuple[State, ...] = ()
    step: str | None = None
    within: float = PATIENCE
    leaves_nothing: bool = True


def fresh() -> str:
    """A version above all before it."""
    return f"v3.{next(_numbers)}.0"


@dataclass
class Scene:
    """The sandbox at the beginning of a case, and what a case may do to it."""

    operator: Operator
    observer: Observer
    client: Client
    before: Observation
    kept: Path
    end_state: str = ""
    may_be_cut_short: set[str] = field(default_factory=set)

    @property
    def was(self) -> str:
        """The version that was live at the beginning."""
        return version(self.before.record)

    # --- doing

    def release(self, tag: str, *, overlay: str | Path | None = None) -> str:
        """Push a tag with the tree of v1.1.0 and whatever lies on top, and start its release."""
        self.operator.push(TREE, tag=tag, overlay=overlay)
        return self.operator.run("release", tag=tag)

    def overlay(self, files: Mapping[str, str]) -> Path:
        """A folder to lay over the application's tree."""
        for name, text in files.items():
            path = self.kept / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.kept

    def slow_migration(self, seconds: float = 3.0) -> Path:
        """A migration of the tree that takes its time, and that may be cut short."""
        name = f"20260601090000_chaos_{next(_numbers)}"
        self.may_be_cut_short = {name}
        return self.overlay({f"prisma/migrations/{name}/migration.sql": f"SELECT pg_sleep({seconds});\n"})

    def look_again(self) -> None:
        """Take what is there now as what was there before."""
        self.before = self.observer.look()

    def kill(self, run_id: str, who: str) -> None:
        """`kill -9` of a run's process, of the worker, or of both: the worker first, which would tell Prefect."""
        worker = self.operator.sandbox.pid("worker")
        assert worker is not None
        if who in ("worker", "both"):
            os.kill(worker, signal.SIGKILL)
        if who in ("flow", "both"):
            kill_run(run_id)

    def cancel(self, run_id: str) -> None:
        """What the UI's Cancel does."""
        self.operator.set_state(run_id, "CANCELLING", "Cancelling", force=True)

    def set_weights(self, weights: dict[Colour, int]) -> None:
        """Set the production listener's weights by hand."""
        infrastructure = self.before.record.infrastructure
        assert infrastructure is not None
        groups = [{"TargetGroupArn": infrastructure.target_group_arns[c], "Weight": w} for c, w in weights.items()]
        self.operator.client("elbv2").modify_listener(
            ListenerArn=infrastructure.production_listener_arn,
            DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}],
        )

    def cancel_at(self, stage: str, run_id: str, tag: str | None = None) -> None:
        """Cancel a run at a stage, which is drawn out until the worker has told the run's process."""
        with self.at(stage, run_id, tag):
            self.cancel(run_id)
            self.operator.clear_faults()
            with self.operator.with_faults(slow_records(2.0)):
                end = time.monotonic() + 6
                while time.monotonic() < end and not self.operator.look(run_id).over:
                    time.sleep(0.1)

    def unfreeze(self) -> None:
        """Answer a freeze: what was live keeps all traffic, and what else runs is stopped."""
        self.repeat("unfreeze", keep=self._colour.value)
        self.repeat("retire", at_once=True)

    def make_warm(self) -> None:
        """See that the other slot runs the version that was live before."""
        if not self.observer.images(self._colour.other):
            release_version(self.operator)
        self.look_again()

    def make_rollback(self, kind: str) -> str:
        """See that there is a healthy version to go back to, warm or cold, and return it."""
        record = self.operator.record()
        other = self._colour.other
        there = [h for h in record.healthy if h.colour is other]
        if not there or (kind == "warm" and set(self.observer.images(other)) != {there[-1].release.image}):
            release_version(self.operator)
            record = self.operator.record()
            there = [h for h in record.healthy if h.colour is version_colour(record).other]
        if kind == "cold":
            self.repeat("retire", at_once=True)
        self.look_again()
        return there[-1].release.version

    def delete_candidate_service(self) -> None:
        """Delete the candidate's service by hand, so that Terraform has to make it."""
        settings = self.operator.settings
        name = settings.service_name(self._colour.other)
        self.operator.client("ecs").delete_service(cluster=settings.cluster, service=name, force=True)

    def home(self) -> dict[Colour, int]:
        """The weights that give everything to what was live."""
        return {self._colour: 100, self._colour.other: 0}

    def foreign_weights(self) -> dict[Colour, int]:
        """Weights that Pointsman never writes."""
        return {self._colour: 90, self._colour.other: 10}

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def wait_for_queue(self, run_id: str) -> None:
        """Wait until a run stands in the queue."""
        wait_for(lambda: run_id in {w.flow_run_id for w in self.operator.record().queue}, 30, "nobody waits")

    @property
    def _colour(self) -> Colour:
        return version_colour(self.before.record)

    @contextmanager
    def at(self, stage: str, run_id: str, tag: str | None = None) -> Iterator[None]:
        """Be where a run is at a stage. Records are written slowly meanwhile, so that no stage is missed.

        A release writes each step into its version's record. A rollback writes none: its hold tells the step, but for
        `init`, which writes nothing at all and shows as a process.
        """

        def there() -> bool:
            assert not self.operator.look(run_id).over, f"it ended before {stage}"
            if stage == "started":
                return self.operator.look(run_id).type == "RUNNING"
            lease = self.operator.record().lease
            if lease is None or lease.owner.flow_run_id != run_id:
                return False
            if stage == "init":
                return _terraform_runs(run_id, "init")
            if stage == "moved":
                return self.operator.weights()[self._colour.other.value] == 100
            return self._under_way(tag, stage) if tag else lease.step == stage

        with self.operator.with_faults(slow_records(0.2)):
            wait_for(there, 60, f"no run reached {stage}")
            yield

    def _under_way(self, tag: str, stage: str) -> bool:
        try:
            steps = self.operator.history(tag).attempts[-1].steps
        except self.operator.client("s3").exceptions.NoSuchKey:
            return False
        return any(step.name == stage and step.outcome is None for step in steps)

    def repeat(self, deployment: str, **parameters: Any) -> Run:
        """Run a deployment to its good end."""
        run = self.operator.wait(self.operator.run(deployment, **parameters))
        assert run.type == "COMPLETED", run.message
        return run

    # --- looking

    def check(self, expected: Expected, run_id: str, tag: str | None = None) -> None:
        """Wait until a run is over and the environment settled; see that both ended as they must."""
        self.await_settled(expected.within)
        wait_for(lambda: self.operator.look(run_id).over, FORGOTTEN_WITHIN, "the run still looks alive")
        run, record = self.operator.look(run_id), self.operator.record()
        live = expected.live or version(record)
        history = self.operator.history(tag) if tag and expected.states else None
        state = history.state if history else None
        self.end_state = f"{version(record)} live, {tag or run.name} {state or ''} {run.type}".replace("  ", " ")
        wrong = self._wrong(record, live)
        if run.type not in expected.run:
            wrong.append(f"the run is {run.type}: {run.message[:400]}")
        if state is not None and state not in expected.states:
            wrong.append(f"the record of {tag} says {state}")
        if state is not None and (state is State.HEALTHY) is not (live == tag):
            wrong.append(f"the record of {tag} says {state}, and {live} is live")
        failure = history.attempts[-1].failure if history and live != tag else None
        if expected.step and (failure is None or failure.step != expected.step):
            wrong.append(f"the failure on record is {failure and failure.step}, not {expected.step}")
        if failure and failure.remains and expected.leaves_nothing:
            wrong.append(f"remains: {failure.remains}")
        see(wrong)

    def check_all(self, live: str) -> None:
        """See the environment settled with `live` carrying all traffic, whatever its runs were."""
        self.await_settled(PATIENCE)
        record = self.operator.record()
        self.end_state = self.end_state or f"{version(record)} live"
        wrong = self._wrong(record, live)
        see(wrong)

    def await_end(self, tag: str) -> None:
        """Wait as long as `reconcile` may take until the record of a version says that it has ended."""

        def ended() -> bool:
            state = self.operator.history(tag).state
            return state is not None and state.ended

        wait_for(ended, 2 * SETTLED_WITHIN, f"the record of {tag} stays {self.operator.history(tag).state}")

    def await_settled(self, seconds: float) -> None:
        """Wait until nobody holds the environment and nobody waits for it."""

        def settled() -> bool:
            record = self.operator.record()
            stale = datetime.now(UTC) - timedelta(seconds=self.operator.settings.timing.lease_expiry)
            waits = any(waiter.seen_at > stale for waiter in record.queue)
            return record.lease is None and not waits and record.rollback is None

        wait_for(settled, seconds, f"it was not settled within {seconds:g} s")

    def _wrong(self, record: EnvironmentRecord, live: str) -> list[str]:
        requests = self.client.seen()
        wrong = self.observer.faults(self.before, live=live)
        failed = set(self.observer.look().failed_migrations) - set(self.before.failed_migrations)
        if failed - self.may_be_cut_short:
            wrong.append(f"migrations failed: {failed}")
        if record.frozen:
            wrong.append(f"frozen: {record.frozen.reason}")
        if record.weights_intent is not None:
            wrong.append(f"an intent to write weights is open: {record.weights_intent}")
        if requests.failed or not requests.sent:
            wrong.append(f"{requests.failed} of {requests.sent} requests failed: {requests.failures[:3]}")
        return wrong


def see(wrong: list[str]) -> None:
    """Fail with what is wrong, if anything is."""
    if wrong:
        pytest.fail("; ".join(wrong), pytrace=False)


def version(record: EnvironmentRecord) -> str:
    """The live version."""
    assert record.live is not None
    return record.live.release.version


def version_colour(record: EnvironmentRecord) -> Colour:
    """The live colour."""
    assert record.live is not None
    return record.live.colour


def slow_records(seconds: float) -> dict[str, Any]:
    """A fault that delays every write of a record."""
    return {
        "service": "s3",
        "action": "PutObject",
        "match": "releases/",
        "times": 0,
        "effect": f"delay:{seconds}",
    }


def _terraform_runs(run_id: str, command: str) -> bool:
    """Whether a run has a Terraform at work on that command."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # The attempt's id is the run's, with a number behind.
            if command in process.cmdline() and process.environ().get(ATTEMPT_VARIABLE, "").startswith(run_id):
                return True
    return False


def kill_run(run_id: str) -> None:
    """`kill -9` of a run's process."""
    os.kill(process_of(run_id), signal.SIGKILL)


def process_of(run_id: str) -> int:
    """The process of a flow run, which Prefect starts with the run's id in its environment."""
    found = []
    for process in carrying({"PREFECT__FLOW_RUN_ID": run_id}):
        with suppress(psutil.Error):
            if "prefect" in " ".join(process.cmdline()):
                found.append(process.pid)
    assert found, f"no process runs {run_id}"
    return min(found)


def forget_migrations(operator: Operator) -> None:
    """Forget migrations of this matrix and those that failed, as `prisma migrate resolve --rolled-back` would."""
    url = operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]
    with suppress(psycopg.errors.UndefinedTable), psycopg.connect(url) as connection:  # none before a first release
        connection.execute("delete from _prisma_migrations where finished_at is null or migration_name like '%chaos%'")


def make_ready(operator: Operator, observer: Observer) -> None:
    """Bring the sandbox to where every case begins: settled, unfrozen, its worker alive, something live."""
    operator.clear_faults()
    forget_migrations(operator)
    if operator.sandbox.pid("worker") is None:
        operator.sandbox.restart("worker")

    def free() -> bool:
        record = operator.record()
        return record.lease is None and record.rollback is None

    wait_for(free, PATIENCE, f"the case before left it held: {_told(operator.record().lease)}")
    record = operator.record()
    if record.frozen and record.live:
        operator.wait(operator.run("unfreeze", keep=record.live.colour.value))
    if record.live is None:
        release_version(operator)
    elif not set(observer.images(record.live.colour.other)) <= {h.release.image for h in record.healthy}:
        # The case before left a candidate running, and the next one is not to be blamed for it.
        operator.wait(operator.run("retire", at_once=True))


def release_version(operator: Operator) -> None:
    """Release a fresh version to its good end."""
    tag = fresh()
    operator.push(TREE, tag=tag)
    run = operator.wait(operator.run("release", tag=tag))
    assert run.type == "COMPLETED", run.message


def _told(lease: LeaseRecord | None) -> str:
    return f"{lease.owner.flow} at {lease.step}" if lease else "nobody"
