"""ACM, to read: a certificate."""

from __future__ import annotations

from typing import Any

from core.errors import Permanent
from core.preflight.traffic import Certificate
from systems.aws import aws_errors, has_code

__all__ = ["find_certificate"]


def find_certificate(acm: Any, arn: str) -> Certificate | None:
    """Return a certificate, or None where ACM knows none of that ARN.

    https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html
    """
    try:
        with aws_errors("reading the certificate"):
            found = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    except Permanent as error:
        if has_code(error, "ResourceNotFoundException"):
            return None
        raise
    names = dict.fromkeys([found["DomainName"], *found.get("SubjectAlternativeNames", ())])
    return Certificate(found["Status"], found.get("NotAfter"), tuple(names))
