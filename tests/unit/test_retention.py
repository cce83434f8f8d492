"""What expires in the state bucket is old twice over: what a rollback or a restore needs stays."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refused
from core.retention import DAYS, VERSIONS, Noncurrent, dangers, expiry_rules, kept, missing_prefixes
from core.settings import Timing
from systems.records import StateBucket, ensure_state_bucket
from tests.unit.facts import NOON
from tests.unit.fakes import FakeAws

RULES = expiry_rules()
STATES = next(rule for rule in RULES if rule["Filter"]["Prefix"] == "terraform/")
BUCKET = StateBucket("team-shop-state", "eu-west-1", "123456789012")
LONGEST_WINDOW = timedelta(seconds=86_400)


def rule(prefix: str = "terraform/", status: str = "Enabled", **does: Any) -> dict[str, Any]:
    return {"ID": "own", "Status": status, "Filter": {"Prefix": prefix}, **does}


@given(
    applies=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200)), min_size=1, max_size=40),
    quiet=st.integers(0, 400),
)
def test_the_states_that_the_last_records_name_are_kept(applies: list[tuple[int, int]], quiet: int) -> None:
    """Each apply writes a state once to three times, days after the last; then nothing is released for a while."""
    written = []  # oldest first: the day, and which apply's last write it was
    day = 0
    for number, (writes, pause) in enumerate(applies):
        day += pause
        written += [(day, None)] * (writes - 1) + [(day, number)]
    now = NOON + timedelta(days=day + quiet)
    old = [
        Noncurrent(str(number), NOON + timedelta(days=next_day)) for (_, number), (next_day, _) in pairwise(written)
    ][::-1]
    left = {version.id for version in kept(STATES, old, now)}
    named = [str(number) for number in range(len(applies) - 1)]  # the last apply's own is current
    assert set(named[-(VERSIONS // 3) :]) <= left, "the last applies' states stay, however long ago they were"
    recent = {v.id for v in old if v.since > now - LONGEST_WINDOW}
    assert recent <= left, "whatever was replaced within a rollback window stays"


def test_a_rollback_window_is_shorter_than_what_is_kept() -> None:
    (bound,) = [m.le for m in Timing.model_fields["rollback_window"].metadata if hasattr(m, "le")]
    assert timedelta(seconds=bound) <= LONGEST_WINDOW < timedelta(days=DAYS)


def test_what_is_old_twice_over_expires() -> None:
    versions = [Noncurrent(str(n), NOON - timedelta(days=n)) for n in range(200)]
    left = kept(STATES, versions, NOON)
    assert [v.id for v in left] == [str(n) for n in range(DAYS)]
    few = [Noncurrent(str(n), NOON - timedelta(days=1_000 + n)) for n in range(50)]
    assert len(kept(STATES, few, NOON)) == VERSIONS
    assert kept({**STATES, "Status": "Disabled"}, few, NOON) == tuple(few)


@pytest.mark.parametrize(
    ("rules", "missing", "danger"),
    [
        (RULES, (), ""),
        ([], ("releases/", "terraform/"), ""),
        ([rule()], ("releases/", "terraform/"), ""),
        ([{**RULES[0], "Filter": {"Prefix": ""}}], (), ""),
        ([{**RULES[0], "Status": "Disabled"}, RULES[1]], ("releases/",), ""),
        ([rule(Expiration={"Days": 30})], ("releases/", "terraform/"), "'own' deletes current states and records"),
        ([rule("", Expiration={"Days": 30})], ("releases/", "terraform/"), "deletes current"),
        ([rule("terraform/production/", Expiration={"Date": "x"})], ("releases/", "terraform/"), "deletes current"),
        ([rule("logs/", Expiration={"Days": 30})], ("releases/", "terraform/"), ""),
        ([rule(Expiration={"ExpiredObjectDeleteMarker": True})], ("releases/", "terraform/"), ""),
        ([rule(status="Disabled", Expiration={"Days": 30})], ("releases/", "terraform/"), ""),
        ([rule("", NoncurrentVersionExpiration={"NoncurrentDays": 1})], (), "deletes old versions after 1 day,"),
        ([rule("", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 5})], (), "1 day,"),
        ([rule("", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 20})], (), ""),
        ([rule("", NoncurrentVersionExpiration={"NoncurrentDays": 29})], (), "after 29 days,"),
        ([rule("", NoncurrentVersionExpiration={"NoncurrentDays": 30})], (), ""),
        ([rule(Transitions=[{"Days": 30, "StorageClass": "GLACIER"}])], ("releases/", "terraform/"), "storage class"),
        (
            [{"Status": "Enabled", "Filter": {"And": {"Prefix": "terraform/"}}, "Expiration": {"Days": 1}}],
            ("releases/", "terraform/"),
            "'terraform/' deletes current",
        ),
        (
            [{"Status": "Enabled", "Prefix": "releases/", "Expiration": {"Days": 1}}],
            ("releases/", "terraform/"),
            "deletes",
        ),
    ],
)
def test_the_rules_of_a_bucket_are_judged(rules: list[dict[str, Any]], missing: tuple[str, ...], danger: str) -> None:
    assert missing_prefixes(rules) == missing
    found = "; ".join(dangers(rules))
    assert danger in found
    assert bool(danger) is bool(found)


@pytest.fixture
def own_bucket(aws: FakeAws) -> FakeAws:
    """A bucket that somebody made, safe but for its rules."""
    aws.s3.buckets[BUCKET.name] = {"versioned", "closed", "encrypted"}
    aws.s3.objects["terraform/account.tfstate"] = (b"{}", "1")
    return aws


def test_an_existing_bucket_without_rules_is_said_and_taken(
    own_bucket: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert ensure_state_bucket(own_bucket.s3, BUCKET) is False
    assert "Old versions below releases/ and terraform/ never expire in team-shop-state" in caplog.text
    assert own_bucket.s3.lifecycle == []


def test_an_existing_bucket_that_deletes_current_states_is_refused(own_bucket: FakeAws) -> None:
    own_bucket.s3.lifecycle = [rule(Expiration={"Days": 30})]
    with pytest.raises(Refused, match="is not safe: its lifecycle rule 'own' deletes current states and records"):
        ensure_state_bucket(own_bucket.s3, BUCKET)


def test_a_bucket_of_ours_has_nothing_to_be_said_of(aws: FakeAws, caplog: pytest.LogCaptureFixture) -> None:
    assert ensure_state_bucket(aws.s3, BUCKET) is True
    aws.s3.objects["terraform/account.tfstate"] = (b"{}", "1")
    with caplog.at_level(logging.WARNING):
        assert ensure_state_bucket(aws.s3, BUCKET) is False
    assert caplog.text == ""
