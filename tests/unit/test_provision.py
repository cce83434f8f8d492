"""What all environments share has a hold of its own."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Refused
from core.record import Hold, Owner
from flows.provision import account_held
from systems.processes import owner_of
from tasks.operation import Operation, open_account
from tests.unit.fakes import FakeAws

LOCK = "terraform/account.tfstate.tflock"
HERE = owner_of("provision", "other", "other-1")
GONE = HERE.model_copy(update={"pid": 2**22 + 1})


def held_by(operation: Operation, whose: Owner) -> None:
    """Another run holds the account, for a minute now."""
    account = open_account(operation)
    since = datetime.now(UTC) - timedelta(seconds=60)
    hold = Hold(
        owner=whose,
        fence=1,
        acquired_at=since,
        heartbeat_at=since,
        expires_at=since + timedelta(seconds=120),
        stage="account",
    )
    account.store.change_environment(lambda r: r.model_copy(update={"hold": hold, "fence": 1}))


def hold_of_account(operation: Operation) -> Hold | None:
    return open_account(operation).store.environment().hold


def test_it_is_held_while_it_is_provisioned_and_free_afterwards(operation: Operation) -> None:
    with account_held(operation) as account:
        held = hold_of_account(operation)
        assert held is not None
        assert held.owner == account.owner
    assert hold_of_account(operation) is None
    own = operation.store.environment().hold
    assert own is not None, "the environment's own hold is another one"


def test_it_is_free_though_provisioning_failed(operation: Operation) -> None:
    with pytest.raises(Refused), account_held(operation):
        raise Refused("It was refused")
    assert hold_of_account(operation) is None


def test_another_environment_s_provision_is_not_run_over(operation: Operation) -> None:
    held_by(operation, HERE)
    with pytest.raises(Refused, match="account is held by provision: it is at account"), account_held(operation):
        pytest.fail("it began")
    held = hold_of_account(operation)
    assert held is not None
    assert held.owner == HERE


def test_a_dead_one_s_hold_is_taken_over_and_its_lock_released(aws: FakeAws, operation: Operation) -> None:
    held_by(operation, GONE)
    created = f"{datetime.now(UTC) - timedelta(seconds=30):%Y-%m-%dT%H:%M:%S}.123456789Z"
    told = {"ID": "lock-1", "Who": f"root@{os.uname().nodename}", "Created": created}
    aws.s3.objects[LOCK] = (json.dumps(told).encode(), '"1"')
    with account_held(operation):
        assert LOCK not in aws.s3.objects
