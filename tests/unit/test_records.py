"""Records in S3: a lost answer is distinguished from a lost race, and nobody's write is overwritten."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.errors import Permanent, Refused, UnknownOutcome
from core.lease import ask_to_stop, take
from core.record import EnvironmentRecord
from systems.records import RecordStore, StateBucket, ensure_state_bucket
from tests.unit.facts import NOON, attempt, lease_of, owner, waiter
from tests.unit.fakes import FakeAws, FakeS3, Fault, closed, lost, refusal, store_of, unreachable

pytestmark = pytest.mark.usefixtures("no_waiting")

KEY = "releases/test/environment.json"
SECURE = {"versioned", "encrypted", "closed", "expiring"}


def raised(record: EnvironmentRecord) -> EnvironmentRecord:
    """A change that shows how often it was made."""
    return record.model_copy(update={"fencing_token": record.fencing_token + 1})


def joined(run: str, record: EnvironmentRecord) -> EnvironmentRecord:
    return record.model_copy(update={"queue": (*record.queue, waiter("v1.0.0", run))})


@pytest.fixture(params=["a new record", "a record that is there"])
def s3(request: pytest.FixtureRequest) -> FakeS3:
    made = FakeS3()
    if request.param == "a record that is there":
        store_of(made).change_environment(raised)
    return made


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="no fault"),
        pytest.param([Fault(lost(), lands=True)], id="answer lost, written"),
        pytest.param([Fault(lost())], id="answer lost, not written"),
        pytest.param([Fault(closed(), lands=True)], id="connection closed, written"),
        pytest.param([Fault(closed())], id="connection closed, not written"),
        pytest.param([Fault(unreachable())], id="not reached"),
        pytest.param([Fault(refusal("PreconditionFailed", 412), lands=True)], id="412 to the repeat of our own write"),
        pytest.param([Fault(refusal("ConditionalRequestConflict", 409))], id="another write under way"),
        pytest.param([Fault(refusal("SlowDown", 503))], id="throttled"),
        pytest.param([Fault(refusal("InternalError", 500))], id="S3 failed, not written"),
        pytest.param([Fault(refusal("InternalError", 500), lands=True)], id="S3 failed, written"),
        pytest.param([Fault(lost()), Fault(lost()), Fault(lost(), lands=True)], id="lost three times, written last"),
    ],
)
def test_a_change_is_made_once_whatever_became_of_its_answer(s3: FakeS3, faults: list[Fault]) -> None:
    store = store_of(s3)
    before = store.environment().fencing_token
    s3.fail("put_object", *faults)
    assert store.change_environment(raised).fencing_token == before + 1
    assert store_of(s3).environment().fencing_token == before + 1


def test_a_change_is_made_once_though_the_look_after_a_lost_answer_fails_too(s3: FakeS3) -> None:
    store = store_of(s3)
    before = store.environment().fencing_token
    s3.fail("put_object", Fault(lost(), lands=True, meanwhile=lambda: s3.fail("get_object", Fault(lost()))))
    store.change_environment(raised)
    assert store_of(s3).environment().fencing_token == before + 1


@pytest.mark.parametrize("both_looked_first", [True, False])
def test_a_lost_race_makes_the_change_again_on_the_winner_s_record(s3: FakeS3, both_looked_first: bool) -> None:
    mine, theirs = store_of(s3), store_of(s3)
    if both_looked_first:
        mine.environment()
    theirs.change_environment(lambda r: joined("theirs", r))
    mine.change_environment(lambda r: joined("mine", r))
    assert [w.flow_run_id for w in store_of(s3).environment().queue] == ["theirs", "mine"]


@pytest.mark.parametrize("lands", [True, False])
def test_somebody_else_s_write_in_the_moment_of_a_lost_answer_stays(s3: FakeS3, lands: bool) -> None:
    mine, theirs = store_of(s3), store_of(s3)
    mine.environment()
    s3.fail(
        "put_object",
        Fault(lost(), lands=lands, meanwhile=lambda: theirs.change_environment(lambda r: joined("theirs", r))),
    )
    mine.change_environment(lambda r: r if r.lease else r.model_copy(update={"lease": lease_of(owner())}))
    record = store_of(s3).environment()
    assert [w.flow_run_id for w in record.queue] == ["theirs"]
    assert record.lease is not None


def test_a_record_that_was_deleted_meanwhile_is_a_lost_race(s3: FakeS3) -> None:
    store = store_of(s3)
    store.change_environment(raised)
    s3.delete_object(Bucket="state", Key=KEY)
    assert store.change_environment(raised).fencing_token == 1
    assert store_of(s3).environment().fencing_token == 1


def test_nobody_holds_an_environment_whose_record_was_deleted(s3: FakeS3) -> None:
    def renewed(record: EnvironmentRecord) -> EnvironmentRecord:
        if record.lease is None:
            raise Refused("It is not ours any more")
        return raised(record)

    store = store_of(s3)
    store.change_environment(lambda r: take(r, owner(), NOON, expiry=60, version=None))
    s3.delete_object(Bucket="state", Key=KEY)
    with pytest.raises(Refused, match="not ours"):
        store.change_environment(renewed)
    assert KEY not in s3.objects


def test_a_bucket_that_is_gone_is_no_lost_race(s3: FakeS3) -> None:
    store = store_of(s3)
    store.environment()
    puts = s3.count("put_object")
    s3.broken = {"put_object": lambda: refusal("NoSuchBucket", 404)}
    with pytest.raises(Permanent, match=f"writing s3://team-shop-state/{KEY}"):
        store.change_environment(raised)
    assert s3.count("put_object") == puts + 1


def test_every_write_has_a_condition(s3: FakeS3) -> None:
    store = store_of(s3)
    for _ in range(3):
        store.change_environment(raised)
    puts = [arguments for name, arguments in s3.calls if name == "put_object"]
    assert puts
    assert all("IfMatch" in p or p.get("IfNoneMatch") == "*" for p in puts)


def test_two_who_want_the_lease_do_not_both_get_it(s3: FakeS3) -> None:
    def take_if_free(whose: str, record: EnvironmentRecord) -> EnvironmentRecord:
        if record.lease is not None:
            raise Refused("It is held", why=record.lease.owner.flow_run_id)
        return take(record, owner(whose), NOON, expiry=60, version=None)

    first, second = store_of(s3), store_of(s3)
    first.environment(), second.environment()
    first.change_environment(lambda r: take_if_free("first", r))
    with pytest.raises(Refused, match="first"):
        second.change_environment(lambda r: take_if_free("second", r))


def test_a_change_that_is_refused_writes_nothing(s3: FakeS3) -> None:
    def refused(_record: EnvironmentRecord) -> EnvironmentRecord:
        raise Refused("No")

    puts = s3.count("put_object")
    with pytest.raises(Refused):
        store_of(s3).change_environment(refused)
    assert s3.count("put_object") == puts


def test_a_change_that_changes_nothing_writes_nothing(s3: FakeS3) -> None:
    puts = s3.count("put_object")
    store_of(s3).change_environment(lambda r: ask_to_stop(r, "x", "y", NOON))
    assert s3.count("put_object") == puts


@pytest.mark.parametrize("silence", [lost, unreachable, lambda: refusal("InternalError", 500)])
def test_a_write_that_never_gets_an_answer_has_an_unknown_outcome(s3: FakeS3, silence: object) -> None:
    store = store_of(s3)
    store.environment()
    s3.broken = {"put_object": silence, "get_object": silence}  # type: ignore[dict-item]
    with pytest.raises(UnknownOutcome, match=f"{KEY} could not be written"):
        store.change_environment(raised)


def test_a_write_that_is_not_allowed_is_not_tried_again(s3: FakeS3) -> None:
    store = store_of(s3)
    store.environment()
    puts = s3.count("put_object")
    s3.broken = {"put_object": lambda: refusal("AccessDenied", 403)}
    with pytest.raises(Permanent, match="AWS does not allow writing"):
        store.change_environment(raised)
    assert s3.count("put_object") == puts + 1


@pytest.mark.parametrize("body", [b'{"schema": 3, "environment": "test"}', b"no json", b"[]"])
def test_a_record_that_cannot_be_read_is_left_as_it_is(body: bytes) -> None:
    s3 = FakeS3(objects={KEY: (body, '"1"')})
    with pytest.raises(Refused, match="cannot be read"):
        store_of(s3).change_environment(raised)
    assert s3.objects[KEY][0] == body


def test_a_version_that_was_never_attempted_has_no_history(s3: FakeS3) -> None:
    assert store_of(s3).version("v1.0.0") is None
    store_of(s3).change_version("v1.0.0", "abc", lambda r: r.with_attempt(attempt()))
    history = store_of(s3).version("v1.0.0")
    assert history is not None
    assert (history.commit, len(history.attempts)) == ("abc", 1)


# --- the bucket

BUCKET = StateBucket("state", "eu-west-1", "123456789012")


def test_a_new_state_bucket_is_versioned_encrypted_and_closed() -> None:
    s3 = FakeS3()
    assert ensure_state_bucket(s3, BUCKET)
    assert s3.buckets == {"state": SECURE}
    assert not ensure_state_bucket(s3, BUCKET)


@pytest.mark.parametrize(
    "call",
    [
        "create_bucket",
        "put_bucket_versioning",
        "put_bucket_encryption",
        "put_bucket_lifecycle_configuration",
        "put_public_access_block",
    ],
)
@pytest.mark.parametrize("lands", [True, False])
def test_a_state_bucket_is_safe_once_a_run_says_so_whatever_was_lost_before(call: str, lands: bool) -> None:
    s3 = FakeS3()
    s3.fail(call, Fault(lost(), lands=lands))
    try:
        ensure_state_bucket(s3, BUCKET)
    except UnknownOutcome:
        ensure_state_bucket(s3, BUCKET)
    assert s3.buckets == {"state": SECURE}


def test_old_versions_of_records_and_states_expire_late_and_never_the_newest() -> None:
    s3 = FakeS3()
    ensure_state_bucket(s3, BUCKET)
    assert [rule["Filter"]["Prefix"] for rule in s3.lifecycle] == ["releases/", "terraform/"]
    for rule in s3.lifecycle:
        assert rule["Status"] == "Enabled"
        assert "Expiration" not in rule  # what is current never expires
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90, "NewerNoncurrentVersions": 20}


def test_a_state_bucket_that_exists_is_taken_as_it_is() -> None:
    s3 = FakeS3(buckets={"state": {"versioned", "closed"}})
    assert not ensure_state_bucket(s3, BUCKET)
    assert not [call for call, _ in s3.calls if call.startswith(("put_", "create_"))]


@pytest.mark.parametrize(
    ("marks", "open_points", "reason"),
    [
        ({"closed"}, set(), "it is not versioned"),
        ({"versioned"}, set(), "public access block"),
        ({"versioned", "closed"}, {"BlockPublicPolicy"}, "public access block"),
        (set(), set(), "not versioned.*; .*public access block"),
    ],
)
def test_a_state_bucket_that_is_not_safe_is_refused_and_not_changed(
    marks: set[str], open_points: set[str], reason: str
) -> None:
    s3 = FakeS3(buckets={"state": set(marks)}, open_points=open_points, objects={"x": (b"", "")})
    with pytest.raises(Refused, match=reason):
        ensure_state_bucket(s3, BUCKET)
    assert s3.buckets == {"state": marks}


def test_a_state_bucket_of_another_account_is_not_used() -> None:
    s3 = FakeS3(buckets={"state": set(SECURE)}, owner="999999999999")
    with pytest.raises(Permanent, match="AWS does not allow looking at the state bucket"):
        ensure_state_bucket(s3, BUCKET)


def test_records_are_neither_read_from_nor_written_to_a_bucket_of_another_account() -> None:
    s3 = FakeS3(owner="999999999999")
    store = RecordStore(s3, "team-shop-state", "test", "123456789012")
    with pytest.raises(Permanent, match="AWS does not allow reading"):
        store.environment()
    with pytest.raises(Permanent, match="AWS does not allow reading"):
        store.change_environment(raised)
    assert not s3.objects


def test_a_record_that_nobody_could_read_is_not_written(aws: FakeAws) -> None:
    store = store_of(aws.s3)
    before = store.change_environment(lambda r: r.with_failure("v1.0.0", "it failed"))
    with pytest.raises(Permanent, match="was not written: it could not be read"):
        store.change_environment(lambda r: r.model_copy(update={"weights": "oops", "fencing_token": 2}))
    assert store_of(aws.s3).environment() == before


def test_a_misspelt_transition_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="wieghts_intent"):
        EnvironmentRecord(environment="test")._with(wieghts_intent=None)
