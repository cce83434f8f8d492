"""A run outlives whoever reads its console."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.console import survive_a_broken_console


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
