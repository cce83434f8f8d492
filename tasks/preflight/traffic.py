"""Looks at the way in: listeners, certificate and DNS."""

from __future__ import annotations

from core.colour import Colour
from core.errors import Permanent
from core.preflight.judgement import NOT_YET, Judgement, unknown
from core.preflight.traffic import judge_certificate, judge_dns, judge_listeners, judge_test_ports
from operation.lease import now
from systems.acm import find_certificate
from systems.aws import aws_errors, has_code
from systems.probes import endpoint_of
from systems.resolver import connects, resolve
from tasks.preflight.ground import Ground, Look

__all__ = ["LOOKS"]

_CONNECT_SECONDS = 2.0


def _listeners(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    tests = {f"{colour} test": arn for colour, arn in infrastructure.test_listener_arns.items()}
    expected = {"production": infrastructure.production_listener_arn, **tests}
    found = {arn: protocol for arn in expected.values() if (protocol := _protocol(ground, arn))}
    return judge_listeners(expected, found, https=ground.settings.traffic.https)


def _protocol(ground: Ground, arn: str) -> str | None:
    """Return a listener's protocol; None where there is no such listener."""
    try:
        with aws_errors("reading a listener"):
            found = ground.releases("elbv2").describe_listeners(ListenerArns=[arn])["Listeners"]
    except Permanent as error:
        if has_code(error, "ListenerNotFound"):
            return None
        raise
    return str(found[0]["Protocol"]) if found else None


def _test_ports(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    if ground.by_a_person:
        return unknown("the machine that releases must reach them, not this one")
    tried, unreached = 0, []
    for colour in Colour:
        endpoint = endpoint_of(ground.settings, infrastructure.alb_dns_name, colour)
        address = endpoint.addresses().reachable[0]
        tried += 1
        if not connects(address, endpoint.port, _CONNECT_SECONDS):
            unreached.append(f"{endpoint} at {address}")
    return judge_test_ports(unreached, tried)


def _certificate(ground: Ground) -> Judgement:
    arn = ground.settings.provision.environment.get("certificate_arn")
    if not isinstance(arn, str):
        return unknown("certificate_arn is not set: the load balancer speaks HTTP")
    return judge_certificate(find_certificate(ground.reader("acm"), arn), ground.settings.traffic.host, now())


def _dns(ground: Ground) -> Judgement:
    infrastructure, host = ground.infrastructure(), ground.settings.traffic.host
    if infrastructure is None:
        return NOT_YET
    if host is None:
        return unknown("traffic.host is not set: releases are proven under the load balancer's own name")
    balancer = infrastructure.alb_dns_name
    return judge_dns(host, resolve(host), balancer, resolve(balancer).addresses)


LOOKS: dict[str, Look] = {
    "listeners": _listeners,
    "test listeners reachable": _test_ports,
    "certificate": _certificate,
    "DNS": _dns,
}
