"""Records of schema 1, as the Pointsman of before wrote them, are taken up; newer ones are refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.history import State, VersionRecord
from core.lease import LeaseVerdict, judge_lease
from core.record import EnvironmentRecord
from core.upgrade import upgrade
from lifecycle.takeover import take_over
from tests.unit.facts import NOON, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

OLD = Path(__file__).parent / "schema_1"


def read(name: str) -> EnvironmentRecord:
    return EnvironmentRecord.model_validate(upgrade((OLD / f"{name}.json").read_bytes()))


def test_what_is_live_and_what_is_warm_is_known_as_before() -> None:
    record = read("live_and_warm")
    written = json.loads((OLD / "live_and_warm.json").read_text())
    assert record.live is not None
    assert record.live.release.version == written["live"]["release"]["version"]
    assert [h.release.version for h in record.healthy] == [h["release"]["version"] for h in written["healthy"]]
    assert record.rolled_back == tuple(written["left_behind"])
    assert record.fencing_token == written["fence"]
    assert record.database is not None


def test_a_lease_that_is_held_is_held_still_and_its_queue_stands() -> None:
    record = read("held")
    assert record.lease is not None
    assert (record.lease.step, record.lease.fencing_token) == ("apply", record.fencing_token)
    assert judge_lease(record, owner("other"), NOON, owner_dead=False) is LeaseVerdict.HELD
    assert judge_lease(record, owner("other"), NOON, owner_dead=True) is LeaseVerdict.ABANDONED
    assert [q.version for q in record.queue] == ["v1.2.0"]


def test_a_release_that_waits_for_its_approval_goes_on_in_its_own_run() -> None:
    record = read("parked")
    assert judge_lease(record, owner("run-1", pid=9), NOON, owner_dead=False) is LeaseVerdict.RESUMED
    assert judge_lease(record, owner("other"), NOON, owner_dead=False) is LeaseVerdict.PARKED


def test_a_rollback_that_was_being_cleaned_up_is_known_with_the_wish_to_stop() -> None:
    record = read("taken_over")
    assert record.rollback is not None
    assert record.rollback.target.colour is Colour.GREEN
    assert record.lease is not None
    assert record.lease.takes_over is not None
    assert record.lease.takes_over.owner.flow == "rollback"
    assert record.lease.takes_over.stop is not None


def test_the_account_and_a_version_are_read_as_well() -> None:
    assert read("account").lease is None
    history = VersionRecord.model_validate(upgrade((OLD / "version.json").read_bytes()))
    assert history.attempts[0].state in (State.HEALTHY, State.ROLLED_BACK)
    assert history.attempts[0].reached("apply")


def test_the_next_write_leaves_a_record_in_today_s_schema(aws: FakeAws) -> None:
    key = "releases/test/environment.json"
    aws.s3.objects[key] = ((OLD / "held.json").read_bytes(), '"1"')
    store_of(aws.s3).change_environment(lambda r: r.with_failure("v1.0.0", "it failed"))
    written = json.loads(aws.s3.objects[key][0])
    assert written["schema"] == 2
    assert written["lease"]["step"] == "apply"
    assert {"hold", "fence", "left_behind"}.isdisjoint(written)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"schema": 3, "environment": "test"}', "its schema 3 is newer than 2"),
        (b'{"schema": "2", "environment": "test"}', "is not a valid schema number"),
        (b'{"schema": 0, "environment": "test"}', "is not a valid schema number"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_what_cannot_be_taken_up_is_refused_in_a_sentence(aws: FakeAws, body: bytes, why: str) -> None:
    aws.s3.objects["releases/test/environment.json"] = (body, '"1"')
    with pytest.raises(Refused, match=why):
        store_of(aws.s3).environment()


def test_a_process_of_before_refuses_today_s_record() -> None:
    """Schema 1 was read as a literal 1, and any other number failed its validation."""
    assert json.loads(read("held").model_dump_json(by_alias=True))["schema"] == 2


def test_a_run_that_died_under_the_pointsman_of_before_is_cleaned_up_by_this_one(
    aws: FakeAws, no_waiting: None, no_run_log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It held the environment at `apply`, with v1.1.0 in green; v1.0.0 is live in blue."""
    aws.s3.objects["releases/test/environment.json"] = ((OLD / "held.json").read_bytes(), '"1"')
    aws.s3.objects["releases/test/v1.1.0.json"] = ((OLD / "held_version.json").read_bytes(), '"1"')
    monkeypatch.setattr("operation.lease.process_is_dead", lambda whose: whose.flow_run_id == "run-1")
    finder = operation_of(aws, settings_with(), owner("rec-1", flow="reconcile", pid=9))
    finder.records.environment()
    cleaned_up = take_over(finder)
    assert cleaned_up is not None
    assert cleaned_up.startswith("v1.1.0 → test ended FAILED at ")
    record, history = store_of(aws.s3).environment(), store_of(aws.s3).version("v1.1.0")
    assert (record.lease, record.live and record.live.release.version) == (None, "v1.0.0")
    assert history is not None
    assert history.state is State.FAILED
    assert aws.elbv2.weights == Weights.all_on(Colour.BLUE)
