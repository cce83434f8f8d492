"""Images on a real Docker engine and in a real registry: built from nothing, pushed, known again, and removed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from core.errors import Permanent
from operation.operation import Operation
from systems.docker import remove_images
from systems.ecr import find_image, read_labels
from tasks.image import prune_worker
from tests.integration.images import Place, checkout_of, configure, files_of, pushed_image, tags
from tests.unit.facts import COMMIT

pytestmark = pytest.mark.integration
MONOREPO = (
    "FROM scratch AS production\nCOPY packages /packages\nCOPY apps/backend /app\nFROM scratch AS test\nCOPY . /\n"
)


def test_an_image_is_built_pushed_known_again_and_built_anew_of_other_inputs(
    operation: Operation, place: Place, tmp_path: Path
) -> None:
    configure(operation, '[image]\ntarget = "base"\n[image.build_args]\nWORD = "one"\n')
    checkout = checkout_of(tmp_path, "inputs")
    first = pushed_image(operation, checkout)
    assert {s.name: s.outcome for s in operation.journal.steps} == {"build": "done", "push": "done"}
    assert pushed_image(operation, checkout) == first
    assert {s.name: s.outcome for s in operation.journal.steps} == {"build": "skipped", "push": "skipped"}
    inside = files_of(first)
    assert "hello" in inside
    assert not [name for name in inside if ".git/" in name or name == "only-for-tests"]
    configure(operation, '[image]\ntarget = "base"\n[image.build_args]\nWORD = "two"\n')
    second = pushed_image(operation, checkout)
    assert second != first
    history = operation.records.version("v1.1.0")
    assert history is not None
    assert [f"{place.repository}@{i.digest}" for i in history.images] == [first, second]
    for image, word in zip(history.images, ["one", "two"], strict=True):
        found = find_image(operation.aws, "team/shop", image.tag)
        assert found is not None
        assert image.built == found.configuration
        assert read_labels(operation.aws, "team/shop", found)["word"] == word


def test_a_monorepo_builds_one_of_its_applications_with_all_of_it_as_context(
    operation: Operation, place: Place, tmp_path: Path
) -> None:
    configure(operation, '[image]\ncontext = "."\ndockerfile = "apps/backend/Dockerfile"\ntarget = "production"\n')
    checkout = checkout_of(tmp_path, "monorepo")
    for path, text in {
        "apps/backend/Dockerfile": MONOREPO,
        "apps/backend/Dockerfile.dockerignore": "apps/backend/.env\n",
        "apps/backend/server.js": "1",
        "apps/backend/.env": "2",
        "apps/frontend/page.js": "3",
        "packages/shared/index.js": "4",
    }.items():
        (checkout.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout.directory / path).write_text(text)
    inside = files_of(pushed_image(operation, checkout))
    assert {"app/server.js", "packages/shared/index.js"} <= inside
    assert not {name for name in inside if name.endswith((".env", "page.js", "hello")) or ".git" in name}


def test_a_lost_answer_is_settled_by_the_configuration_and_a_foreign_image_is_refused(
    operation: Operation, place: Place, tmp_path: Path
) -> None:
    checkout = checkout_of(tmp_path, "lost")
    image = pushed_image(operation, checkout)
    operation.records.change_version(
        "v1.1.0",
        COMMIT,
        lambda r: r.model_copy(update={"images": tuple(i.model_copy(update={"digest": None}) for i in r.images)}),
    )
    assert pushed_image(operation, checkout) == image
    operation.records.change_version("v1.1.0", COMMIT, lambda r: r.model_copy(update={"images": ()}))
    with pytest.raises(Permanent, match=rf"is taken: .*revision label says {checkout.commit[:12]}"):
        pushed_image(operation, checkout)


def test_an_index_in_the_registry_is_known_by_its_child(operation: Operation, place: Place, tmp_path: Path) -> None:
    image = pushed_image(operation, checkout_of(tmp_path, "index")).partition("@")[2]
    attestation = _put(place, "application/vnd.oci.image.manifest.v1+json", {"schemaVersion": 2, "layers": []})
    children = [
        {
            **attestation,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image},
        },
        {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": image,
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64"},
        },
    ]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}
    pushed = _put(place, index["mediaType"], index, tag="index")
    plain = find_image(operation.aws, "team/shop", tag_in(operation))
    found = find_image(operation.aws, "team/shop", "index")
    assert found is not None
    assert plain is not None
    assert found.digest == pushed["digest"]
    assert found.configuration == plain.configuration
    assert found.contents == {pushed["digest"], image, plain.configuration}


def tag_in(operation: Operation) -> str:
    history = operation.records.version("v1.1.0")
    assert history is not None
    return history.images[-1].tag


def _put(place: Place, kind: str, manifest: dict[str, Any], *, tag: str | None = None) -> dict[str, Any]:
    body = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    answer = httpx.put(
        f"http://127.0.0.1:{place.port}/v2/team/shop/manifests/{tag or digest}",
        content=body,
        headers={"content-type": kind},
        trust_env=False,
    )
    answer.raise_for_status()
    return {"mediaType": kind, "digest": digest, "size": len(body)}


def test_old_images_go_from_the_engine_and_others_stay(operation: Operation, place: Place, tmp_path: Path) -> None:
    configure(operation, '[docker]\nkeep_images = 2\nbuild_cache = "900GB"\n')
    client = docker.from_env()
    elsewhere = f"localhost:{place.port}/team/other"
    try:
        for n in range(4):
            pushed_image(operation, checkout_of(tmp_path / str(n), f"prune {n}"))
        history = operation.records.version("v1.1.0")
        assert history is not None
        made = [i.tag for i in history.images]
        client.images.get(f"{place.repository}:{made[0]}").tag(elsewhere, "v1")
        client.images.get(f"{place.repository}:{made[0]}").tag(place.repository, "v0.1.0__staging.12345678")
        container = client.api.create_container(f"{place.repository}:{made[1]}", command=["none"])["Id"]
        try:
            prune_worker.fn(operation)
            left = tags(operation, place)
        finally:
            client.api.remove_container(container)
        assert left >= {"v0.1.0__staging.12345678", made[1]}, "a container uses one, another stage has the other"
        assert made[0] not in left
        assert len(left) == 4
        assert client.images.get(f"{elsewhere}:v1")
        prune_worker.fn(operation)
        assert made[1] not in tags(operation, place)
        with pytest.raises(docker.errors.ImageNotFound):
            client.images.get(history.images[1].built)
    finally:
        for tag in (f"{elsewhere}:v1", f"{place.repository}:v0.1.0__staging.12345678"):
            remove_images(operation.block.docker_host, [tag])
        client.close()
