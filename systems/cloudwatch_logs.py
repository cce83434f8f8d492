"""CloudWatch Logs: every line of one stream, in order, as they arrive.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
"""

from __future__ import annotations

from typing import Any

from core.errors import PointsmanError
from systems.aws import aws_errors

__all__ = ["LogStream", "read_last_lines"]


class LogStream:
    """One log stream, read from its head; it may not exist yet."""

    def __init__(self, logs: Any, group: str, stream: str) -> None:
        self._logs, self._group, self._stream = logs, group, stream
        self._token: str | None = None

    def read_new(self) -> list[str]:
        """Return the lines that were not returned before; none where reading fails, which the next read makes good.

        A page may be empty and still have others behind it: only the same token twice is the end.
        """
        lines: list[str] = []
        try:
            while True:
                page = self._page()
                lines += [str(event["message"]) for event in page["events"]]
                before, self._token = self._token, page["nextForwardToken"]
                if self._token == before:
                    return lines
        except PointsmanError:
            return lines

    def _page(self) -> dict[str, Any]:
        after = {"nextToken": self._token} if self._token else {}
        with aws_errors("reading a task's log"):
            page: dict[str, Any] = self._logs.get_log_events(
                logGroupName=self._group, logStreamName=self._stream, startFromHead=True, **after
            )
        return page


def read_last_lines(logs: Any, group: str, stream: str) -> list[str]:
    """Return the last lines of a stream, at most a hundred; none where there are none, or reading fails."""
    try:
        with aws_errors("reading a task's log"):
            found = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=False, limit=100)
    except PointsmanError:
        return []
    return [str(event["message"]) for event in found["events"]]
