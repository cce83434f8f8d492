"""A tag with SemVer's build metadata, whose `+` means something else to registries, URLs and query strings."""

from __future__ import annotations

import pytest

from core.history import State
from sandbox.observer import Observer
from sandbox.operator import Operator
from sandbox.traffic import Client

pytestmark = pytest.mark.e2e


def test_tags_with_build_metadata_are_released_told_apart_and_rolled_back(
    operator: Operator, observer: Observer, client: Client
) -> None:
    before, bare = observer.look(), operator.next_tag()
    tags = [f"{bare}+5", f"{bare}+6"]
    for tag in tags:
        run = operator.wait(operator.deliver(tag, operator.push("v1.1.0", tag=tag)))
        assert run.type == "COMPLETED", run.message
        assert run.name == f"{tag} → sandbox"
        assert operator.answering(operator.settings.ports.production)["version"] == tag
        history = operator.history(tag)
        assert (history.version, history.state) == (tag, State.HEALTHY)
        (image,) = history.images
        assert image.tag.startswith(f"{tag.replace('+', '_')}__sandbox.")
        found = operator.client("ecr").describe_images(
            repositoryName=operator.settings.repository, imageIds=[{"imageDigest": image.digest}]
        )
        kept = f"keep__sandbox.{image.digest.removeprefix('sha256:')[:12]}"  # which no lifecycle rule expires
        assert sorted(found["imageDetails"][0]["imageTags"]) == sorted([image.tag, kept])
        listed = operator.client("s3").list_objects_v2(
            Bucket=operator.settings.state_bucket, Prefix=f"releases/sandbox/{bare}"
        )
        assert f"releases/sandbox/{tag}.json" in [o["Key"] for o in listed["Contents"]]
    same = operator.deliver(tags[1], operator.history(tags[1]).commit)
    assert same == operator.history(tags[1]).attempts[-1].flow_run_id, "a repeated delivery is the same run"
    for wanted in tags:
        run = operator.wait(operator.run("rollback", to_version=wanted))
        assert run.type == "COMPLETED", run.message
        assert operator.live == wanted
    assert observer.faults(before, live=tags[1]) == []
