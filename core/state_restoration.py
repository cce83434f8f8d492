"""Which version of a lost or broken state to restore, by what is in it, by the records and by AWS.

Terraform's state, version 4: https://developer.hashicorp.com/terraform/internals/json-format does not describe the file
itself; its members are those of Terraform's own reader, internal/states/statefile/version4.go.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.errors import Refused
from core.record import EnvironmentRecord
from core.words import counted

__all__ = [
    "Candidate",
    "Known",
    "StateContent",
    "StoredVersion",
    "Survey",
    "applied_there",
    "planned_changes",
    "read_state",
    "refuse_lost_state",
    "survey",
    "with_serial",
]

_FORMAT = 4
_SERIAL = re.compile(rb'^(  "serial": )\d+(?=,?\s*$)', re.MULTILINE)


@dataclass(frozen=True)
class StoredVersion:
    """One version of an object in the bucket; a delete marker has no content."""

    id: str
    at: datetime
    content: bytes | None
    etag: str | None = None
    restored_from: str | None = None
    """The version that it is a copy of, if a restore wrote it."""

    @property
    def deleted(self) -> bool:
        """Whether the object was deleted here."""
        return self.content is None


@dataclass(frozen=True)
class StateContent:
    """What a state says: whose it is, how old, and what it holds."""

    lineage: str
    serial: int
    terraform: str
    resources: Mapping[str, frozenset[str]]
    """The id and the ARN of each resource, by its address."""
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identities(self) -> frozenset[str]:
        """Every id and ARN in it."""
        return frozenset[str]().union(*self.resources.values())


@dataclass(frozen=True)
class Known:
    """A resource that the record names, or that AWS runs for us: what a right state holds."""

    address: str
    identity: str
    import_id: str
    exists: bool = True
    """Whether AWS has it now."""
    replaceable: bool = False
    """Whether Terraform may make it anew beside what exists, as it does with revisions of a task definition."""


@dataclass(frozen=True)
class Candidate:
    """A version, and how it stands beside what the records and AWS say."""

    version: StoredVersion
    content: StateContent | None
    faults: tuple[str, ...]
    """Why it cannot be restored."""
    differences: tuple[str, ...] = ()
    """What Terraform would have to change after it was restored."""
    named: str = ""
    """What the records say of it."""

    @property
    def fits(self) -> bool:
        """Whether it can be restored."""
        return not self.faults and self.content is not None

    @property
    def rank(self) -> tuple[int, datetime]:
        """What makes it better than another that fits: Terraform raises the serial with each write."""
        return self.content.serial if self.content else -1, self.version.at

    def __str__(self) -> str:
        if self.content is None:
            return "; ".join(self.faults)
        held = f"serial {self.content.serial}, {counted(len(self.content.resources), 'resource')}"
        return "; ".join([held, *self.faults, *self.differences])


@dataclass(frozen=True)
class Survey:
    """The versions of a state, newest first, and which of them fits best."""

    state: str
    candidates: tuple[Candidate, ...]
    known: tuple[Known, ...]
    terraform: str
    """This machine's Terraform, as `1.11.4`."""

    @property
    def newest(self) -> Candidate | None:
        """What Terraform would read now."""
        return self.candidates[0] if self.candidates else None

    @property
    def proposed(self) -> Candidate | None:
        """The version that fits best, or None."""
        return max((c for c in self.candidates if c.fits), key=lambda c: c.rank, default=None)

    @property
    def sound(self) -> bool:
        """Whether there is nothing to restore."""
        return self.newest is not None and self.proposed is self.newest

    @property
    def trouble(self) -> str:
        """What is wrong with the newest version, in words."""
        newest, proposed = self.newest, self.proposed
        if newest is None:
            return "it has no version at all"
        if newest.version.deleted:
            return f"it was deleted at {newest.version.at:%Y-%m-%d %H:%M:%S %Z}"
        if newest.faults:
            return "; ".join(newest.faults)
        if proposed is None or proposed is newest:
            return "nothing"
        return f"an older one was put back over that of {proposed.version.at:%Y-%m-%d %H:%M:%S %Z} ({newest})"

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that differ whenever there is another version, or another one fits best."""
        proposed = self.proposed.version.id if self.proposed else ""
        shown = [self.state, proposed, *(c.version.id for c in self.candidates)]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]

    @property
    def next_serial(self) -> int:
        """A serial above every readable version's: Terraform then refuses the plans that were made before.

        https://developer.hashicorp.com/terraform/language/state/remote (lineage and serial)
        """
        return max((c.content.serial for c in self.candidates if c.content), default=0) + 1

    @property
    def imports(self) -> tuple[str, ...]:
        """The commands that bring into an empty state what is known to exist."""
        return tuple(f"terraform import '{k.address}' '{k.import_id}'" for k in self.known if k.exists)

    def choose(self, version_id: str | None) -> Candidate | None:
        """Return the version to restore: the one named, else the one that fits best; None where all is well.

        Raises `Refused` for a version that does not fit, and where none does.
        """
        if version_id is None:
            if self.sound:
                return None
            if self.proposed is None:
                raise self._refusal("no version of it fits: " + (self._listed() or "there is none"))
            return self._readable_here(self.proposed)
        chosen = next((c for c in self.candidates if c.version.id == version_id), None)
        if chosen is None:
            raise self._refusal(f"it has no version {version_id} among its newest {len(self.candidates)}")
        if not chosen.fits:
            raise self._refusal(f"{version_id} does not fit: {'; '.join(chosen.faults)}")
        return None if chosen is self.newest or self._is_copy_of(chosen) else self._readable_here(chosen)

    def _is_copy_of(self, chosen: Candidate) -> bool:
        """Whether a restore that died afterwards wrote that version already."""
        return self.newest is not None and self.newest.fits and self.newest.version.restored_from == chosen.version.id

    def _readable_here(self, chosen: Candidate) -> Candidate:
        wrote = chosen.content.terraform if chosen.content else ""
        if _release(wrote) > _release(self.terraform):
            raise Refused(
                f"The state of {self.state} was not restored",
                why=f"Terraform {wrote} wrote version {chosen.version.id}, and {self.terraform} runs here",
                do=f"Run it on a machine with Terraform {wrote}.",
            )
        return chosen

    def _listed(self) -> str:
        return "; ".join(f"{c.version.id}: {', '.join(c.faults)}" for c in self.candidates[:5])

    def _refusal(self, why: str) -> Refused:
        best = self.proposed
        if best is not None:
            do = f"The version that fits best is {best.version.id}."
        elif self.imports:
            do = "docs/state.md says how to import what exists: " + "; ".join(self.imports)
        else:
            do = "Nothing is known to exist that would have to be imported."
        return Refused(f"The state of {self.state} was not restored", why=why, do=do)


def survey(
    state: str,
    versions: Sequence[StoredVersion],
    known: Sequence[Known],
    *,
    named: Mapping[str, str],
    terraform: str,
) -> Survey:
    """Judge the versions of a state, newest first.

    `named` is what the release records say of a version, by its id; `terraform` is this machine's, as `1.11.4`.
    """
    read = [(v, read_state(v.content) if v.content is not None else "it was deleted here") for v in versions]
    lineage = _lineage(read, known, named)
    judged = tuple(_judge(v, found, known, named.get(v.id, ""), lineage) for v, found in read)
    return Survey(state, judged, tuple(known), terraform)


def read_state(content: bytes) -> StateContent | str:
    """Return what a state says, or in words why it cannot be read."""
    try:
        found = json.loads(content)
    except ValueError as error:
        return f"it is not JSON ({len(content)} bytes: {error})"
    if not isinstance(found, dict) or found.get("version") != _FORMAT:
        return f"it is not a Terraform state of format {_FORMAT}"
    lineage, serial = found.get("lineage"), found.get("serial")
    if not lineage or not isinstance(lineage, str) or not isinstance(serial, int):
        return "it has no lineage or no serial"
    try:
        resources = dict(_resources(found.get("resources", [])))
        outputs = {name: output["value"] for name, output in found.get("outputs", {}).items()}
    except (AttributeError, KeyError, TypeError) as error:
        return f"its resources cannot be read ({type(error).__name__}: {error})"
    return StateContent(lineage, serial, str(found.get("terraform_version", "")), resources, outputs)


def with_serial(content: bytes, serial: int) -> bytes:
    """Return a state with another serial, and nothing else changed in it."""
    written = _SERIAL.sub(rb"\g<1>%d" % serial, content, count=1)
    wanted = {**json.loads(content), "serial": serial}
    if json.loads(written) == wanted:
        return written
    return json.dumps(wanted, indent=2).encode()  # it was not Terraform that laid it out


def planned_changes(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a plan (`terraform show -json`) would change, a line for each resource: action, address, members."""
    return tuple(
        f"{'replace' if len(actions) > 1 else actions[0]} {change['address']}{_members(change['change'])}"
        for change in content.get("resource_changes", [])
        if (actions := change["change"]["actions"]) not in (["no-op"], ["read"])
    )


