"""What a run's console shows, and that a run outlives it: the worker that reads it may die first."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from prefect.exceptions import CancelledRun, FailedRun
from prefect.logging.handlers import PrefectConsoleHandler

from core.errors import redact

__all__ = ["hide_secrets", "say_failures_once", "survive_a_broken_console"]


class _OneMessage(logging.Filter):
    """Drops Prefect's traceback of a flow that returned a failed state: its message has been logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        raised = record.exc_info[1] if record.exc_info else None
        return not isinstance(raised, (FailedRun, CancelledRun))


class _NoSecrets(logging.Filter):
    """Hides what looks like a secret: build, migration and application logs are copied into a run's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged, always, but without its secrets."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return True  # its handlers say that it is not well formed; a filter would end the run
        shown = redact(message)
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_info:
            # Every formatter takes the text that is there, and makes its own only where there is none.
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


# One of each: a filter that is there already is not added again.
_ONE_MESSAGE, _NO_SECRETS = _OneMessage(), _NoSecrets()


def hide_secrets() -> None:
    """Log what runs say without the secrets in it."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_NO_SECRETS)


def say_failures_once() -> None:
    """Log a failed run's message, and no traceback of it."""
    logging.getLogger("prefect.flow_runs").addFilter(_ONE_MESSAGE)


def survive_a_broken_console() -> None:
    """Go on in silence where nobody reads the console any more.

    Rich ends the program then (`Console.on_broken_pipe`), which is right for a command and wrong for a release: its log
    goes to Prefect's server, and its worker's death must not stop it halfway.
    """
    for handler in _console_handlers():

        def go_on(handler: PrefectConsoleHandler = handler) -> None:
            handler.console.quiet = True
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, handler.console.file.fileno())
            os.close(devnull)

        handler.console.on_broken_pipe = go_on  # type: ignore[method-assign]


def _console_handlers() -> Iterator[PrefectConsoleHandler]:
    known = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    for logger in (logging.root, *known):
        yield from (h for h in logger.handlers if isinstance(h, PrefectConsoleHandler))
