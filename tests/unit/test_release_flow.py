"""What the release flow asks before it does anything."""

from __future__ import annotations

import inspect

import pytest

from core.errors import Refused
from flows.release import release, release_version
from tasks.operation import Operation


def test_a_pre_release_is_refused_before_anything_is_fetched(operation: Operation) -> None:
    with pytest.raises(Refused, match=r"v2\.0\.0-rc\.1 is a pre-release"):
        release_version(operation, "v2.0.0-rc.1", None, allow_downgrade=False)


def test_a_run_by_hand_needs_no_commit() -> None:
    parameters = inspect.signature(release.fn).parameters
    assert list(parameters) == ["tag", "environment", "commit", "allow_downgrade"]
    assert parameters["commit"].default is None
