"""What an operator does in Prefect's UI, in a real browser: Retry, Cancel, and the form that approves a release."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from core.history import State
from sandbox.observer import Observer
from sandbox.operator import Operator, Run, fault
from sandbox.traffic import Client
from tests.e2e.pages import answer_form, choose, open_run
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.usefixtures("something_live")]


def start(operator: Operator, tag: str) -> str:
    operator.push("v1.1.0", tag=tag)
    return operator.run("release", tag=tag)


def run_count(operator: Operator, run_id: str) -> int:
    return int(operator.api.get(f"/flow_runs/{run_id}").raise_for_status().json()["run_count"])


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


def test_retry_goes_on_from_what_is_really_done(
    page: Page, operator: Operator, observer: Observer, client: Client
) -> None:
    before, was, tag = observer.look(), operator.live, operator.next_tag()
    with operator.with_faults(fault("error:503", "elasticloadbalancing", "ModifyListener")):
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
    before, was, tag = observer.look(), operator.live, operator.next_tag()
    run_id = start(operator, tag)
    open_run(page, operator.look(run_id))

    def in_flight() -> bool:
        lease = operator.record().lease
        return lease is not None and lease.version == tag

    wait_for(in_flight, 60, f"{tag} never took the environment")
    expect(page.get_by_text("Running", exact=True).first).to_be_visible()
    press_cancel(page)
    run = operator.wait(run_id, timeout=60)
    assert (run.type, run.state) == ("CANCELLED", "Cancelled"), run.message
    wait_for(lambda: operator.record().lease is None, 20, "the hold was not given back")
    history = operator.history(tag)
    assert history.state is State.ABORTED
    assert len(history.attempts) == 1
    assert observer.faults(before, live=was) == []
    page.goto(f"/v2/runs/flow-run/{run_id}")
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()


def test_approval_in_the_form_shifts_traffic_and_is_recorded(
    page: Page, operator: Operator, observer: Observer, client: Client
) -> None:
    before, was, tag = observer.look(), operator.live, operator.next_tag()
    with operator.with_settings(required="true"):
        run_id = start(operator, tag)
        waiting = operator.wait(run_id, until=lambda run: run.over or run.state == "Suspended")
        assert waiting.state == "Suspended", waiting.message
        assert operator.live == was
        answer = answer_form(page, waiting, decision="approve", name="Ada", reason="Its smoke test passed.")
        assert answer.status == 201, answer.text()
        run = operator.wait(run_id)
    assert run.type == "COMPLETED", run.message
    (attempt,) = operator.history(tag).attempts
    assert attempt.approver == "Ada"
    (approved,) = (step for step in attempt.steps if step.name == "approve")
    assert approved.detail == "approved by Ada: Its smoke test passed."
    assert observer.faults(before, live=tag) == []
