"""A slot's state is deleted: the release into it is refused, it is restored in the form, and the next release works."""

from __future__ import annotations

import json

import pytest

from sandbox.observer import Observer
from sandbox.operator import STAGE, Operator, Run
from sandbox.traffic import Client

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("something_live")]


def release(operator: Operator, tag: str) -> Run:
    operator.push("v1.1.0", tag=tag)
    return operator.wait(operator.run("release", tag=tag))


def versions(operator: Operator, key: str) -> list[str]:
    """The ids of an object's versions, newest first."""
    found = operator.client("s3").list_object_versions(Bucket=operator.settings.state_bucket, Prefix=key)
    return [version["VersionId"] for version in found["Versions"] if version["Key"] == key]


def test_a_release_into_a_lost_slot_is_refused_until_its_state_is_restored(
    operator: Operator, observer: Observer, client: Client
) -> None:
    assert release(operator, operator.next_tag()).type == "COMPLETED"
    live = operator.record().live
    assert live is not None
    colour, was = live.colour.other, operator.live
    key = f"terraform/{STAGE}/slot-{colour}.tfstate"
    good = versions(operator, key)[0]
    before = observer.look()
    operator.client("s3").delete_object(Bucket=operator.settings.state_bucket, Key=key)

    refused = release(operator, operator.next_tag())
    assert refused.type == "FAILED"
    assert f"The state of {colour} is lost or broken: it was deleted" in refused.message
    assert f"python -m flows restore-state {STAGE} --state {colour}" in refused.message
    assert observer.faults(before, live=was) == []

    run_id = operator.run("restore-state", state=colour.value)
    asking = operator.wait(run_id, until=lambda run: run.over or run.state == "Suspended")
    assert asking.state == "Suspended", asking.message
    assert operator.record().lease is None, "the environment is free while they think"
    answer = {"run_input": {"environment": STAGE, "version_id": good, "name": "Ada"}}
    assert operator.api.post(f"/flow_runs/{run_id}/resume", json=answer).status_code == 201
    restored = operator.wait(run_id, until=lambda run: run.over)
    assert restored.type == "COMPLETED", restored.message
    assert restored.message == (
        f"Version {good} of the state of {colour} is the newest again; a plan on it changes nothing."
    )
    body = operator.client("s3").get_object(Bucket=operator.settings.state_bucket, Key=key)["Body"].read()
    assert json.loads(body)["lineage"]
    assert observer.faults(before, live=was) == []

    tag = operator.next_tag()
    again = release(operator, tag)
    assert again.type == "COMPLETED", again.message
    assert observer.faults(before, live=tag) == []
    kept = operator.client("ecr").describe_images(repositoryName=operator.settings.repository)["imageDetails"]
    tags = {image["imageDigest"]: image.get("imageTags", []) for image in kept}
    record = operator.record()
    for one in (record.live, *record.healthy):
        assert one is not None
        assert any(t.startswith(f"keep__{STAGE}.") for t in tags[one.release.image_digest]), one.release.version


def test_the_record_comes_back_from_its_versions(operator: Operator, observer: Observer, client: Client) -> None:
    before, was = observer.look(), operator.live
    key = f"releases/{STAGE}/environment.json"
    good = versions(operator, key)[0]
    operator.client("s3").put_object(Bucket=operator.settings.state_bucket, Key=key, Body=b'{"schema": 2, "env')
    refused = operator.wait(operator.run("status"))
    assert refused.type == "FAILED"
    assert f"python -m flows restore-state {STAGE} --state record" in refused.message
    restored = operator.wait(operator.run("restore-state", state="record", confirm=f"{STAGE} {good}"))
    assert restored.type == "COMPLETED", restored.message
    assert restored.message.endswith(
        f"{was} is live in {observer_colour(operator)} by that version, and AWS says the same."
    )
    assert observer.faults(before, live=was) == []


def observer_colour(operator: Operator) -> str:
    """The colour that the restored record names as live."""
    live = operator.record().live
    assert live is not None
    return live.colour.value
