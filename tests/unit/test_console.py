"""A run outlives whoever reads its console, and its log tells no secret."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from lifecycle.console import hide_secrets, survive_a_broken_console


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger on Prefect's console, whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        logger = logging.getLogger("prefect.test_console")
        handler = PrefectConsoleHandler(stream)
        logger.addHandler(handler)
        logger.propagate = False
        yield logger
        logger.removeHandler(handler)


def test_it_goes_on_in_silence(logger: logging.Logger) -> None:
    survive_a_broken_console()
    logger.error("the worker is dead")
    logger.error("and the release goes on")


@contextmanager
def said_by(name: str) -> Iterator[list[str]]:
    """What a logger's handlers write."""
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(self.format(record))

    logger, handler = logging.getLogger(name), Keep()
    logger.addHandler(handler)
    try:
        yield seen
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["prefect.flow_runs", "prefect.task_runs"])
@pytest.mark.parametrize(
    ("message", "arguments", "shown"),
    [
        ("input: 'postgres://app:hun ter2@db'", (), "input: '***'"),
        ("%s: %s", ("DATABASE_URL", "postgres://app:hunter2@db"), "DATABASE_URL: postgres://app:***@db"),
        ("%d of %d", (1, 2), "1 of 2"),
        ("100 % of it", (), "100 % of it"),
    ],
)
def test_what_a_run_logs_has_its_secrets_hidden(
    name: str, message: str, arguments: tuple[object, ...], shown: str
) -> None:
    hide_secrets()
    with said_by(name) as seen:
        logging.getLogger(name).error(message, *arguments, extra={"send_to_api": False})
    assert seen == [shown]


def test_a_message_that_is_not_well_formed_ends_nothing() -> None:
    hide_secrets()
    logger = logging.getLogger("prefect.flow_runs")
    record = logger.makeRecord(logger.name, logging.INFO, "here", 1, "%d", ("no number",), None)
    assert logger.filter(record)


def test_a_traceback_in_a_run_s_log_has_its_secrets_hidden() -> None:
    hide_secrets()
    with said_by("prefect.flow_runs") as seen:
        try:
            raise RuntimeError("postgres://app:hunter2@db")
        except RuntimeError:
            logging.getLogger("prefect.flow_runs").exception("Not foreseen", extra={"send_to_api": False})
    (line,) = seen
    assert line.startswith("Not foreseen\nTraceback")
    assert line.endswith("RuntimeError: postgres://app:***@db")
    assert "hunter2" not in line
