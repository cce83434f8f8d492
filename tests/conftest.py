"""The sandbox, started once a test run and shared: infrastructure is made once, as a load balancer takes a minute."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sandbox.operator import Operator
from sandbox.parts import Sandbox
from sandbox.settings import CODE


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox from nothing. POINTSMAN_KEEP_SANDBOX=1 takes the one that runs, as it is, and leaves it running."""
    keep = bool(os.environ.get("POINTSMAN_KEEP_SANDBOX"))
    started = Sandbox(CODE)
    started.up() if keep else started.reset()
    yield started
    if not keep:
        started.down()


@pytest.fixture(scope="session")
def operator(sandbox: Sandbox) -> Operator:
    """An operator of the sandbox, whose infrastructure is provisioned."""
    acting = Operator(sandbox)
    try:
        provisioned = acting.record().infrastructure is not None
    except acting.client("s3").exceptions.NoSuchKey:
        provisioned = False
    if not provisioned:
        run = acting.provision()
        assert run.type == "COMPLETED", run.message
    return acting
