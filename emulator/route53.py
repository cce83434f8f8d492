"""Rules of Route 53 on record sets of one name, which MiniStack stores without a look.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emulator.upstream import replace, route53

__all__ = ["fault_of", "install"]

_ROUTINGS = ("Weight", "Region", "Failover", "GeoLocation", "MultiValueAnswer", "CidrRoutingConfig")


def install() -> None:
    """Put the additions in MiniStack's place."""
    change: Callable[[str, bytes], Any] = route53._change_resource_record_sets

    @functools.wraps(change)
    def change_resource_record_sets(zone_id: str, body: bytes) -> Any:
        before = list(route53._records.get(zone_id, []))
        answer = change(zone_id, body)
        if answer[0] != 200:
            return answer
        zone = str(route53._zones[zone_id]["name"])
        fault = fault_of(zone, route53._records[zone_id])
        if fault is None:
            return answer
        # A batch is taken as a whole or not at all.
        route53._records[zone_id] = before
        return route53._error_response("InvalidChangeBatch", f"[{fault}]")

    replace(route53, "_change_resource_record_sets", change_resource_record_sets)


def fault_of(zone: str, sets: Iterable[Mapping[str, Any]]) -> str | None:
    """Return why Route 53 would refuse a zone that holds these record sets, or None."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in sets:
        groups.setdefault(one["Name"], []).append(one)
    faults = (_fault(zone, name, group) for name, group in groups.items())
    return next((fault for fault in faults if fault), None)


def _fault(zone: str, name: str, group: list[Mapping[str, Any]]) -> str | None:
    types = {one["Type"] for one in group}
    if "CNAME" in types and (name == zone or len(types) > 1):
        where = f"at apex in zone {zone}" if name == zone else "as it conflicts with other records with the same name"
        return f"RRSet of type CNAME with DNS name {name} is not permitted {where}"
    for type_ in types:
        same = [one for one in group if one["Type"] == type_]
        for one in same:
            if one.get("Weight") is not None and not 0 <= one["Weight"] <= 255:
                return f"The weight {one['Weight']} of {name} is not from 0 to 255"
            if one.get("Weight") is not None and not one.get("SetIdentifier"):
                return f"Missing field 'SetIdentifier' in Change with [Type={type_}, Name={name}]"
        routings = {_routing(one) for one in same}
        if len(routings) > 1:
            why = "a non-weighted set exists" if "Weight" in routings else "other RRSets exist"
            return f"RRSet with DNS name {name}, type {type_} cannot be created as {why} with the same name and type."
        if routings == {"Weight"} and len({str(one.get("TTL")) for one in same}) > 1:
            why = "weighted sets must contain the same TTL"
            return f"RRSet with DNS name {name}, type {type_} cannot be created as {why}."
    return None


def _routing(one: Mapping[str, Any]) -> str:
    return next((key for key in _ROUTINGS if one.get(key) is not None), "simple")
