"""A run stays in the environment of its deployment."""

from __future__ import annotations

import pytest

from lifecycle.run import Outcome, run_operation
from operation.operation import Operation


def never(_operation: Operation) -> str:
    raise AssertionError("the run got an environment")


def run_of(deployment: str | None, stage: str, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A flow run as Prefect's own variables pretend it; no environment has a file here."""
    if deployment:
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__NAME", deployment)
    return run_operation("release", stage, never)


@pytest.mark.usefixtures("no_run_log")
@pytest.mark.parametrize("stage", ["production", "Staging", "../staging"])
def test_a_run_of_one_deployment_cannot_act_on_another_environment(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run_of("staging", stage, monkeypatch)
    assert ended.is_failed()
    assert ended.message is not None
    assert f"release/staging cannot act on {stage}" in ended.message


@pytest.mark.usefixtures("no_run_log")
@pytest.mark.parametrize("deployment", ["moon", None])
def test_its_own_environment_is_looked_for(deployment: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run_of(deployment, "moon", monkeypatch)
    assert ended.message is not None
    assert "cannot act on" not in ended.message
    assert "moon" in ended.message
