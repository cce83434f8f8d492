"""Who starts a run chooses nothing of its process: held against Prefect's own validation and its own worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.schema_tools import ValidationError, validate
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

TEMPLATE = json.loads((Path(__file__).parents[2] / "deploy" / "work-pool.json").read_text())


def check(template: dict[str, Any], variables: dict[str, Any]) -> None:
    """What Prefect's server does with a run's job variables."""
    validate(
        variables,
        template["variables"],
        raise_on_error=True,
        preprocess=True,
        ignore_required=False,
        allow_none_with_default=True,
    )


@pytest.mark.parametrize(
    "variables",
    [{"command": "sh -c id"}, {"env": {"LD_PRELOAD": "/evil.so"}}, {"working_dir": "/evil"}, {"name": "x"}, {"x": 1}],
    ids=lambda variables: next(iter(variables)),
)
def test_a_run_that_names_its_process_is_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="unexpected"):
        check(TEMPLATE, variables)


def test_prefect_s_own_template_would_take_a_command() -> None:
    check(ProcessWorker.get_default_base_job_template(), {"command": "sh -c id"})


def test_a_run_that_names_nothing_is_taken() -> None:
    check(TEMPLATE, {})


def test_no_variable_reaches_a_process() -> None:
    assert "{{" not in json.dumps(TEMPLATE["job_configuration"])
    made = ProcessJobConfiguration.model_validate(TEMPLATE["job_configuration"])
    assert (made.command, made.env, made.working_dir) == (None, {}, None)
