"""`kill -9` of `destroy` and of `provision` at each step: the next run goes on from what is really left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.operator import Operator, Run
from tests.chaos.scene import SETTLED_WITHIN, kill_run, release_version, slow_records
from tests.waiting import wait_for

pytestmark = pytest.mark.chaos

DESTROY = [
    "plan",
    "begin",
    "protection",
    "stop green",
    "destroy blue",
    "destroy green",
    "destroy environment",
    "record",
]
PROVISION = ["plan account", "plan environment", "environment", "record"]


@contextmanager
def at(operator: Operator, run_id: str, step: str) -> Iterator[None]:
    """Be where a run is at a step; each question on the way is agreed to."""

    def there() -> bool:
        run = operator.look(run_id)
        assert not run.over, f"it ended before {step}: {run.message}"
        if run.state == "Paused":
            operator.agree(run_id, **({"confirm": "sandbox"} if run.name.startswith("destroy") else {}))
        lease = operator.record().lease
        return lease is not None and lease.owner.flow_run_id == run_id and lease.step == step

    with operator.with_faults(slow_records(0.5)):
        wait_for(there, 200, f"no run reached {step}")
        yield


def settled(operator: Operator, run_id: str) -> None:
    """See that nobody holds the environment any more, and that the run is known to be dead."""
    wait_for(lambda: operator.record().lease is None, SETTLED_WITHIN, "the lease was not given back")
    wait_for(lambda: operator.look(run_id).over, 45, "the run still looks alive")


def destroy(operator: Operator) -> Run:
    run_id = operator.run("destroy", force=True)
    run = operator.wait(run_id, timeout=300, until=lambda run: run.over or run.state == "Paused")
    if not run.over:
        operator.agree(run_id, confirm="sandbox")
        run = operator.wait(run_id, timeout=300)
    return run


def stands(operator: Operator) -> bool:
    found = operator.client("elbv2").describe_load_balancers()["LoadBalancers"]
    return any(balancer["LoadBalancerName"] == "connections-sandbox" for balancer in found)


@pytest.fixture
def released(operator: Operator) -> None:
    """An environment with a live version and one before it, so that both slots hold something to remove."""
    operator.clear_faults()
    if operator.record().infrastructure is None or operator.record().destroying is not None:
        assert operator.provision().type == "COMPLETED"
    if operator.record().live is None:
        release_version(operator)
        release_version(operator)


@pytest.mark.parametrize("step", DESTROY)
def test_destroy_killed(operator: Operator, released: None, step: str) -> None:
    """The environment is free, closed to releases once something was removed, and the next run removes the rest."""
    run_id = operator.run("destroy", force=True)
    with at(operator, run_id, step):
        kill_run(run_id)
    settled(operator, run_id)
    record = operator.record()
    if step == "plan":
        assert record.destroying is None
        assert record.live is not None
    elif step != "begin":
        assert record.destroying is not None or record.infrastructure is None
        refused = operator.wait(operator.run("rollback"))
        assert refused.type == "FAILED", refused.message
    run = destroy(operator)
    assert run.type == "COMPLETED", run.message
    assert not stands(operator)
    record = operator.record()
    assert (record.infrastructure, record.live, record.destroying) == (None, None, None)


@pytest.mark.parametrize("step", PROVISION)
def test_provision_killed_on_empty_ground(operator: Operator, released: None, step: str) -> None:
    """The environment is free, and the next run makes what is missing; then a version goes live on it."""
    assert destroy(operator).type == "COMPLETED"
    run_id = operator.run("provision")
    with at(operator, run_id, step):
        kill_run(run_id)
    settled(operator, run_id)
    run = operator.provision()
    assert run.type == "COMPLETED", run.message
    assert stands(operator)
    release_version(operator)
    assert operator.record().live is not None
