"""One name in Route 53 between two load balancers: what it does now, and the changes that share it out by weight.

https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-weighted.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.colour import Weights
from core.errors import Refused
from core.lease import refuse_held
from core.record import EnvironmentRecord

__all__ = [
    "ALIAS_TTL",
    "ALL",
    "Balancer",
    "LiveSide",
    "Move",
    "NameState",
    "plan_finish",
    "plan_move",
    "read_name",
    "refuse_nothing_live",
    "refuse_unready",
    "same_host",
]

ALL = 100
"""The weights of both add up to this, so that each is a percentage."""

ALIAS_TTL = 60
"""Seconds for which a resolver keeps the answer of an alias to a load balancer.

https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html
"""

_ROUTINGS = ("Region", "Failover", "GeoLocation", "GeoProximityLocation", "MultiValueAnswer", "CidrRoutingConfig")
_ADDRESSES = ("A", "AAAA", "CNAME")

RecordSet = Mapping[str, Any]
"""A record set as Route 53 lists it: a deletion must repeat it as it is."""


@dataclass(frozen=True)
class Balancer:
    """A load balancer that a name can point at: its DNS name, and the hosted zone that AWS keeps for it."""

    dns_name: str
    hosted_zone: str
    identifier: str
    """What its weighted record is called."""


@dataclass(frozen=True)
class NameState:
    """What a name does: its record sets, and of each hundred answers how many lead to ours."""

    name: str
    sets: tuple[RecordSet, ...]
    ours: int
    ttl: int
    """Seconds for which resolvers keep an answer."""

    def other_than(self, ours: Balancer) -> str | None:
        """Return the one DNS name that its records lead to besides ours; None where there is none, or several."""
        others = {_plain(_target(one)) for one in self.sets} - {_plain(ours.dns_name)}
        return others.pop() if len(others) == 1 else None


@dataclass(frozen=True)
class Move:
    """Changes for one batch, which Route 53 makes together or not at all; none where the name is as it shall be."""

    changes: tuple[Mapping[str, Any], ...]
    before: NameState
    wanted: tuple[RecordSet, ...]

    def is_seen(self, listed: Sequence[RecordSet]) -> bool:
        """Whether a name's records are what this move makes of them."""
        return _keyed([one for one in listed if one["Type"] in _ADDRESSES]) == _keyed(self.wanted)


@dataclass(frozen=True)
class LiveSide:
    """What is seen of the live release of an environment, before a name leads there."""

    weights: Weights
    desired: int
    healthy: int
    as_recorded: bool
    """Whether its service runs the task definition that the record knows it by."""


def refuse_nothing_live(record: EnvironmentRecord) -> None:
    """Raise `Refused` while somebody changes the environment, or where nothing is live that a name could lead to."""
    if record.lease is not None:
        raise refuse_held(record, record.lease)
    if record.frozen is not None:
        raise Refused(
            f"{record.environment} is frozen",
            why=record.frozen.reason,
            do="Find out who changed it, then end the freeze with `unfreeze`.",
        )
    if record.live is None:
        raise Refused(
            f"Nothing is live in {record.environment}",
            why="a name that led there would find no healthy target",
            do="Release the version that the old stack runs first.",
        )


def refuse_unready(record: EnvironmentRecord, seen: LiveSide) -> None:
    """Raise `Refused` unless the live release has all traffic of its own listener, and all of its tasks healthy."""
    live = record.live
    if live is None:
        return
    if seen.weights != Weights.all_on(live.colour):
        why = f"its listener carries {seen.weights}, and {live.colour} is live"
    elif not seen.as_recorded:
        why = f"{live.colour} runs a task definition that the record does not know {live.release.version} by"
    elif seen.desired == 0 or seen.healthy < seen.desired:
        why = f"{seen.healthy} of {seen.desired} targets are healthy"
    else:
        return
    raise Refused(
        f"{live.release.version} in {record.environment} is not ready for more traffic",
        why=why,
        do="Find out why; `status` shows what runs. The name was left as it is.",
    )


def same_host(one: str, other: str) -> bool:
    """Whether two DNS names mean the same load balancer, however they are written."""
    return _plain(one) == _plain(other)


def read_name(name: str, listed: Sequence[RecordSet], ours: Balancer, old: str | None) -> NameState:
    """Return what a name does; raise `Refused` where its records are not ours or the old one's to share out.

    `old` is the DNS name of the load balancer of before, or None where it is to be told by the records.
    """
    sets = tuple(one for one in listed if same_host(one["Name"], name) and one["Type"] in _ADDRESSES)
    if not sets:
        raise Refused(
            f"{name} has no record in this hosted zone",
            why="there is nothing to share out",
            do="Check --zone and --name. A name that is served elsewhere is moved there, as docs/adopting.md says.",
        )
    for one in sets:
        _refuse_foreign(name, one, ours, old)
    weights = [int(one.get("Weight", 1)) for one in sets]
    leading = sum(w for w, one in zip(weights, sets, strict=True) if same_host(_target(one), ours.dns_name))
    # Where all weights are 0, Route 53 answers with all of them alike.
    total = sum(weights)
    share = round(ALL * leading / total) if total else ALL // 2
    return NameState(name, sets, share, max(int(one.get("TTL", ALIAS_TTL)) for one in sets))


