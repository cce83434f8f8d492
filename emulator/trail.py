"""CloudTrail's event history: who called what, on which resources, and whether it was refused.

MiniStack knows the key of a call alone, and takes what failed for done. Recorded are writes of management events, as
"Event history" keeps them: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from emulator.asgi import Application, Call, Message, Receive, Scope, Send, read, replay
from emulator.upstream import cloudtrail, iam_evaluator, responses

__all__ = ["Trail", "is_write", "resources_of"]

# Of S3 only what is done to buckets is a management event, and nothing here looks for that.
_UNRECORDED = frozenset({"", "s3", "cloudtrail"})
_READS = ("Get", "List", "Describe", "Head", "Lookup", "Filter", "BatchGet", "BatchCheck", "Simulate", "AssumeRole")
# Their events are written where the service has its home:
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
_GLOBAL = {"iam": "us-east-1"}
# ECS names no resources in its events; AWS does not say which of the others do.
_NAMES_NONE = frozenset({"ecs"})
_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
_IDENTIFIER = re.compile(r"arn:aws[\w-]*:\S+|(?:sg|sgr|subnet|vpc|rtb|igw|nat|eipalloc|acl)-[0-9a-z]+")
_NAMED = frozenset({"RoleName", "UserName", "PolicyName", "logGroupName", "repositoryName", "AlarmName"})
_ERROR = re.compile(r"<Code>([\w.]+)</Code>|\"__type\":\s*\"(?:[^\"]*#)?([\w.]+)\"")
_KEPT = 10_000


def is_write(action: str) -> bool:
    """Return whether a call of that name changes something."""
    return bool(action) and not action.startswith(_READS)


def resources_of(service: str, parameters: dict[str, Any]) -> list[str]:
    """Return what a request names: ARNs, ids, and the names of what has neither."""
    return [] if service in _NAMES_NONE else list(dict.fromkeys(_named_in(parameters)))


def _named_in(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _named_in(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _named_in(one, key)
    elif isinstance(value, str) and (key in _NAMED or _IDENTIFIER.fullmatch(value)):
        yield value


class Trail:
    """ASGI middleware directly before MiniStack; `LookupEvents` reads what it writes."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; keep it if it was a write."""
        signed = _signature(scope) if scope["type"] == "http" else None
        if signed is None or signed.group(3) in _UNRECORDED:
            await self._application(scope, receive, send)
            return
        messages, body = await read(receive)
        call = Call.read(scope, body)
        if not is_write(call.action):
            await self._application(scope, replay(messages, receive), send)
            return
        answered = _Answer(send)
        await self._application(scope, replay(messages, receive), answered)
        _keep(signed.group(2), _event(scope, call, body, answered))


class _Answer:
    """A call's answer on its way, of which status and error are looked at."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status, self._body = 0, b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body" and self.status >= 400:
            self._body += message.get("body", b"")
        await self._send(message)

    @property
    def error(self) -> str:
        found = _ERROR.search(self._body.decode("utf-8", "replace")) if self.status >= 400 else None
        return (found.group(1) or found.group(2)) if found else "InternalFailure" if self.status >= 400 else ""


def _signature(scope: Scope) -> re.Match[str] | None:
    signed = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    return _SCOPE.search(signed or unquote(scope.get("query_string", b"").decode("latin-1")))


def _event(scope: Scope, call: Call, body: bytes, answered: _Answer) -> dict[str, Any]:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    arn, parameters = iam_evaluator.request_caller_arn(headers, query), _parameters(call, body)
    signed, at = _signature(scope), int(time.time())
    source, name = f"{call.service}.amazonaws.com", arn.rpartition("/")[2] if "/" in arn else "root"
    event = {
        "eventVersion": "1.08",
        "userIdentity": {"type": _kind(arn), "arn": arn, "accountId": arn.split(":")[4]},
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "eventSource": source,
        "eventName": call.action,
        "userAgent": headers.get("user-agent", ""),
        "requestParameters": cloudtrail._scrub(parameters),
        "readOnly": False,
        **({"errorCode": answered.error} if answered.error else {}),
    }
    return {
        "EventId": responses.new_uuid(),
        "EventName": call.action,
        "EventSource": source,
        "EventTime": at,
        "Username": name,
        "AccessKeyId": signed.group(1) if signed else "",
        "ReadOnly": "false",
        "Resources": [{"ResourceName": one} for one in resources_of(call.service, parameters)],
        "CloudTrailEvent": json.dumps(event),
    }


def _parameters(call: Call, body: bytes) -> dict[str, Any]:
    if call.is_json:
        try:
            parsed = json.loads(body or b"{}")
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _kind(arn: str) -> str:
    return {"user": "IAMUser", "assumed-role": "AssumedRole"}.get(arn.split(":")[5].partition("/")[0], "Root")


def _keep(region: str, event: dict[str, Any]) -> None:
    where = (responses.get_account_id(), _GLOBAL.get(event["EventSource"].partition(".")[0], region))
    kept = cloudtrail._events.get_scoped(*where, "events")
    if kept is None:
        kept = deque(maxlen=_KEPT)
        cloudtrail._events.set_scoped(*where, "events", kept)
    kept.append(event)
