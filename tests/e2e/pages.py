"""Pages of Prefect's UI, and what an operator does on them."""

from __future__ import annotations

from playwright.sync_api import Page, Response, expect

from sandbox.operator import Run


def open_run(page: Page, run: Run) -> None:
    page.goto(f"/v2/runs/flow-run/{run.id}")
    expect(page.get_by_text(run.name).first).to_be_visible()


def choose(page: Page, action: str) -> None:
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("menuitem", name=action).click()


def answer_form(page: Page, run: Run, *, decision: str, **fields: str) -> Response:
    """Answer what a run waits for, in the form that Resume opens; `fields` are filled in by their labels."""
    open_run(page, run)
    choose(page, "Resume")
    dialog = page.get_by_role("dialog", name="Resume Flow Run")
    dialog.get_by_label("Decision").click()
    page.get_by_role("option", name=decision).click()
    for label, text in fields.items():
        dialog.get_by_label(label.capitalize()).fill(text)
    with page.expect_response(lambda answer: answer.url.endswith("/resume")) as answered:
        dialog.get_by_role("button", name="Resume", exact=True).click()
    return answered.value
