"""Hosted zones of Route 53: a name's records read, changed in one batch, and seen on all of its servers.

https://docs.aws.amazon.com/Route53/latest/APIReference/Welcome.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.dns import Move, RecordSet, same_host
from core.errors import PointsmanError, Refused, UnknownOutcome
from core.settings import Timing
from systems.aws import aws_errors
from systems.polling import patient, polls, write_until_seen

__all__ = ["HostedZone", "all_records", "find_zone"]

_PROPAGATION = 300.0
"""Seconds until a change is on all servers: usually 60.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
"""


@dataclass(frozen=True)
class HostedZone:
    """One hosted zone."""

    route53: Any
    id: str
    name: str
    timing: Timing

    def records(self, name: str) -> list[RecordSet]:
        """Return the record sets of a name, of every type."""
        with aws_errors(f"reading the records of {name}"):
            pages = self.route53.get_paginator("list_resource_record_sets").paginate(
                HostedZoneId=self.id, StartRecordName=name
            )
            found: list[RecordSet] = []
            for page in pages:
                sets = page["ResourceRecordSets"]
                found += [one for one in sets if same_host(one["Name"], name)]
                if sets and not same_host(sets[-1]["Name"], name):
                    break
        return found

    def change(self, move: Move, comment: str) -> float:
        """Make the changes of a move, and wait until every server of Route 53 answers by them; return the seconds.

        Route 53 takes no empty batch: where nothing changes, nothing is written.
        Where the answer is lost the records are read: what is as wanted is written once more as it is, which changes
        nothing and names a change to wait for. Raises `UnknownOutcome` where neither is seen.
        """
        if not move.changes:
            return 0.0
        changes: Sequence[object] = move.changes
        name = move.before.name

        def write() -> str:
            with aws_errors(f"changing the records of {name}", writes=True):
                batch = {"Comment": comment, "Changes": list(changes)}
                answer = self.route53.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch=batch)
            return str(answer["ChangeInfo"]["Id"])

        def look() -> None:
            nonlocal changes
            if move.is_seen(self.records(name)):
                changes = [{"Action": "UPSERT", "ResourceRecordSet": one} for one in move.wanted]

        def unseen(failure: PointsmanError | None) -> PointsmanError:
            return UnknownOutcome(
                f"The records of {name} may or may not have changed",
                why=str(failure),
                do="Run the command again: it reads them first.",
            )

        change = write_until_seen(write, look, unseen=unseen, before_again=lambda _: None)
        return self._wait(change, name)

    def _wait(self, change: str, name: str) -> float:
        waited = 0.0
        for _ in polls(every=self.timing.poll, within=_PROPAGATION, check=lambda: None):
            if patient(lambda: self._in_sync(change, name)):
                return waited
            waited += self.timing.poll
        raise UnknownOutcome(
            f"Route 53 still answers for {name} by the records of before on some servers",
            why=f"change {change} is not INSYNC after {_PROPAGATION:g} s",
            do="Run the command again: it reads the records first.",
        )

    def _in_sync(self, change: str, name: str) -> bool:
        with aws_errors(f"waiting for the records of {name}"):
            return bool(self.route53.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")


def find_zone(route53: Any, named: str, timing: Timing) -> HostedZone:
    """Return a hosted zone by its name or its id; raise `Refused` where there is none, or more than one of the name."""
    zones = [zone for zone in _zones(route53) if same_host(zone["Name"], named) or zone["Id"].endswith(f"/{named}")]
    if len(zones) != 1:
        raise Refused(
            f"There is {'no' if not zones else 'more than one'} hosted zone {named} in this account",
            why=", ".join(f"{zone['Id']} is {_kind(zone)}" for zone in zones) or "Route 53 lists none of that name",
            do="Name it by its id with --zone." if zones else "Check --zone and whose credentials these are.",
        )
    return HostedZone(route53, zones[0]["Id"].rpartition("/")[2], zones[0]["Name"], timing)


def all_records(route53: Any) -> Iterator[tuple[str, RecordSet]]:
    """Yield every record set of the account with its zone's name."""
    for zone in _zones(route53):
        with aws_errors(f"reading the hosted zone {zone['Name']}"):
            pages = route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"])
            found = [one for page in pages for one in page["ResourceRecordSets"]]
        for one in found:
            yield zone["Name"], one


def _zones(route53: Any) -> list[dict[str, Any]]:
    with aws_errors("listing the hosted zones"):
        pages = route53.get_paginator("list_hosted_zones").paginate()
        return [zone for page in pages for zone in page["HostedZones"]]


def _kind(zone: dict[str, Any]) -> str:
    return "private" if zone.get("Config", {}).get("PrivateZone") else "public"
