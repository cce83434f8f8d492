"""AWS's errors are ours by their code: whether a retry helps, and whether it may have happened."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
    SSLError,
)

from core.errors import Permanent, PointsmanError, Transient, UnknownOutcome
from systems.aws import aws_errors, classify
from tests.unit.fakes import ENDPOINT, closed, lost, refusal, unreachable

P, T, U = Permanent, Transient, UnknownOutcome


@pytest.mark.parametrize(
    ("service", "code", "status", "when_reading", "when_writing"),
    [
        ("s3", "AccessDenied", 403, P, P),
        ("s3", "NoSuchKey", 404, P, P),
        ("s3", "NoSuchBucket", 404, P, P),
        ("s3", "PreconditionFailed", 412, P, P),
        ("s3", "SlowDown", 503, T, T),
        ("s3", "InternalError", 500, T, U),
        ("s3", "ServiceUnavailable", 503, T, U),
        ("s3", "RequestTimeout", 400, T, T),
        ("s3", "ExpiredToken", 400, P, P),
        ("elbv2", "AccessDenied", 403, P, P),
        ("elbv2", "ListenerNotFound", 400, P, P),
        ("elbv2", "TargetGroupNotFound", 400, P, P),
        ("elbv2", "ValidationError", 400, P, P),
        ("elbv2", "Throttling", 400, T, T),
        ("elbv2", "RequestLimitExceeded", 503, T, T),
        ("route53", "PriorRequestNotComplete", 400, T, T),
        ("elbv2", "InternalFailure", 500, T, U),
        ("elbv2", "ServiceUnavailable", 503, T, U),
        ("ecs", "AccessDeniedException", 400, P, P),
        ("ecs", "ClusterNotFoundException", 400, P, P),
        ("ecs", "ServiceNotFoundException", 400, P, P),
        ("ecs", "ServiceNotActiveException", 400, P, P),
        ("ecs", "InvalidParameterException", 400, P, P),
        ("ecs", "ClientException", 400, P, P),
        ("ecs", "ThrottlingException", 400, T, T),
        ("ecs", "ServerException", 500, T, U),
        ("ecr", "RepositoryNotFoundException", 400, P, P),
        ("ecr", "ImageNotFoundException", 400, P, P),
        ("ecr", "TooManyRequestsException", 400, T, T),
        ("ecr", "ServerException", 500, T, U),
        ("logs", "ResourceNotFoundException", 400, P, P),
        ("logs", "ServiceUnavailableException", 500, T, U),
        ("sts", "InvalidClientTokenId", 403, P, P),
        ("any", "NeverHeardOfIt", 400, P, P),
        ("any", "NeverHeardOfIt", 502, T, U),
        ("any", "", 504, T, U),
    ],
)
def test_an_answer_of_aws_is_ours_by_its_code_and_status(
    service: str, code: str, status: int, when_reading: type[PointsmanError], when_writing: type[PointsmanError]
) -> None:
    error = refusal(code, status)
    assert type(classify(error, f"asking {service}", writes=False)) is when_reading
    assert type(classify(error, f"asking {service}", writes=True)) is when_writing


@pytest.mark.parametrize(
    ("error", "when_reading", "when_writing"),
    [
        pytest.param(unreachable(), T, T, id="never connected"),
        pytest.param(ConnectTimeoutError(endpoint_url=ENDPOINT), T, T, id="connecting took too long"),
        pytest.param(lost(), T, U, id="no answer in time"),
        pytest.param(closed(), T, U, id="closed before the answer"),
        pytest.param(ResponseStreamingError(error="reset"), T, U, id="the body broke off"),
        pytest.param(IncompleteReadError(actual_bytes=1, expected_bytes=2), T, U, id="the body was too short"),
        pytest.param(NoCredentialsError(), P, P, id="no credentials"),
        pytest.param(SSLError(endpoint_url=ENDPOINT, error="certificate"), P, P, id="a certificate not trusted"),
    ],
)
def test_an_answer_that_did_not_come_is_lost_only_where_something_was_sent(
    error: Exception, when_reading: type[PointsmanError], when_writing: type[PointsmanError]
) -> None:
    assert type(classify(error, "asking", writes=False)) is when_reading
    assert type(classify(error, "asking", writes=True)) is when_writing


def test_the_sentence_names_the_call_and_the_code_and_keeps_the_cause() -> None:
    cause = refusal("AccessDenied", 403)
    sentence = "AWS does not allow reading the listener: AccessDenied: said so"
    with pytest.raises(Permanent, match=sentence) as caught, aws_errors("reading the listener"):
        raise cause
    assert caught.value.__cause__ is cause


def test_an_error_that_is_not_of_aws_passes_through() -> None:
    with pytest.raises(KeyError), aws_errors("reading"):
        raise KeyError("x")
