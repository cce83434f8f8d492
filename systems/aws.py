"""AWS clients with bounded calls, and AWS's errors turned into our four by their codes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
)

from blocks.aws import refreshing_session
from blocks.environment import ReleaseEnvironment
from core.errors import Permanent, PointsmanError, Transient, UnknownOutcome
from core.settings import Timing

__all__ = ["AwsClients", "aws_errors", "bounded_config", "classify", "has_code"]

# https://docs.aws.amazon.com/general/latest/gr/api-retries.html and each service's own list
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "LimitExceededException",
        "PriorRequestNotComplete",  # Route 53: another change of the zone is being written
        "RequestTimeout",  # S3: the request's body did not arrive in time, so nothing was done
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
    }
)
_NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError)
_ANSWER_LOST = (ReadTimeoutError, ConnectionClosedError, HTTPClientError, IncompleteReadError)


def bounded_config(timing: Timing) -> Config:
    """Return what bounds every call of a client, those that renew a role's session among them."""
    return Config(
        connect_timeout=timing.aws_connect_timeout,
        read_timeout=timing.aws_read_timeout,
        retries={"mode": "standard", "total_max_attempts": timing.aws_attempts},
    )


class AwsClients:
    """One environment's clients, made when first asked for; every call is bounded below the lease's expiry."""

    def __init__(self, environment: ReleaseEnvironment) -> None:
        bounded = bounded_config(environment.settings.timing)
        self._session = refreshing_session(environment.aws_credentials, bounded)
        self._endpoint = environment.aws_credentials.aws_client_parameters.endpoint_url
        self._config = bounded.merge(Config(s3={"addressing_style": "path"} if self._endpoint else None))
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        """Return the client of a service, by boto3's name for it."""
        with self._lock:  # boto3 sessions are not thread-safe, clients are
            if service not in self._clients:
                self._clients[service] = self._session.client(service, config=self._config, endpoint_url=self._endpoint)
            return self._clients[service]


def classify(error: Exception, doing: str, *, writes: bool) -> PointsmanError:
    """Return the error of ours that an AWS client's error means; `doing` names the call in words.

    A write whose answer was lost, or that failed inside the service, is an unknown outcome, never a failure.
    """
    if isinstance(error, ClientError):
        response = error.response
        code = response.get("Error", {}).get("Code", "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = f"{code}: {response.get('Error', {}).get('Message', '')}"
        if code in _DENIED:
            return Permanent(f"AWS does not allow {doing}", why=said, do="Check the role's policy.")
        if code in _THROTTLED:
            return Transient(f"AWS throttled {doing}", why=said)
        if status >= 500:
            kind = UnknownOutcome if writes else Transient
            return kind(f"AWS returned an error while {doing}", why=said, do="Check the AWS status page.")
        return Permanent(f"AWS refused {doing}", why=said)
    if isinstance(error, _NEVER_SENT):
        return Transient(f"AWS could not be reached for {doing}", why=str(error))
    if isinstance(error, _ANSWER_LOST):
        kind = UnknownOutcome if writes else Transient
        return kind(f"AWS's answer to {doing} was lost", why=str(error))
    return Permanent(f"Could not call AWS for {doing}", why=str(error), do="Check the credentials block.")


def has_code(error: PointsmanError, code: str) -> bool:
    """Whether an error of ours comes from an AWS error of that code."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == code


@contextmanager
def aws_errors(doing: str, *, writes: bool = False) -> Iterator[None]:
    """Turn AWS client errors inside the block into ours."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise classify(error, doing, writes=writes) from error
