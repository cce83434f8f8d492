"""CloudTrail's event history: who called what in the last 90 days, as far as it has arrived.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html: two requests a second in an
account and region; events arrive some minutes late.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from core.drift import Difference, TrailEvent
from systems.aws import AwsClients, aws_errors

__all__ = ["Trail"]

_BETWEEN = 0.5
_PAGES = 4
# IAM has its events where it has its home, in each partition:
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
_HOME = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
_GLOBAL = frozenset({"iam"})


class Trail:
    """The writes that one account's CloudTrail knows; each question is asked once."""

    def __init__(
        self, aws: AwsClients, partition: str, *, pause: Callable[[float], None] = time.sleep, between: float = _BETWEEN
    ) -> None:
        self._aws, self._home = aws, _HOME.get(partition)
        self._pause, self._between = pause, between
        self._asked: dict[tuple[str | None, str, str, datetime | None], list[dict[str, Any]]] = {}

    def writes(self, difference: Difference, since: datetime | None) -> list[TrailEvent]:
        """Return the writes since then that name what differs, newest first; raise as `aws_errors` does.

        Not every service says in its events which resources they are about. Where no event is kept under a name, the
        service's newest ones are searched for it.
        """
        region = self._home if difference.service in _GLOBAL else None
        for name in difference.names:
            found = [_event(e) for e in self._lookup(region, "ResourceName", name, since) if _is_write(e)]
            if found:
                return found
        if not difference.names:
            return []
        of_service = self._lookup(region, "EventSource", f"{difference.service}.amazonaws.com", since)
        return [_event(e) for e in of_service if _is_write(e) and _names(e, difference.names)]

    def _lookup(self, region: str | None, key: str, value: str, since: datetime | None) -> list[dict[str, Any]]:
        asked = (region, key, value, since)
        if asked not in self._asked:
            self._asked[asked] = list(self._pages(region, key, value, since))
        return self._asked[asked]

    def _pages(self, region: str | None, key: str, value: str, since: datetime | None) -> Iterator[dict[str, Any]]:
        client = self._aws("cloudtrail", region)
        arguments: dict[str, Any] = {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}
        if since is not None:
            arguments["StartTime"] = since
        for _ in range(_PAGES):
            self._pause(self._between)
            with aws_errors(f"looking up CloudTrail's events of {value}"):
                page = client.lookup_events(**arguments)
            yield from page.get("Events", ())
            if not page.get("NextToken"):
                return
            arguments["NextToken"] = page["NextToken"]


def _is_write(event: dict[str, Any]) -> bool:
    return str(event.get("ReadOnly", "")).lower() == "false"


def _content(event: dict[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _names(event: dict[str, Any], names: Iterable[str]) -> bool:
    content = _content(event)
    asked = json.dumps([content.get("requestParameters"), content.get("responseElements")])
    return any(json.dumps(name) in asked for name in names)


def _event(event: dict[str, Any]) -> TrailEvent:
    content = _content(event)
    identity = content.get("userIdentity") or {}
    who = identity.get("arn") or identity.get("invokedBy") or event.get("Username") or "nobody that it names"
    return TrailEvent(
        str(event.get("EventName", "")), str(who), event["EventTime"], str(content.get("errorCode") or "")
    )