def _members(change: Mapping[str, Any]) -> str:
    before, after = change.get("before") or {}, change.get("after") or {}
    if not before or not after:
        return ""
    unknown = {name for name, value in (change.get("after_unknown") or {}).items() if value is True}
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)} | unknown
    return f" ({', '.join(sorted(changed))})"


def refuse_lost_state(environment: str, state: str, newest: StoredVersion | None, *, applied: str | None) -> None:
    """Raise `Refused` where Terraform would take what exists for missing, or could not read its state.

    `newest` is the state as it is now, a delete marker included, and `applied` says in words what the record knows to
    have been applied there. Before the first apply a state has neither.
    """
    fault = ""
    if newest is None:
        fault = f"no version of it is left, although {applied}" if applied else ""
    elif newest.content is None:
        fault = f"it was deleted at {newest.at:%Y-%m-%d %H:%M:%S %Z}"
    elif isinstance(found := read_state(newest.content), str):
        fault = found
    if fault:
        raise Refused(
            f"The state of {state} is lost or broken",
            why=f"{fault}; Terraform would make anew what exists",
            do=f"Run `python -m flows restore-state {environment} --state {state}`; nothing was planned.",
        )


def applied_there(record: EnvironmentRecord, state: str) -> str | None:
    """Return in words what the record knows to have been applied with a state, or None."""
    if state == "environment":
        return "the record names what `provision` made" if record.infrastructure else None
    lived = (*record.healthy, *([record.live] if record.live else []))
    applied = [one.release.version for one in lived if one.colour.value == state]
    return f"{applied[-1]} was applied there" if applied else None


