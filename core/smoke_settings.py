"""What a candidate is asked before it gets traffic: `[smoke]` of an environment's file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.section import Seconds, Section

__all__ = ["Smoke", "SmokeCheck"]

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_OF_THE_CONNECTION = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "upgrade"}
)
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
_OF_THE_BALANCER = frozenset({"x-forwarded-port", "x-forwarded-proto"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$", max_length=259)]


def _header_fault(name: str, value: str) -> str | None:
    lower = name.lower()
    if not _HEADER.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if lower == "host":
        return "Host is a setting of its own: host"
    if lower in _CREDENTIAL_HEADERS:
        return f"{name} would put a secret into this file and the log: test a path that needs none"
    if lower in _OF_THE_CONNECTION:
        return f"{name} belongs to the connection and is set by the request itself"
    if lower in _OF_THE_BALANCER:
        return (
            f"{name} is written by the load balancer, whatever a client sends: expect the redirect (status, location)"
        )
    if not value.isascii() or not value.isprintable():
        return f"{name} has a value that is not printable ASCII"
    return None


class _Requests(Section):
    """What requests to the candidate carry."""

    host: Host | None = Field(default=None, description="The Host header; that of the listener if unset.")
    headers: dict[str, str] = Field(default={}, description="More headers, without secrets.")

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        faults = [fault for name, value in headers.items() if (fault := _header_fault(name, value))]
        if faults:
            raise ValueError("; ".join(faults))
        return headers


class SmokeCheck(_Requests):
    """One request to the candidate and what must come back. Redirects are not followed: they are an answer."""

    path: str = Field(pattern=r"^/")
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"] = "GET"
    body: str | None = None
    status: int = Field(default=200, ge=100, le=599)
    location: str | None = Field(
        default=None,
        pattern=r"^(/|https?://)\S*$",
        description="What a redirect must point at: an address, or path and query of whatever host.",
    )
    contains: str | None = Field(default=None, description="Text that the body must hold.")
    within_seconds: Seconds = 5

    @model_validator(mode="after")
    def _a_location_needs_a_redirect(self) -> Self:
        if self.location is not None and self.status not in _REDIRECTS:
            raise ValueError(
                f"location needs a status that redirects ({', '.join(map(str, sorted(_REDIRECTS)))}), not {self.status}"
            )
        return self


class Smoke(_Requests):
    """The deep test of a candidate through its own listener; host and headers are those of each of its requests."""

    checks: list[SmokeCheck] = Field(default=[SmokeCheck(path="/readyz")], min_length=1)
    attempts: int = Field(default=3, ge=1, le=20)

    def as_sent(self, check: SmokeCheck) -> SmokeCheck:
        """Return a check with the host and the headers that it does not set itself."""
        own = {name.lower() for name in check.headers}
        shared = {name: value for name, value in self.headers.items() if name.lower() not in own}
        return check.model_copy(update={"host": check.host or self.host, "headers": {**shared, **check.headers}})
