"""IAM as far as `provision` asks it: whether those that a trust policy names exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from core.errors import Permanent
from systems.aws import aws_errors, has_code

__all__ = ["missing_principals"]

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
