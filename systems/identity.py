"""STS as a caller sees it: who it is, and what time it is there.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from systems.aws import aws_errors

__all__ = ["Caller", "read_caller"]


@dataclass(frozen=True)
class Caller:
    """Who called, and by how many seconds this machine's clock is ahead of AWS's; None where the answer has no date."""

    arn: str
    account: str
    skew: float | None


def read_caller(sts: Any) -> Caller:
    """Return the identity of a client's credentials, which needs no permission."""
    before = time.time()
    with aws_errors("asking who calls"):
        answer = sts.get_caller_identity()
    after = time.time()
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return Caller(str(answer["Arn"]), str(answer["Account"]), _skew(before, after, date) if date else None)


def _skew(before: float, after: float, date: str) -> float:
    """A header's date has whole seconds: what lies between is no difference."""
    theirs = parsedate_to_datetime(date).timestamp()
    if theirs > after:
        return after - theirs
    return max(0.0, before - theirs - 1)
