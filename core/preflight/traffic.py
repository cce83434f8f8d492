"""Judgements of the way in: listeners, certificate and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from core.preflight.catalogue import LEAST_DAYS_OF_CERTIFICATE
from core.preflight.judgement import Judgement, failed, passed

__all__ = ["Certificate", "Resolved", "judge_certificate", "judge_dns", "judge_listeners", "judge_test_ports"]


def judge_listeners(expected: Mapping[str, str], found: Mapping[str, str], *, https: bool) -> Judgement:
    """Judge the recorded listeners, by what each is for with its ARN; `found` has the protocol of each ARN there is."""
    missing = [what for what, arn in expected.items() if arn not in found]
    if missing:
        return failed(f"the {' and the '.join(missing)} listener does not exist")
    protocol, wanted = found[expected["production"]], "HTTPS" if https else "HTTP"
    if protocol != wanted:
        return failed(
            f"the production listener speaks {protocol}, and traffic.https says {wanted}",
            "Set traffic.https to what the listener speaks, or run `provision` with or without certificate_arn.",
        )
    return passed(f"{len(expected)} there, production over {protocol}")


def judge_test_ports(unreached: Sequence[str], tried: int) -> Judgement:
    """Judge connections from this machine to the test listeners: those that were not accepted."""
    if unreached:
        return failed(f"no connection to {', '.join(unreached)}")
    return passed(f"{tried} connections accepted")


@dataclass(frozen=True)
class Certificate:
    """A certificate as ACM describes it."""

    status: str
    ends: datetime | None
    names: tuple[str, ...]


def judge_certificate(certificate: Certificate | None, host: str | None, now: datetime) -> Judgement:
    """Judge the listener's certificate; None where ACM knows none of that ARN."""
    if certificate is None:
        return failed("ACM has no such certificate", "Fix certificate_arn in [provision.environment].")
    if certificate.status != "ISSUED":
        return failed(f"its status is {certificate.status}", "Make the DNS records by which ACM validates it.")
    if certificate.ends is not None:
        days = (certificate.ends - now).days
        if days < LEAST_DAYS_OF_CERTIFICATE:
            return failed(f"it ends on {certificate.ends:%Y-%m-%d}, in {days} days")
    if host is not None and not any(_is_for(name, host) for name in certificate.names):
        return failed(f"it is for {', '.join(certificate.names)}, not for {host}", "Request one for traffic.host.")
    return passed(f"issued for {', '.join(certificate.names)}" + _until(certificate.ends))


def _is_for(name: str, host: str) -> bool:
    # A wildcard stands for one label: https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3
    return name == host or (name.count(".") == host.count(".") and fnmatchcase(host, name))


def _until(ends: datetime | None) -> str:
    return f", until {ends:%Y-%m-%d}" if ends else ""


@dataclass(frozen=True)
class Resolved:
    """What a name resolves to: its canonical name and its addresses; none where it does not resolve."""

    canonical: str = ""
    addresses: frozenset[str] = frozenset()


def judge_dns(host: str, found: Resolved, balancer: str, theirs: Iterable[str]) -> Judgement:
    """Judge that a name leads to the load balancer: by a CNAME, or by an alias with the same addresses."""
    if not found.addresses:
        return failed(f"{host} does not resolve", f"Make a CNAME from {host} to {balancer}.")
    if found.canonical.rstrip(".").lower() == balancer.lower():
        return passed(f"{host} is a CNAME of {balancer}")
    if found.addresses <= set(theirs):
        return passed(f"{host} has the addresses of {balancer}")
    return failed(
        f"{host} resolves to {', '.join(sorted(found.addresses))}, not to {balancer}",
        f"Point its CNAME at {balancer}; weighted records may lead elsewhere while traffic is moved.",
    )
