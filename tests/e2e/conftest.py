"""What the end-to-end tests share: traffic that must not fail, the outside observer, and a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sandbox.kept_secrets import prefect_headers
from sandbox.observer import Observer
from sandbox.operator import Operator
from sandbox.traffic import Client

PATIENCE = 60_000  # ms: a cold browser on a busy machine


@pytest.fixture
def observer(operator: Operator) -> Observer:
    return Observer(operator)


@pytest.fixture
def something_live(operator: Operator) -> None:
    """Something is live before the test."""
    if operator.record().live is None:
        tag = operator.next_tag()
        operator.push("v1.1.0", tag=tag)
        run = operator.wait(operator.run("release", tag=tag))
        assert run.type == "COMPLETED", run.message


@pytest.fixture
def client(operator: Operator, something_live: None) -> Iterator[Client]:
    """Traffic from before the test to after it; no request may fail."""
    with Client(operator.application) as client:
        yield client
        seen = client.seen()
    assert seen.sent > 0
    assert seen.failed == 0, seen.failures[:5]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Debian's chromium is missing: scripts/setup --browser installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def _log_in(context: BrowserContext, operator: Operator) -> None:
    """Give the UI the password that it would ask for, where it keeps it itself."""
    token = prefect_headers(operator.sandbox.settings)["Authorization"].removeprefix("Basic ")
    context.add_init_script(f"localStorage.setItem('prefect-password', '{token}')")


def _open_ui(page: Page) -> None:
    """Load the UI, which the first page of a context does as a whole; where a part of it got lost, load it again."""
    for patience in (PATIENCE / 3, PATIENCE / 3, PATIENCE):
        page.goto("/v2/runs")
        with suppress(AssertionError):
            expect(page.get_by_role("link", name="Deployments")).to_be_visible(timeout=patience)
            return
    raise AssertionError(f"Prefect's UI did not load; the page says: {page.inner_text('body')[:500]}")


@pytest.fixture
def page(browser: Browser, operator: Operator) -> Iterator[Page]:
    context = browser.new_context(
        base_url=operator.sandbox.settings.prefect_url, viewport={"width": 1500, "height": 1200}
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    _log_in(context, operator)
    page = context.new_page()
    _open_ui(page)
    yield page
    context.close()
