"""Records of earlier schemas, brought to today's when they are read; the next write leaves them in today's.

A process that is older than a record refuses it: it would drop what it does not know.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["SCHEMA", "upgrade"]

SCHEMA = 2

# 1 → 2: the field's own words (docs/style.md).
_LEASE = {"fence": "fencing_token", "stage": "step", "heartbeat_at": "renewed_at", "settles": "takes_over"}
_ENVIRONMENT = {"hold": "lease", "fence": "fencing_token", "left_behind": "rolled_back"}


def upgrade(body: bytes | str) -> dict[str, Any]:
    """Return a record's JSON in today's schema; raise `ValueError`, in a sentence, for what is not a record of ours."""
    raw = json.loads(body)
    if not isinstance(raw, dict):
        raise ValueError("it is not a JSON object")
    schema = raw.get("schema", 1)
    if not isinstance(schema, int) or schema < 1:
        raise ValueError(f"its schema {schema!r} is not a valid schema number")
    if schema > SCHEMA:
        raise ValueError(f"its schema {schema} is newer than {SCHEMA}, the newest that this version of Pointsman knows")
    return _from_1(raw) if schema == 1 else raw


def _from_1(raw: dict[str, Any]) -> dict[str, Any]:
    if "attempts" in raw:
        return {**raw, "schema": 2}
    record = {_ENVIRONMENT.get(name, name): value for name, value in raw.items()}
    if record.get("lease"):
        record["lease"] = _lease_from_1(record["lease"])
    return {**record, "schema": 2}


def _lease_from_1(hold: dict[str, Any]) -> dict[str, Any]:
    lease = {_LEASE.get(name, name): value for name, value in hold.items()}
    if lease.get("takes_over"):
        lease["takes_over"] = _lease_from_1(lease["takes_over"])
    return lease
