"""A case begins on a settled sandbox under traffic, and its result is written to `.sandbox/chaos.json` as it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.observer import Observer
from sandbox.operator import Operator
from sandbox.parts import Sandbox
from sandbox.traffic import Client
from tests.chaos.scene import Scene, forget_migrations, make_ready

_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the report of a case for its entry."""
    report = yield
    if call.when == "call":
        item.stash[_REPORT] = report
    return report


@pytest.fixture(scope="session")
def entries(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The entries of the matrix so far."""
    return []


@pytest.fixture(scope="session")
def observer(operator: Operator) -> Observer:
    return Observer(operator)


@pytest.fixture
def scene(
    operator: Operator,
    observer: Observer,
    entries: list[dict[str, Any]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[Scene]:
    make_ready(operator, observer)
    began = time.monotonic()
    with Client(operator.application) as client:
        scene = Scene(operator, observer, client, observer.look(), tmp_path)
        yield scene
        seen = client.seen()
    operator.clear_faults()
    forget_migrations(operator)
    report = request.node.stash.get(_REPORT, None)
    passed = report is not None and report.passed
    entries.append(
        {
            "case": request.node.name.removeprefix("test_"),
            "end_state": scene.end_state,
            "seconds": round(time.monotonic() - began, 1),
            "requests": {"sent": seen.sent, "failed": seen.failed},
            "verdict": "as it must be" if passed else _reason(report),
        }
    )
    path = operator.sandbox.settings.directories.home / "chaos.json"
    path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def _reason(report: pytest.TestReport | None) -> str:
    if report is None:
        return "wrong: the case did not begin"
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"wrong: {(crash.message if crash else str(report.longrepr))[:800]}"
