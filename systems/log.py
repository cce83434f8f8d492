"""The run's log."""

from __future__ import annotations

from logging import Logger, LoggerAdapter

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

__all__ = ["run_logger"]


def run_logger() -> Logger | LoggerAdapter[Logger]:
    """Return the run's log, or that of an operator's command, which is not a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("pointsman")
