"""Which actions each role and user asked for, and whether they were allowed, in force with AUTH=true.

`GET /_pointsman/calls` lists them, `DELETE` forgets them::

    {"calls": [{"principal": "role/shop-pipeline", "action": "ecs:UpdateService", "allowed": 3, "denied": 0,
                "resources": ["arn:aws:ecs:…"]}]}

The account's own keys are authorized without a policy, so their calls are not listed.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from emulator.asgi import Application, Receive, Scope, Send, answer
from emulator.upstream import iam_evaluator, replace

__all__ = ["Asked", "CallRecord", "name_of"]

ADMIN_PATH = "/_pointsman/calls"
_RESOURCES_KEPT = 100
_seen: ContextVar[list[Any] | None] = ContextVar("seen", default=None)


@dataclass(slots=True)
class Asked:
    """How often one principal asked for one action, and on what."""

    principal: str
    action: str
    allowed: int = 0
    denied: int = 0
    resources: list[str] = field(default_factory=list)

    def add(self, resource: str, *, allowed: bool) -> None:
        """Count one decision; only resources that were allowed are kept, and of those the first hundred."""
        self.allowed += allowed
        self.denied += not allowed
        if allowed and resource not in self.resources and len(self.resources) < _RESOURCES_KEPT:
            self.resources.append(resource)


def name_of(principal_arn: str) -> str:
    """Return `role/<name>` for a role's session, else what follows the account: `user/<name>`."""
    _, _, rest = principal_arn.partition("::")
    kind, _, name = rest.partition(":")[2].partition("/")
    return f"role/{name.partition('/')[0]}" if kind == "assumed-role" else f"{kind}/{name}"


class CallRecord:
    """ASGI middleware that answers what was asked for; it listens where policies are evaluated."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], Asked] = {}

    def install(self) -> None:
        """Listen to MiniStack's decisions: one call may evaluate several policies, and is one."""
        evaluate: Callable[..., Any] = iam_evaluator.evaluate
        enforce: Callable[..., Any] = iam_evaluator.enforce

        @functools.wraps(evaluate)
        def evaluated(context: Any, *policies: Any) -> Any:
            result = evaluate(context, *policies)
            seen = _seen.get()
            if seen is None:
                self._add(context, allowed=result.decision == "Allow")
            else:
                seen.append(context)
            return result

        @functools.wraps(enforce)
        def enforced(*arguments: Any, **named: Any) -> Any:
            contexts: list[Any] = []
            token = _seen.set(contexts)
            try:
                denied = enforce(*arguments, **named)
            finally:
                _seen.reset(token)
            if contexts:
                self._add(contexts[0], allowed=denied is None)
            return denied

        replace(iam_evaluator, "evaluate", evaluated)
        replace(iam_evaluator, "enforce", enforced)

    def _add(self, context: Any, *, allowed: bool) -> None:
        key = name_of(context.principal_arn), context.action
        with self._lock:
            self._asked.setdefault(key, Asked(*key)).add(context.resource_arn, allowed=allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the list, or pass the request on."""
        if scope["type"] != "http" or scope["path"] != ADMIN_PATH:
            await self._application(scope, receive, send)
            return
        with self._lock:
            if scope["method"] == "DELETE":
                self._asked = {}
            listed = [asdict(self._asked[key]) for key in sorted(self._asked)]
        await answer(send, 200, "application/json", json.dumps({"calls": listed}).encode())