def _lineage(
    read: Iterable[tuple[StoredVersion, StateContent | str]], known: Sequence[Known], named: Mapping[str, str]
) -> str | None:
    """Return the lineage that is ours: of the newest version that holds what exists, else that a record names."""
    sound = [(version, found) for version, found in read if isinstance(found, StateContent)]
    there = {k.identity for k in known if k.exists and not k.replaceable}
    for _, found in sound:
        if there and there <= found.identities:
            return found.lineage
    for version, found in sound:
        if version.id in named:
            return found.lineage
    counts = Counter(found.lineage for _, found in sound)
    return counts.most_common(1)[0][0] if counts else None


def _judge(
    version: StoredVersion,
    found: StateContent | str,
    known: Sequence[Known],
    named: str,
    lineage: str | None,
) -> Candidate:
    if isinstance(found, str):
        return Candidate(version, None, (found,), named=named)
    faults = list(_faults(found, known, lineage))
    return Candidate(version, found, tuple(faults), tuple(_differences(found, known)), named)


def _faults(found: StateContent, known: Sequence[Known], lineage: str | None) -> Iterator[str]:
    if found.lineage != lineage:
        yield f"it is of another lineage ({found.lineage})"
    for one in known:
        if one.exists and not one.replaceable and one.identity not in found.identities:
            yield f"it lacks {one.address} ({one.identity}), which exists"


def _differences(found: StateContent, known: Sequence[Known]) -> Iterator[str]:
    for one in known:
        held = one.identity in found.identities
        if held and not one.exists:
            yield f"it holds {one.address} ({one.identity}), which no longer exists"
        if one.exists and one.replaceable and not held:
            other = ", ".join(sorted(i for i in found.resources.get(one.address, ()) if ":" in i)) or "nothing"
            yield f"{one.address} is {other}, and {one.identity} runs"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0])[:3])


def _resources(found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, frozenset[str]]]:
    for resource in found:
        if resource.get("mode") != "managed":
            continue
        at = f"{resource['module']}." if resource.get("module") else ""
        for instance in resource["instances"]:
            attributes = instance.get("attributes") or {}
            identities = frozenset(str(attributes[name]) for name in ("id", "arn") if attributes.get(name))
            yield f"{at}{resource['type']}.{resource['name']}{_index(instance)}", identities


def _index(instance: Mapping[str, Any]) -> str:
    return f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
