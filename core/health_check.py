"""What a load balancer asks a target, and which answers are healthy."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["HealthCheck", "fault_of_matcher", "matches"]

_PART = re.compile(r"(\d{3})(?:-(\d{3}))?")


@dataclass(frozen=True)
class HealthCheck:
    """A target group's path and the statuses that it takes for healthy, such as `200` or `200-399`."""

    path: str
    matcher: str = "200"

    def __str__(self) -> str:
        return self.path if self.matcher == "200" else f"{self.path} for {self.matcher}"


def fault_of_matcher(matcher: str) -> str | None:
    """Return in words what is wrong with a matcher, None for a good one.

    Codes from 200 to 499, several separated by commas, or ranges:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html
    """
    for part in matcher.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            return f"{part!r} is neither a status nor a range such as 200-399"
        low, high = int(found[1]), int(found[2] or found[1])
        if low < 200 or high > 499:
            return f"{part} is outside 200 to 499, which are what a load balancer takes for healthy"
        if low > high:
            return f"{part} begins after its end"
    return None


def matches(status: int, matcher: str) -> bool:
    """Whether a status is in a matcher."""
    bounds = (part.partition("-") for part in matcher.split(","))
    return any(int(low) <= status <= int(high or low) for low, _, high in bounds)
