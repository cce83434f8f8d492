"""IAM's simulator in the context that it is asked in, and for roles that exist.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from emulator.upstream import iam, iam_evaluator, replace, responses

__all__ = ["install"]

Answer = tuple[int, dict[str, str], Any]
Parameters = dict[str, Any]
_context: ContextVar[dict[str, Any]] = ContextVar("simulated_context")
_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny"}


def install() -> None:
    """Put the additions in MiniStack's place."""
    simulate: Callable[[Parameters], Answer] = iam._simulate_principal_policy

    @functools.wraps(simulate)
    def simulate_principal_policy(params: Parameters) -> Answer:
        arn = iam._p(params, "PolicySourceArn")
        if ":role/" in arn and arn.rpartition("/")[2] not in iam._roles:
            refusal: Answer = iam._error(404, "NoSuchEntity", f"The role {arn} cannot be found.", ns="iam")
            return refusal
        token = _context.set(_entries(params))
        try:
            return simulate(params)
        finally:
            _context.reset(token)

    replace(iam, "_simulate_principal_policy", simulate_principal_policy)
    replace(iam, "_build_simulate_results_real", _results)


def _entries(params: Parameters) -> dict[str, Any]:
    """The context keys that a call gives, each with its first value."""
    found: dict[str, Any] = {}
    number = 1
    while name := iam._p(params, f"ContextEntries.member.{number}.ContextKeyName"):
        found[name.lower()] = iam._p(params, f"ContextEntries.member.{number}.ContextKeyValues.member.1")
        number += 1
    return found


def _results(actions: Iterable[str], resource: str, principal: str, account: str, policies: list[Any]) -> str:
    return "".join(
        f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>"
        f"<EvalDecision>{_decision(action, resource, principal, account, policies)}</EvalDecision>"
        "<MatchedStatements></MatchedStatements><MissingContextValues></MissingContextValues></member>"
        for action in actions
    )


def _decision(action: str, resource: str, principal: str, account: str, policies: list[Any]) -> str:
    asked = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="User",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        service_context=_context.get({}),
    )
    decision = iam_evaluator.evaluate(asked, policies).decision if policies else "ImplicitDeny"
    return _DECISIONS.get(decision, "implicitDeny")
