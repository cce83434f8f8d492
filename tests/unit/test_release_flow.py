"""What the release flow asks before it does anything."""

from __future__ import annotations

import inspect
from pathlib import Path
from unittest.mock import Mock

import pytest

from core.errors import Refused
from core.history import State
from core.version import Version
from flows.release import release, release_version
from lifecycle.release_request import enter
from operation.operation import Operation
from tasks.checkout import Checkout
from tests.unit.facts import COMMIT, attempt, owner, settings_with
from tests.unit.facts import release as facts_of
from tests.unit.fakes import FakeAws, operation_of, store_of


def test_a_pre_release_is_refused_before_anything_is_fetched(operation: Operation) -> None:
    with pytest.raises(Refused, match=r"v2\.0\.0-rc\.1 is a pre-release"):
        release_version(operation, "v2.0.0-rc.1", None, allow_downgrade=False)


def test_the_announced_commit_reaches_the_checkout(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    # The task itself needs Prefect's engine; what it does with the commit stands in test_git.
    def refuse(_: Operation, version: Version, announced: str | None) -> None:
        raise Refused(f"{version} was asked for at {announced}")

    monkeypatch.setattr("flows.release.check_readiness", Mock())
    monkeypatch.setattr("flows.release.check_out", refuse)
    with pytest.raises(Refused, match=rf"v1\.2\.0 was asked for at {COMMIT}"):
        release_version(operation, "v1.2.0", COMMIT, allow_downgrade=False)


def test_a_run_by_hand_needs_no_commit() -> None:
    parameters = inspect.signature(release.fn).parameters
    assert list(parameters) == ["tag", "environment", "commit", "allow_downgrade"]
    assert parameters["commit"].default is None


def test_a_repeated_delivery_does_not_enter_with_what_was_rolled_back_from(operation: Operation, aws: FakeAws) -> None:
    left = facts_of("v1.2.0")
    store = store_of(aws.s3)
    store.change_version("v1.2.0", COMMIT, lambda r: r.with_attempt(attempt(State.ROLLED_BACK, "run-0", release=left)))
    store.change_environment(lambda r: r.model_copy(update={"rolled_back": (left.revision,)}))
    again = operation_of(aws, settings_with(), owner("run-9", pid=9))
    delivered = Checkout(Version.parse("v1.2.0"), COMMIT, Path(), (), announced=True)
    with pytest.raises(Refused, match=r"v1\.2\.0 was rolled back from"):
        enter(again, delivered, allow_downgrade=False)
