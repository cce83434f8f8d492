"""A lost or broken record of an environment: the last version that knew something, held by nobody, and compared."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any

import pytest

from core.colour import Colour, Weights
from core.errors import Refused
from core.record import EnvironmentRecord
from core.record_restoration import RecordSurvey, survey_record
from core.state_restoration import StoredVersion
from flows.restore_state import restore
from operation.operation import Operation
from tests.unit.facts import NOON, environment, lease_of, live, owner, settings_with, slot_of, waiter
from tests.unit.fakes import FakeAws, operation_of, store_of

KEY = "releases/test/environment.json"
LIVE = live("v1.0.0").model_copy(update={"slot": slot_of("shop-test-blue:1")})
BLUE = Weights.all_on(Colour.BLUE)


def body(**facts: Any) -> bytes:
    return (
        environment(**{"live": LIVE, "weights": BLUE, "fencing_token": 7, **facts})
        .model_dump_json(by_alias=True)
        .encode()
    )


EMPTY = EnvironmentRecord(environment="test", fencing_token=1).model_dump_json(by_alias=True).encode()
GOOD = body()


def surveyed(*contents: bytes | None) -> RecordSurvey:
    """Versions `v1`, `v2`, … of the record, of which the last is the newest."""
    made = [
        StoredVersion(f"v{n}", NOON + timedelta(minutes=n), content, content and f'"{n}"')
        for n, content in enumerate(contents, 1)
    ]
    return survey_record("test", made[::-1])


@pytest.mark.parametrize(
    ("contents", "chosen", "trouble"),
    [
        pytest.param((GOOD,), None, "nothing", id="nothing is wrong"),
        pytest.param((body(fencing_token=6), GOOD), None, "nothing", id="nothing is wrong with the newest"),
        pytest.param((GOOD, None), "v1", "it was deleted at 2026-03-01 12:02:00 UTC", id="deleted"),
        pytest.param((GOOD, GOOD[:50]), "v1", "it cannot be read", id="cut off"),
        pytest.param((GOOD, b"[]"), "v1", "it is not a JSON object", id="something else"),
        pytest.param((GOOD, b'{"schema": 99}'), "v1", "newer than 2", id="of a newer schema"),
        pytest.param((GOOD, None, EMPTY), "v1", "it knows of no infrastructure", id="begun anew"),
        pytest.param(
            (GOOD, None, body(fencing_token=2, live=None)), "v1", "an older one was put back", id="provisioned"
        ),
        pytest.param((GOOD, body(fencing_token=3)), "v1", "an older one was put back", id="an older one put back"),
        pytest.param((GOOD, body(environment="other")), "v1", "it is that of other", id="another environment's"),
    ],
)
def test_what_is_wrong_and_what_is_proposed(
    contents: tuple[bytes | None, ...], chosen: str | None, trouble: str
) -> None:
    found = surveyed(*contents)
    proposal = found.choose(None)
    assert (proposal.version.id if proposal else None) == chosen
    assert trouble in found.trouble


@pytest.mark.parametrize(
    ("version_id", "contents", "why"),
    [
        ("v9", (GOOD,), "it has no version v9"),
        ("v2", (GOOD, None), "v2 does not fit: it was deleted here"),
        (None, (), "no version of it fits: it has none"),
        (None, (EMPTY, None), "v2: it was deleted here; v1: it knows of no infrastructure"),
    ],
)
def test_what_does_not_fit_is_refused(version_id: str | None, contents: tuple[bytes | None, ...], why: str) -> None:
    with pytest.raises(Refused, match=why):
        surveyed(*contents).choose(version_id)


def test_a_human_may_choose_an_older_one() -> None:
    chosen = surveyed(body(fencing_token=5), GOOD).choose("v1")
    assert chosen is not None
    assert chosen.record is not None
    assert chosen.record.fencing_token == 5


def test_nobody_holds_what_is_restored_and_no_former_holder_can_write() -> None:
    held = environment(live=LIVE, lease=lease_of(owner(), fencing_token=7), fencing_token=7, queue=(waiter("v2", "r"),))
    back = held.restored(12)
    assert (back.lease, back.queue, back.fencing_token, back.live) == (None, (), 12, LIVE)
    assert environment(fencing_token=20).restored(12).fencing_token == 20


# --- the flow


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []

    def publish(*, key: str, markdown: str, description: str) -> None:
        assert (key, description) == ("state-test-record", "State of record in test")
        texts.append(markdown)

    monkeypatch.setattr("tasks.state.create_markdown_artifact", publish)
    return texts


@pytest.fixture
def ours(aws: FakeAws, no_waiting: None, no_run_log: None, shown: list[str]) -> Operation:
    return operation_of(aws, settings_with(), owner("res-1", flow="restore-state", pid=os.getpid()))


def write(aws: FakeAws, *contents: bytes | None) -> list[str]:
    for content in contents:
        if content is None:
            aws.s3.delete_object(Bucket="b", Key=KEY)
        else:
            aws.s3.put_object(Bucket="b", Key=KEY, Body=content)
    return [version.id for version in aws.s3.versions[KEY]]


@pytest.mark.parametrize("harm", [None, b"{", EMPTY, body(fencing_token=2, live=None)])
def test_a_record_that_was_lost_or_broken_is_restored(
    ours: Operation, aws: FakeAws, shown: list[str], harm: bytes | None
) -> None:
    good, _ = write(aws, GOOD, harm)
    said = restore(ours, "record", confirm=f"test {good}")
    assert said == (
        f"Version {good} of the record of test is the newest again. "
        "v1.0.0 is live in blue by that version, and AWS says the same."
    )
    now = store_of(aws.s3).environment()
    assert (now.live, now.lease, now.fencing_token) == (LIVE, None, 8)
    assert "v1.0.0 live in blue; token 7" in shown[0]
    assert restore(ours, "record").startswith("The record of test is sound: v1.0.0 live in blue")


@pytest.mark.parametrize(
    ("weights", "runs", "told"),
    [
        (Weights.all_on(Colour.GREEN), "shop-test-blue:1", "but the listener has .*green.*: the next run freezes"),
        (BLUE, "shop-test-blue:9", "but blue runs shop-test-blue:9, not shop-test-blue:1: the next run freezes"),
    ],
)
def test_what_aws_says_otherwise_is_shown_before_it_is_asked(
    ours: Operation, aws: FakeAws, weights: Weights, runs: str, told: str
) -> None:
    write(aws, GOOD, None)
    aws.elbv2.weights = weights
    aws.ecs.uses["shop-test-blue"] = runs
    questions: list[str] = []

    def read(question: str) -> str:
        questions.append(question)
        return "no"

    with pytest.raises(Refused, match="is not the environment's name and the version's id"):
        restore(ours, "record", read=read)
    assert re.search(told, questions[0])
    assert KEY not in aws.s3.objects


def test_a_record_that_somebody_holds_is_left_alone(ours: Operation, aws: FakeAws) -> None:
    good, _ = write(aws, GOOD, body(fencing_token=3))
    other = operation_of(aws, settings_with(), owner("run-2", pid=os.getpid()))
    other.lease.take("v1.1.0", lambda _record: None)
    with pytest.raises(Refused, match="test is held by release"):
        restore(ours, "record", confirm=f"test {good}")
    other.lease.stop_heartbeat()


def test_what_came_meanwhile_over_a_broken_record_is_not_run_over(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, _ = write(aws, GOOD, b"{")
    put = aws.s3.put_object

    def slower(**arguments: Any) -> Any:
        monkeypatch.setattr(aws.s3, "put_object", put)
        write(aws, body(fencing_token=9))
        return put(**arguments)

    monkeypatch.setattr(aws.s3, "put_object", slower)
    with pytest.raises(Refused, match="it changed since it was looked at"):
        restore(ours, "record", confirm=f"test {good}")
    assert store_of(aws.s3).environment().fencing_token == 9


def test_a_broken_record_names_the_way_out(aws: FakeAws) -> None:
    write(aws, b"{")
    with pytest.raises(Refused, match="python -m flows restore-state test --state record"):
        store_of(aws.s3).environment()
    aws.s3.objects["releases/test/v1.0.0.json"] = (b"{", "1")
    with pytest.raises(Refused, match=r"docs/state\.md"):
        store_of(aws.s3).version("v1.0.0")
