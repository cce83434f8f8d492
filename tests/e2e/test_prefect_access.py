"""Who may start what through the sandbox's Prefect: nobody without its password, and nobody a process of their own."""

from __future__ import annotations

import stat
from typing import Any

import httpx
import pytest

from sandbox.kept_secrets import prefect_headers
from sandbox.operator import Operator
from sandbox.parts import Sandbox

pytestmark = pytest.mark.e2e


def api(sandbox: Sandbox, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=f"{sandbox.settings.prefect_url}/api", timeout=10, trust_env=False, **options)


def test_a_call_without_the_password_is_refused(sandbox: Sandbox) -> None:
    with api(sandbox) as stranger, api(sandbox, headers=prefect_headers(sandbox.settings)) as friend:
        for path in ("/deployments/name/release/sandbox", "/admin/version"):
            assert stranger.get(path).status_code == 401
            assert friend.get(path).status_code == 200
        assert stranger.get("/deployments/name/release/sandbox", auth=("admin", "guessed")).status_code == 401


def test_the_password_is_its_owner_s_only(sandbox: Sandbox) -> None:
    kept = sandbox.settings.directories.secrets / "prefect-password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_page_of_another_origin_may_not_even_ask(sandbox: Sandbox) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with api(sandbox) as browser:
        foreign = browser.options("/flow_runs/filter", headers={"Origin": "https://evil.example", **asked})
        own = browser.options("/flow_runs/filter", headers={"Origin": sandbox.settings.prefect_url, **asked})
    assert "access-control-allow-origin" not in foreign.headers
    assert own.headers["access-control-allow-origin"] == sandbox.settings.prefect_url


@pytest.mark.parametrize("variables", [{"command": "sh -c id"}, {"env": {"A": "b"}}, {"working_dir": "/"}])
def test_a_run_chooses_nothing_of_its_process(sandbox: Sandbox, variables: dict[str, Any]) -> None:
    with api(sandbox, headers=prefect_headers(sandbox.settings)) as friend:
        deployment = friend.get("/deployments/name/release/sandbox").json()
        body = {"parameters": {"tag": "v0.0.1"}, "job_variables": variables}
        refused = friend.post(f"/deployments/{deployment['id']}/create_flow_run", json=body)
    assert refused.status_code == 422
    assert "unexpected" in refused.text


def test_a_run_that_prefect_lets_through_to_another_environment_is_refused_by_the_flow(operator: Operator) -> None:
    """Prefect refuses it first (`test_bad_input.py`), unless somebody changed the deployment."""
    deployment = operator.api.get("/deployments/name/release/sandbox").raise_for_status().json()
    path = f"/deployments/{deployment['id']}"
    operator.api.patch(path, json={"enforce_parameter_schema": False}).raise_for_status()
    try:
        run = operator.wait(operator.run("release", tag="v1.0.0", environment="production"))
    finally:
        operator.api.patch(path, json={"enforce_parameter_schema": True}).raise_for_status()
    assert run.type == "FAILED"
    assert "release/sandbox cannot act on production" in run.message
