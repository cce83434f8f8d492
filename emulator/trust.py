"""Who may be named in a trust policy, and how long a role's session lasts.

IAM looks each principal up when the policy is written: one that does not exist makes the document malformed.
Sessions: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

from emulator.settings import Settings
from emulator.upstream import iam, replace, responses, router, sts

__all__ = ["install", "invalid_principals"]

Answer = tuple[int, dict[str, str], Any]
Parameters = dict[str, Any]
_ACCOUNT = re.compile(r"\d{12}|arn:aws[\w-]*:iam::\d{12}:root")
_ENTITY = re.compile(r"arn:aws[\w-]*:iam::(\d{12}):(role|user)/(?:.*/)?([\w+=,.@-]+)")
_DEFAULT = 3600
_LONGEST_CHAINED = 3600
_KEPT_AFTER_EXPIRY = 86400


def install(settings: Settings) -> None:
    """Put the additions in MiniStack's place."""
    _check_documents("_create_role", "AssumeRolePolicyDocument")
    _check_documents("_update_assume_role_policy", "PolicyDocument")
    _install_sessions(settings)


def invalid_principals(document: str, exists: Callable[[str], bool]) -> list[str]:
    """Return principals of AWS accounts in a trust policy that name nobody; `exists` knows ARNs of roles and users."""
    return [name for name in _principals(document) if not _ACCOUNT.fullmatch(name) and name != "*" and not exists(name)]


def _principals(document: str) -> Iterator[str]:
    try:
        statements = json.loads(document).get("Statement", [])
    except (ValueError, AttributeError):
        return
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        named = principal.get("AWS", []) if isinstance(principal, dict) else principal
        yield from [named] if isinstance(named, str) else named


def _exists(arn: str) -> bool:
    """Whether IAM knows the role or user. Of other accounts nothing is known here, so nothing is refused."""
    found = _ENTITY.fullmatch(arn)
    if found is None:
        return ":assumed-role/" in arn or ":federated-user/" in arn
    account, kind, name = found.groups()
    if account != responses.get_account_id():
        return True
    known = (iam._roles if kind == "role" else iam._users).get(name)
    return known is not None and known["Arn"] == arn


def _check_documents(handler: str, member: str) -> None:
    handle: Callable[[Parameters], Answer] = getattr(iam, handler)

    @functools.wraps(handle)
    def checked(params: Parameters) -> Answer:
        for name in invalid_principals(iam._p(params, member), _exists):
            refusal: Answer = iam._error(
                400, "MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{name}"', ns="iam"
            )
            return refusal
        return handle(params)

    replace(iam, handler, checked)


# Sessions


def _install_sessions(settings: Settings) -> None:
    handle: Callable[..., Any] = sts.handle_request

    @functools.wraps(handle)
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        asked = {**query, **parse_qs(body.decode("utf-8", "replace"))}
        refusal = _refuse_duration(asked, headers, query)
        if refusal is not None:
            return refusal
        if sts._p(asked, "Action") == "AssumeRole":
            seconds = min(float(sts._p(asked, "DurationSeconds") or _DEFAULT), settings.longest_session)
            body = urlencode({**asked, "DurationSeconds": str(int(seconds))}, doseq=True).encode()
        answer: Answer = await handle(method, path, headers, body, query)
        return answer

    def evict_expired_sessions() -> None:
        """An expired session is refused as expired for a day, not as a key that nobody knows."""
        gone = time.time() - _KEPT_AFTER_EXPIRY
        for key, session in list(sts._sessions.items()):
            if session.get("Expiration", gone) < gone:
                sts._sessions.pop(key, None)

    replace(sts, "handle_request", handle_request)
    replace(sts, "_evict_expired_sessions", evict_expired_sessions)


def _refuse_duration(asked: Parameters, headers: dict[str, str], query: Parameters) -> Answer | None:
    """AWS's answer to a session that is longer than the role or a chain of roles allows."""
    if sts._p(asked, "Action") != "AssumeRole" or not sts._p(asked, "DurationSeconds"):
        return None
    seconds, role = int(sts._p(asked, "DurationSeconds")), sts._p(asked, "RoleArn").rpartition("/")[2]
    if seconds > (iam._roles.get(role) or {}).get("MaxSessionDuration", 43200):
        return _refused("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if seconds > _LONGEST_CHAINED and router.extract_access_key_id(headers, query) in sts._sessions:
        return _refused(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    return None


def _refused(message: str) -> Answer:
    answer: Answer = sts._error(400, "ValidationError", message, ns="sts")
    return answer
