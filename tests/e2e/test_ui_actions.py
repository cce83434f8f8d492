"""What an operator does in Prefect's UI, in a real browser: Retry, Cancel, and the form that approves a release."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from core.record import State
from sandbox.environment_file import folder
from sandbox.observer import Observer
from sandbox.operator import Operator, Run
from sandbox.traffic import Client

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

PATIENCE = 60_000  # ms: a cold browser on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Debian's chromium is missing: scripts/setup --browser installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, operator: Operator) -> Iterator[Page]:
    context = browser.new_context(
        base_url=operator.sandbox.settings.prefect_url, viewport={"width": 1500, "height": 1200}
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.goto("/v2/runs")  # the first page of a context loads the whole UI; later ones are there at once
    expect(page.get_by_role("link", name="Deployments")).to_be_visible()
    yield page
    context.close()


@pytest.fixture
def observer(operator: Operator) -> Observer:
    return Observer(operator)


@pytest.fixture(autouse=True)
def _live(operator: Operator) -> None:
    """Something is live before each test."""
    if operator.record().live is None:
        run = operator.wait(start(operator, operator.next_tag()))
        assert run.type == "COMPLETED", run.message


@pytest.fixture
def client(operator: Operator, _live: None) -> Iterator[Client]:
    with Client(operator.application) as client:
        yield client
        seen = client.seen()
    assert seen.sent > 0
    assert seen.failed == 0, seen.failures[:5]


def live(operator: Operator) -> str:
    found = operator.record().live
    assert found is not None
    return found.release.version


def start(operator: Operator, tag: str) -> str:
    operator.push("v1.1.0", tag=tag)
    return operator.run("release", tag=tag)


def wait_for(what: Callable[[], bool], seconds: float, said: str) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, said
        time.sleep(0.05)


@contextmanager
def fault(operator: Operator, **asked: object) -> Iterator[None]:
    url = f"{operator.sandbox.settings.aws_url}/_pointsman/faults"
    httpx.post(url, json=asked, timeout=5, trust_env=False).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(url, timeout=5, trust_env=False).raise_for_status()


@contextmanager
def approval_required(operator: Operator) -> Iterator[None]:
    path = folder(operator.sandbox.settings) / "sandbox.toml"
    before = path.read_text()
    changed, times = re.subn(r"required = false", "required = true", before)
    assert times == 1
    path.write_text(changed)
    try:
        yield
    finally:
        path.write_text(before)


def run_count(operator: Operator, run_id: str) -> int:
    return int(operator.api.get(f"/flow_runs/{run_id}").raise_for_status().json()["run_count"])


def open_run(page: Page, run: Run) -> None:
    page.goto(f"/v2/runs/flow-run/{run.id}")
    expect(page.get_by_text(run.name).first).to_be_visible()


def choose(page: Page, action: str) -> None:
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("menuitem", name=action).click()


def press_retry(page: Page, run: Run) -> None:
    open_run(page, run)
    choose(page, "Retry")
    with page.expect_response(lambda answer: answer.url.endswith("/set_state")) as answered:
        page.get_by_role("alertdialog", name="Retry Flow Run").get_by_role("button", name="Retry").click()
    assert answered.value.json()["status"] == "ACCEPT"


def press_cancel(page: Page) -> None:
    """Press Cancel on the page of a run, which is open."""
    choose(page, "Cancel")
    with page.expect_response(lambda answer: answer.url.endswith("/set_state")) as answered:
        page.get_by_role("alertdialog", name="Cancel Flow Run").get_by_role("button", name="Cancel Flow Run").click()
    assert answered.value.json()["status"] == "ACCEPT"


def answer_form(page: Page, run: Run, *, decision: str, name: str, reason: str) -> Response:
    open_run(page, run)
    choose(page, "Resume")
    dialog = page.get_by_role("dialog", name="Resume Flow Run")
    dialog.get_by_label("Decision").click()
    page.get_by_role("option", name=decision).click()
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Reason").fill(reason)
    with page.expect_response(lambda answer: answer.url.endswith("/resume")) as answered:
        dialog.get_by_role("button", name="Resume", exact=True).click()
    return answered.value


def test_retry_goes_on_from_what_is_really_done(
    page: Page, operator: Operator, observer: Observer, client: Client
) -> None:
    before, was, tag = observer.look(), live(operator), operator.next_tag()
    with fault(operator, service="elasticloadbalancing", action="ModifyListener", times=0, effect="error:503"):
        failed = operator.wait(start(operator, tag))
    assert failed.type == "FAILED", failed.message
    assert "failed at shift" in failed.message
    assert observer.faults(before, live=was) == []
    press_retry(page, failed)
    again = operator.wait(failed.id, until=lambda run: run.over and run_count(operator, run.id) == 2)
    assert again.type == "COMPLETED", again.message
    attempts = operator.history(tag).attempts
    assert [attempt.state for attempt in attempts] == [State.FAILED, State.HEALTHY]
    first, second = ({step.name: step.outcome for step in attempt.steps} for attempt in attempts)
    assert first["build"] == first["push"] == first["apply"] == "done"
    assert second["build"] == second["push"] == second["apply"] == second["migrate"] == "skipped"
    assert second["start"] == second["smoke"] == second["shift"] == "done"
    assert attempts[0].release == attempts[1].release
    assert observer.faults(before, live=tag) == []


def test_cancel_gives_the_live_version_its_traffic_and_aborts_the_release(
    page: Page, operator: Operator, observer: Observer, client: Client
) -> None:
    before, was, tag = observer.look(), live(operator), operator.next_tag()
    run_id = start(operator, tag)
    open_run(page, operator.look(run_id))

    def in_flight() -> bool:
        hold = operator.record().hold
        return hold is not None and hold.version == tag

    wait_for(in_flight, 60, f"{tag} never took the environment")
    expect(page.get_by_text("Running", exact=True).first).to_be_visible()
    press_cancel(page)
    run = operator.wait(run_id, timeout=60)
    assert (run.type, run.state) == ("CANCELLED", "Cancelled"), run.message
    wait_for(lambda: operator.record().hold is None, 20, "the hold was not given back")
    history = operator.history(tag)
    assert history.state is State.ABORTED
    assert len(history.attempts) == 1
    assert observer.faults(before, live=was) == []
    page.goto(f"/v2/runs/flow-run/{run_id}")
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()


def test_approval_in_the_form_shifts_traffic_and_is_recorded(
    page: Page, operator: Operator, observer: Observer, client: Client
) -> None:
    before, was, tag = observer.look(), live(operator), operator.next_tag()
    with approval_required(operator):
        run_id = start(operator, tag)
        waiting = operator.wait(run_id, until=lambda run: run.over or run.state == "Suspended")
        assert waiting.state == "Suspended", waiting.message
        assert live(operator) == was
        answer = answer_form(page, waiting, decision="approve", name="Ada", reason="Its smoke test passed.")
        assert answer.status == 201, answer.text()
        run = operator.wait(run_id)
    assert run.type == "COMPLETED", run.message
    (attempt,) = operator.history(tag).attempts
    assert attempt.approver == "Ada"
    (approved,) = (step for step in attempt.steps if step.name == "approve")
    assert approved.detail == "approved by Ada: Its smoke test passed."
    assert observer.faults(before, live=tag) == []
