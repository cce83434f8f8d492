"""IAM, to read: whether those that a trust policy names exist, who may take a role, and what it may do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from core.errors import Permanent
from core.preflight.account import Asked, TrustPolicy
from systems.aws import aws_errors, has_code

__all__ = ["missing_principals", "read_trust", "simulate"]

_PRINCIPAL = re.compile(r"^arn:[a-z-]+:(?:iam|sts)::(\d{12}):(role|user|assumed-role)/(.+)$")


def missing_principals(iam: Any, arns: Iterable[str], account: str) -> list[str]:
    """Return those of `arns` that the account's IAM does not know; other accounts' cannot be asked for.

    The account itself (`…:root`) always exists.
    """
    return [arn for arn in sorted(arns) if (found := _PRINCIPAL.match(arn)) and not _exists(iam, arn, found, account)]


def _exists(iam: Any, arn: str, found: re.Match[str], account: str) -> bool:
    owner, kind, path = found.groups()
    if owner != account:
        return True
    try:
        with aws_errors(f"looking for {arn}"):
            if kind == "user":
                return bool(iam.get_user(UserName=path.rpartition("/")[2])["User"]["Arn"] == arn)
            if kind == "role":
                return bool(iam.get_role(RoleName=path.rpartition("/")[2])["Role"]["Arn"] == arn)
            return bool(iam.get_role(RoleName=path.partition("/")[0]))
    except Permanent as error:
        if has_code(error, "NoSuchEntity"):
            return False
        raise


def simulate(iam: Any, role: str, asked: Iterable[Asked]) -> dict[tuple[str, str], str]:
    """Return IAM's decision on each action and resource, for a role by its ARN: `allowed` or how it is denied.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    decisions: dict[tuple[str, str], str] = {}
    for question in asked:
        context = [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in question.context.items()
        ]
        with aws_errors(f"simulating {role.rpartition('/')[2]}"):
            answer = iam.simulate_principal_policy(
                PolicySourceArn=role,
                ActionNames=list(question.actions),
                ResourceArns=[question.resource],
                ContextEntries=context,
            )
        for result in answer["EvaluationResults"]:
            decisions[result["EvalActionName"], question.resource] = str(result["EvalDecision"])
    return decisions


def read_trust(iam: Any, role: str) -> TrustPolicy | None:
    """Return who may take a role, by its name; None where IAM knows no such role."""
    try:
        with aws_errors(f"reading the role {role}"):
            return TrustPolicy.of(iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"])
    except Permanent as error:
        if has_code(error, "NoSuchEntity"):
            return None
        raise
