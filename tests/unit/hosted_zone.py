"""A hosted zone without a network: it takes a batch as a whole, by Route 53's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.colour import Colour, Weights
from core.dns import Balancer
from core.settings import Timing
from emulator.route53 import fault_of
from tests.unit.fakes import Answer, _Fake, refusal

NAME = "connections.example.com"
OURS = Balancer("new-2.eu-west-1.elb.amazonaws.com", "Z32O12XQLNTSW2", "pointsman-test")
OLD = Balancer("old-1.eu-west-1.elb.amazonaws.com", "Z32O12XQLNTSW2", "before-pointsman")
TIMING = Timing(poll=0.001)
BLUE = Weights.all_on(Colour.BLUE)


def alias(to: Balancer, weight: int | None = None, *, evaluates: bool = False, type_: str = "A", **more: Any) -> Answer:
    target = {"HostedZoneId": to.hosted_zone, "DNSName": f"dualstack.{to.dns_name}.", "EvaluateTargetHealth": evaluates}
    routing = {} if weight is None else {"SetIdentifier": to.identifier, "Weight": weight}
    return {"Name": f"{NAME}.", "Type": type_, "AliasTarget": target, **routing, **more}


def cname(to: str, ttl: int = 300, **more: Any) -> Answer:
    return {"Name": f"{NAME}.", "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": to}], **more}


@dataclass
class FakeRoute53(_Fake):
    """Hosted zones that take a batch as a whole, by Route 53's own rules, and are in sync after some looks."""

    zones: dict[str, str] = field(default_factory=lambda: {"Z1": "example.com."})
    sets: list[Mapping[str, Any]] = field(default_factory=list)
    pending: int = 1
    page: int = 100

    def get_paginator(self, name: str) -> Any:
        pages = {"list_hosted_zones": self._zones, "list_resource_record_sets": self._sets}

        class Paginator:
            def paginate(self, **arguments: Any) -> list[Answer]:
                return pages[name](**arguments)

        return Paginator()

    def _zones(self) -> list[Answer]:
        listed = [{"Id": f"/hostedzone/{key}", "Name": name} for key, name in self.zones.items()]
        return [self._do("list_hosted_zones", {}, lambda: {"HostedZones": listed})]

    def _sets(self, *, HostedZoneId: str, StartRecordName: str = "") -> list[Answer]:  # noqa: N803
        found = sorted((s for s in self.sets if s["Name"] >= StartRecordName), key=lambda s: str(s["Name"]))
        cut = [found[at : at + self.page] for at in range(0, len(found), self.page)] or [[]]
        return [
            self._do("list_resource_record_sets", {}, lambda page=page: {"ResourceRecordSets": page}) for page in cut
        ]

    def change_resource_record_sets(self, *, HostedZoneId: str, ChangeBatch: Answer) -> Answer:  # noqa: N803
        def write() -> Answer:
            left = list(self.sets)
            for change in ChangeBatch["Changes"]:
                one = change["ResourceRecordSet"]
                same = [s for s in left if _key(s) == _key(one)]
                if change["Action"] == "DELETE" and same != [one]:
                    raise refusal("InvalidChangeBatch")
                left = [s for s in left if _key(s) != _key(one)] + ([one] if change["Action"] == "UPSERT" else [])
            if fault_of("example.com.", left):
                raise refusal("InvalidChangeBatch")
            self.sets = left
            return {"ChangeInfo": {"Id": f"/change/C{self.count('change_resource_record_sets')}"}}

        return self._do("change_resource_record_sets", {"batch": ChangeBatch}, write)

    def get_change(self, *, Id: str) -> Answer:  # noqa: N803
        def read() -> Answer:
            self.pending -= 1
            return {"ChangeInfo": {"Id": Id, "Status": "PENDING" if self.pending >= 0 else "INSYNC"}}

        return self._do("get_change", {"Id": Id}, read)


def _key(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["Name"], one["Type"], one.get("SetIdentifier", "")