def _refuse_foreign(name: str, one: RecordSet, ours: Balancer, old: str | None) -> None:
    by = next((key for key in (*_ROUTINGS, "HealthCheckId") if one.get(key)), None)
    if by is not None:
        raise Refused(
            f"A record of {name} is routed by {by}",
            why="weights cannot stand beside another routing policy",
            do="Decide by hand what it shall be; see docs/adopting.md.",
        )
    if one["Type"] == "AAAA":
        raise Refused(
            f"{name} has an AAAA record",
            why="the new load balancer has no IPv6 address, so clients with IPv6 would stay on the old one",
            do="Delete the AAAA record first, and wait for its time to live.",
        )
    target = _target(one)
    known = [ours.dns_name, *([old] if old else [])]
    if target is None or (old is not None and not any(same_host(target, host) for host in known)):
        raise Refused(
            f"{name} points at {target or ', '.join(_values(one)) or 'nothing known'}",
            why=f"only records that point at {' or '.join(known)} are shared out",
            do="Name the old load balancer by --old, or change the record by hand.",
        )


def plan_move(state: NameState, ours: Balancer, old: Balancer, weight: int) -> Move:
    """Return the changes after which `weight` of 100 answers lead to ours and the rest to the old one.

    Health of the targets is not evaluated by Route 53: it calls a load balancer ill that has an empty target group, and
    ours has one as soon as the old colour is retired.
    https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html
    """
    if not 0 <= weight <= ALL:
        raise Refused(f"The weight {weight} is not from 0 to {ALL}", do="It is the percentage that ours gets.")
    template = state.sets[0]
    ttl = min(state.ttl, ALIAS_TTL)
    wanted = tuple(
        _set(template, balancer, ttl, {"SetIdentifier": _identifier(state, balancer), "Weight": share})
        for balancer, share in ((old, ALL - weight), (ours, weight))
    )
    return Move(_changes(state, wanted), state, wanted)


def plan_finish(state: NameState, ours: Balancer) -> Move:
    """Return the changes after which one record without a weight leads to ours; raise `Refused` before it has all."""
    if state.ours != ALL:
        raise Refused(
            f"{state.name} still leads to the old load balancer",
            why=f"ours has {state.ours} of {ALL}",
            do=f"Move it with --weight {ALL} first.",
        )
    wanted = (_set(state.sets[0], ours, min(state.ttl, ALIAS_TTL), {}),)
    return Move(_changes(state, wanted), state, wanted)


def _changes(state: NameState, wanted: tuple[RecordSet, ...]) -> tuple[Mapping[str, Any], ...]:
    now, then = _keyed(state.sets), _keyed(wanted)
    if now == then:
        return ()
    gone = [{"Action": "DELETE", "ResourceRecordSet": one} for key, one in _by_key(state.sets) if key not in then]
    # Weighted records beside one without a weight are refused, so what goes is first.
    written = [{"Action": "UPSERT", "ResourceRecordSet": one} for _, one in _by_key(wanted)]
    return (*gone, *written)


def _set(template: RecordSet, balancer: Balancer, ttl: int, routing: Mapping[str, Any]) -> RecordSet:
    """Return a record set of the template's name and kind that leads to a load balancer."""
    named = {"Name": template["Name"], "Type": template["Type"], **routing}
    if "AliasTarget" in template:
        target = {"HostedZoneId": balancer.hosted_zone, "DNSName": balancer.dns_name, "EvaluateTargetHealth": False}
        return {**named, "AliasTarget": target}
    return {**named, "TTL": ttl, "ResourceRecords": [{"Value": balancer.dns_name}]}


def _identifier(state: NameState, balancer: Balancer) -> str:
    """Return what the weighted record of a load balancer is called already, or what we call it."""
    known = (one for one in state.sets if "SetIdentifier" in one and same_host(_target(one), balancer.dns_name))
    return next((str(one["SetIdentifier"]) for one in known), balancer.identifier)


def _by_key(sets: Sequence[RecordSet]) -> list[tuple[tuple[str, str], RecordSet]]:
    return [((one["Type"], one.get("SetIdentifier", "")), one) for one in sets]


def _keyed(sets: Sequence[RecordSet]) -> dict[tuple[str, str], object]:
    return {
        key: (
            _plain(_target(one) or ""),
            one.get("Weight"),
            None if "AliasTarget" in one else one.get("TTL"),
            _ill(one),
        )
        for key, one in _by_key(sets)
    }


def _ill(one: RecordSet) -> bool:
    return bool(one.get("AliasTarget", {}).get("EvaluateTargetHealth"))


def _values(one: RecordSet) -> list[str]:
    return [str(record["Value"]) for record in one.get("ResourceRecords", [])]


def _target(one: RecordSet) -> Any:
    """Return the DNS name that a record leads to; None where it leads to addresses."""
    if "AliasTarget" in one:
        return one["AliasTarget"]["DNSName"]
    values = _values(one)
    return values[0] if one["Type"] == "CNAME" and len(values) == 1 else None


def _plain(host: str | None) -> str:
    return (host or "").rstrip(".").lower().removeprefix("dualstack.")
