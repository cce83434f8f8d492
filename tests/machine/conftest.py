"""The machine's containers, built and started once, and releasing to a sandbox's emulated AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.machine import Machine
from sandbox.observer import Observer
from sandbox.operator import Operator
from sandbox.traffic import Client
from tests.chaos.scene import Scene


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A machine from nothing. POINTSMAN_KEEP_SANDBOX=1 takes the one that runs, and leaves it running."""
    keep = bool(os.environ.get("POINTSMAN_KEEP_SANDBOX"))
    started = Machine()
    started.up() if keep else started.reset()
    yield started
    if not keep:
        started.down()


@pytest.fixture(scope="session")
def operator(machine: Machine) -> Operator:
    """An operator of the machine, whose infrastructure is provisioned."""
    acting = Operator(machine.sandbox)
    try:
        provisioned = acting.record().infrastructure is not None
    except acting.client("s3").exceptions.NoSuchKey:
        provisioned = False
    if not provisioned:
        run = acting.provision(timeout=600)
        assert run.type == "COMPLETED", run.message
    return acting


@pytest.fixture(scope="session")
def first_release(machine: Machine, operator: Operator) -> None:
    """Something is live."""
    if operator.record().live is None:
        release(machine, operator, "v1.0.0", operator.next_tag())


@pytest.fixture
def client(operator: Operator, first_release: None) -> Iterator[Client]:
    """Traffic from before the test to after it; no request may fail."""
    with Client(operator.application) as client:
        yield client
        seen = client.seen()
    assert seen.sent > 0
    assert seen.failed == 0, seen.failures[:5]


@pytest.fixture
def scene(operator: Operator, client: Client, tmp_path: Path) -> Iterator[Scene]:
    observer = Observer(operator)
    yield Scene(operator, observer, client, observer.look(), tmp_path)
    operator.clear_faults()


def release(machine: Machine, operator: Operator, tree: str, tag: str) -> None:
    """Push a tag and deliver its webhook by way of the proxy; see the release end well."""
    commit = operator.push(tree, tag=tag)
    run_id = machine.deliver(tag, commit, repository=operator.settings.source.github_repository)
    run = operator.wait(run_id, timeout=400)
    assert run.type == "COMPLETED", run.message
