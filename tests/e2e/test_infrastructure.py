"""Infrastructure changed under traffic: the plan is read and agreed to in Prefect's UI; nothing is held meanwhile."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from sandbox.operator import Operator, Run
from sandbox.traffic import Client
from tests.e2e.pages import answer_form, open_run

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.usefixtures("something_live")]


def kept_days(operator: Operator) -> int:
    found = operator.client("logs").describe_log_groups(logGroupNamePrefix=operator.settings.cluster)
    return int(next(g["retentionInDays"] for g in found["logGroups"] if g["logGroupName"] == operator.settings.cluster))


def planned(operator: Operator) -> Run:
    """A `provision` that waits for a decision."""
    run = operator.wait(operator.run("provision"), until=lambda run: run.over or run.state == "Paused")
    assert run.state == "Paused", run.message
    return run


def test_a_plan_is_read_and_agreed_to_in_the_ui(page: Page, operator: Operator, client: Client) -> None:
    before = kept_days(operator)
    after = 14 if before != 14 else 30
    with operator.with_settings(log_retention_days=str(after)):
        waiting = planned(operator)
        assert operator.record().lease is None, "a release or a rollback goes on while somebody decides"
        assert kept_days(operator) == before
        open_run(page, waiting)
        page.get_by_role("tab", name="Artifacts").click()
        expect(page.get_by_text("plan-sandbox").first).to_be_visible()
        answer = answer_form(page, waiting, decision="apply", name="Ada", reason="Logs are kept longer.")
        assert answer.status == 201, answer.text()
        run = operator.wait(waiting.id)
    assert run.type == "COMPLETED", run.message
    assert kept_days(operator) == after
    log = "\n".join(operator.log(run.id))
    assert "agreement: agreed by Ada: Logs are kept longer." in log
    assert "account: nothing to change" in log
    assert "RDS: an inbound rule, PostgreSQL 5432 from" in run.message
    back = operator.provision()
    assert back.type == "COMPLETED", back.message
    assert kept_days(operator) == before


def test_a_rejected_plan_changes_nothing(operator: Operator, client: Client) -> None:
    before = kept_days(operator)
    with operator.with_settings(log_retention_days="90"):
        waiting = planned(operator)
        operator.agree(waiting.id, decision="reject", reason="Not on a Friday.")
        run = operator.wait(waiting.id)
    assert run.type == "FAILED", run.message
    assert "The plan was rejected: Operator: Not on a Friday." in run.message
    assert kept_days(operator) == before
    assert operator.record().lease is None


def test_an_environment_in_use_is_not_destroyed(operator: Operator, client: Client) -> None:
    run = operator.wait(operator.run("destroy"))
    assert run.type == "FAILED", run.message
    assert "sandbox is in use" in run.message
    assert operator.record().destroying is None


def test_a_name_that_is_mistyped_destroys_nothing(operator: Operator, client: Client) -> None:
    waiting = operator.wait(operator.run("destroy", force=True), until=lambda run: run.over or run.state == "Paused")
    assert waiting.state == "Paused", waiting.message
    operator.agree(waiting.id, confirm="production")
    run = operator.wait(waiting.id)
    assert run.type == "FAILED", run.message
    assert "typed 'production', not 'sandbox'" in run.message
    assert operator.record().destroying is None
