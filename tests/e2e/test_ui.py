"""What an operator sees of releases in Prefect's UI, in a real browser."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from core.history import VersionRecord
from sandbox.operator import Operator, Run

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

FLOWS = ["release", "rollback"]
STAGE = "sandbox"


@pytest.fixture(scope="module")
def released(operator: Operator) -> Run:
    """The newest run that made a version live; where there is none, v1.0.0 is released."""
    if operator.record().live is None:
        operator.push("v1.0.0")
        run = operator.wait(operator.run("release", tag="v1.0.0"))
        assert run.type == "COMPLETED", run.message
    body = {"artifacts": {"key": {"any_": ["release-sandbox"]}}, "sort": "UPDATED_DESC", "limit": 1}
    (newest,) = operator.api.post("/artifacts/filter", json=body).raise_for_status().json()
    return operator.look(newest["flow_run_id"])


@pytest.fixture(scope="module")
def history(operator: Operator, released: Run) -> VersionRecord:
    return operator.history(released.name.split(" ")[0])


@pytest.fixture(scope="module")
def failed(operator: Operator) -> Run:
    """A run that a webhook made and that failed a moment ago: there is no such tag."""
    run = operator.wait(operator.deliver(f"v0.0.{uuid.uuid4().int % 10**12}", "3d" * 20))
    assert run.type == "FAILED", run.message
    return run


def test_list_of_runs_reads_like_a_release_log(page: Page, failed: Run) -> None:
    version = failed.name.split(" ")[0]
    page.goto("/v2/runs")
    link = page.get_by_role("link", name=failed.name, exact=True).first
    expect(link).to_be_visible()
    assert failed.name == f"{version} → sandbox"
    card = page.locator("li, div").filter(has=link).filter(has_text="Failed").last
    expect(card).to_contain_text("Failed")
    for tag in (version, "sandbox"):
        expect(card.get_by_text(tag, exact=True).first).to_be_visible()


def test_page_of_a_release_shows_what_each_step_did(page: Page, released: Run, history: VersionRecord) -> None:
    page.goto(f"/v2/runs/flow-run/{released.id}")
    expect(page.get_by_text(released.name).first).to_be_visible()
    expect(page.get_by_text("Completed").first).to_be_visible()
    first = next(attempt for attempt in history.attempts if attempt.flow_run_id == released.id)
    checkout = next(step for step in first.steps if step.name == "checkout")
    expect(page.get_by_text(f"checkout: {checkout.detail}").first).to_be_visible()
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_text(released.message).first).to_be_visible()
    page.get_by_role("tab", name="Task Runs", exact=True).click()
    for task in ("checkout", "smoke", "shift"):  # a release has more of them than a page
        page.get_by_label("Search by run name").fill(task)
        expect(page.get_by_role("link").filter(has_text=task).first).to_be_visible()


def test_page_of_a_failed_run_shows_its_one_message(page: Page, failed: Run) -> None:
    page.goto(f"/v2/runs/flow-run/{failed.id}")
    expect(page.get_by_text("Failed").first).to_be_visible()
    expect(page.get_by_text(failed.message, exact=True).first).to_be_visible()
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_text("State Message")).to_be_visible()
    expect(page.get_by_text(failed.message, exact=True).first).to_be_visible()
    assert failed.message.startswith(f"{failed.name} failed at checkout: ")


def test_summary_artifact_renders_its_tables(
    page: Page, operator: Operator, released: Run, history: VersionRecord
) -> None:
    page.goto(f"/v2/runs/flow-run/{released.id}")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link").filter(has_text="release-sandbox").first.click()
    page.get_by_role("link", name=_summary(operator, released)[:8]).click()  # the key's page is a history
    attempt = next(attempt for attempt in history.attempts if attempt.flow_run_id == released.id)
    release = attempt.release
    assert release is not None
    assert attempt.colour is not None
    expect(page.get_by_role("heading", name=f"{release.version} → sandbox")).to_be_visible()
    tables = page.get_by_role("table")
    expect(tables).to_have_count(2)
    facts, steps = tables.nth(0), tables.nth(1)  # looked up anew each time: the page may still be drawing
    for fact in (release.version, release.image_digest, release.commit, attempt.colour.value):
        expect(facts.get_by_role("cell", name=fact, exact=True)).to_be_visible()
    for column in ("step", "outcome", "seconds"):
        expect(steps.get_by_role("columnheader", name=column, exact=True)).to_be_visible()
    for step in ("checkout", "build", "push", "plan", "apply", "migrate", "start", "smoke", "shift", "confirm"):
        expect(steps.get_by_role("row").filter(has=page.get_by_role("cell", name=step, exact=True))).to_have_count(1)


@pytest.mark.parametrize("flow", FLOWS)
def test_run_form_describes_every_parameter(page: Page, operator: Operator, flow: str) -> None:
    deployment = _deployment(operator, flow, STAGE)
    page.goto(f"/v2/deployments/deployment/{deployment['id']}/run")
    properties = deployment["parameter_openapi_schema"]["properties"]
    assert "environment" in properties
    for parameter in properties.values():
        words = " ".join(parameter["description"].split())
        expect(page.get_by_text(words).first).to_be_visible()


@pytest.mark.parametrize("flow", FLOWS)
def test_deployment_describes_itself(page: Page, operator: Operator, flow: str) -> None:
    deployment = _deployment(operator, flow, "sandbox")
    page.goto(f"/v2/deployments/deployment/{deployment['id']}?tab=Description")
    words = deployment["description"].split(".")[0].split("*")[0]
    expect(page.get_by_text(" ".join(words.split())).first).to_be_visible()


def test_every_deployment_and_parameter_has_a_description(operator: Operator) -> None:
    found = operator.api.post("/deployments/filter", json={}).raise_for_status().json()
    names = {deployment["name"] for deployment in found}
    assert names == {STAGE}, "an environment is deployed by a command of its own"
    for deployment in found:
        assert deployment["description"], deployment
        for name, parameter in deployment["parameter_openapi_schema"]["properties"].items():
            assert parameter.get("description"), (deployment["entrypoint"], name)
            assert parameter["description"].strip().endswith("."), (deployment["entrypoint"], name)


def _deployment(operator: Operator, flow: str, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = operator.api.get(f"/deployments/name/{flow}/{stage}").raise_for_status().json()
    return found


def _summary(operator: Operator, run: Run) -> str:
    """The id of the summary that a run published."""
    body = {"artifacts": {"flow_run_id": {"any_": [run.id]}, "key": {"any_": ["release-sandbox"]}}}
    (found,) = operator.api.post("/artifacts/filter", json=body).raise_for_status().json()
    return str(found["id"])
