"""The image in ECR and Terraform's lock in S3: what is looked at, and what a lost answer leads to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.errors import Permanent, Transient, UnknownOutcome
from core.record import Owner
from operation.operation import Operation
from systems.ecr import find_image, image_exists
from systems.processes import owner_of
from systems.terraform import Root, state_key
from tests.unit.facts import DIGEST
from tests.unit.fakes import FakeAws, Fault, closed, lost, refusal, unreachable


def test_a_tag_that_ecr_does_not_have_is_no_image(aws: FakeAws) -> None:
    assert find_image(aws.clients, "team/shop", "v1.1.0") is None


@pytest.mark.parametrize("there", [True, False])
def test_an_image_is_there_or_gone(aws: FakeAws, there: bool) -> None:
    aws.ecr.images = {"v1.0.0": DIGEST} if there else {}
    assert image_exists(aws.clients, "team/shop", DIGEST) is there


UNANSWERED = [
    lost,
    closed,
    unreachable,
    lambda: refusal("ServerException", 500),
    lambda: refusal("ThrottlingException"),
]


@pytest.mark.parametrize("silence", UNANSWERED)
def test_an_image_is_not_taken_for_gone_where_ecr_did_not_answer(
    aws: FakeAws, silence: Callable[[], Exception]
) -> None:
    aws.ecr.broken = {"describe_images": silence}
    with pytest.raises(Transient):
        image_exists(aws.clients, "team/shop", DIGEST)


# --- the state's lock

KEY = "terraform/test/slot-green.tfstate.tflock"


def locked(aws: FakeAws, who: str = f"root@{os.uname().nodename}") -> None:
    told = {"ID": "lock-1", "Who": who, "Created": "2026-03-01T12:00:00.123456789Z", "Operation": "apply"}
    aws.s3.objects[KEY] = (json.dumps(told).encode(), '"1"')


def test_a_lock_says_who_holds_it_and_since_when(operation: Operation, aws: FakeAws) -> None:
    assert operation.state_locks.read("green") is None
    locked(aws, "ada@laptop")
    lock = operation.state_locks.read("green")
    assert lock is not None
    assert (lock.key, lock.id, lock.who) == (KEY, "lock-1", "ada@laptop")
    assert lock.created == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert operation.state_locks.read("blue") is None


@pytest.mark.parametrize("silence", UNANSWERED)
def test_a_state_is_not_taken_for_unlocked_where_s3_did_not_answer(
    operation: Operation, aws: FakeAws, silence: Callable[[], Exception]
) -> None:
    locked(aws)
    aws.s3.broken = {"get_object": silence}
    with pytest.raises(Transient):
        operation.state_locks.read("green")


@pytest.mark.parametrize("lands", [True, False])
def test_after_a_deletion_of_unknown_outcome_a_look_tells_whether_the_lock_is_gone(
    operation: Operation, aws: FakeAws, lands: bool
) -> None:
    locked(aws)
    lock = operation.state_locks.read("green")
    assert lock is not None
    aws.s3.fail("delete_object", Fault(lost(), lands=lands))
    with pytest.raises(UnknownOutcome, match="deleting the state lock was lost"):
        operation.state_locks.delete(lock)
    assert (operation.state_locks.read("green") is None) is lands


# --- what a dead run leaves of it


def lock_now(aws: FakeAws, state: str, *, who: str = f"root@{os.uname().nodename}") -> None:
    """A lock on a state, taken just now."""
    told = {"ID": "lock-1", "Who": who, "Created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.123456789Z"}
    aws.s3.objects[f"{state_key('test', state)}.tflock"] = (json.dumps(told).encode(), '"1"')


@pytest.fixture
def dead() -> Owner:
    """The owner of a process of this machine that is gone."""
    return owner_of("provision", "dead", "dead-1").model_copy(update={"pid": 2**22 + 1})


def began(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.mark.parametrize("state", ["green", "environment", "account"])
def test_a_dead_run_s_lock_is_released(operation: Operation, aws: FakeAws, dead: Owner, state: str) -> None:
    lock_now(aws, state)
    operation.state_locks.release_dead(dead, state, since=began(60))
    assert operation.state_locks.read(state) is None


@pytest.mark.parametrize(
    ("who", "since"),
    [
        pytest.param("root@elsewhere", 60, id="taken on another machine"),
        pytest.param(f"root@{os.uname().nodename}", -60, id="taken before that run began"),
    ],
)
def test_a_lock_that_is_not_proven_dead_is_a_human_s(
    operation: Operation, aws: FakeAws, dead: Owner, who: str, since: float
) -> None:
    lock_now(aws, "green", who=who)
    with pytest.raises(Permanent, match="python -m flows unlock test --state green"):
        operation.state_locks.release_dead(dead, "green", since=began(since))
    assert operation.state_locks.read("green") is not None


# --- whose bucket it is


def state_version(operation: Operation, key: str) -> str | None:
    return operation.terraform.state_version(operation.aws("s3"), Root("slot", Path(), key))


@pytest.mark.parametrize("call", ["get_object", "delete_object", "list_object_versions"])
def test_lock_and_state_are_looked_for_in_a_bucket_of_our_own_account_only(
    operation: Operation, aws: FakeAws, call: str
) -> None:
    locked(aws)
    lock = operation.state_locks.read("green")
    assert lock is not None
    aws.s3.owner = "999999999999"
    looks: dict[str, Callable[[], object]] = {
        "get_object": lambda: operation.state_locks.read("green"),
        "delete_object": lambda: operation.state_locks.delete(lock),
        "list_object_versions": lambda: state_version(operation, KEY),
    }
    with pytest.raises(Permanent, match="AWS does not allow"):
        looks[call]()
    assert aws.s3.count(call)
    assert KEY in aws.s3.objects


def test_the_version_of_a_state_is_its_own_and_not_its_lock_s(operation: Operation, aws: FakeAws) -> None:
    key = KEY.removesuffix(".tflock")
    locked(aws)
    assert state_version(operation, key) is None
    aws.s3.objects[key] = (b"{}", "v7")
    assert state_version(operation, key) == "v7"
