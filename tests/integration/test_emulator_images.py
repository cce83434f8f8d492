"""ECR: images, indexes of images, and what is answered to whom accepts only one of them."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from tests.integration.stand import Emulator

pytestmark = pytest.mark.integration
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REPOSITORY = "team/indexed"


@pytest.fixture(scope="module", autouse=True)
def _repository(aws: Emulator) -> None:
    aws.ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")


def manifest(**labels: str) -> bytes:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "annotations": labels}
    ).encode()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def index(*children: bytes) -> bytes:
    listed = [
        {
            "mediaType": IMAGE,
            "digest": digest(child),
            "size": len(child),
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        for child in children
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()


def push(aws: Emulator, reference: str, content: bytes, kind: str) -> httpx.Response:
    return httpx.put(
        f"{aws.url}/v2/{REPOSITORY}/manifests/{reference}",
        content=content,
        headers={"Content-Type": kind},
        auth=("AWS", "password"),
        trust_env=False,
    )


def test_an_index_is_taken_and_answered_as_one_once_its_images_are_there(aws: Emulator) -> None:
    image = manifest(made="here")
    whole = index(image)
    assert push(aws, "v1.0.0", whole, INDEX).status_code == 404, "its image is missing"
    assert push(aws, digest(image), image, IMAGE).status_code == 201
    assert push(aws, "v1.0.0", whole, INDEX).status_code == 201
    pulled = httpx.get(f"{aws.url}/v2/{REPOSITORY}/manifests/v1.0.0", auth=("AWS", "password"), trust_env=False)
    assert (pulled.headers["content-type"], pulled.content) == (INDEX, whole)

    asked = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": "v1.0.0"}]}
    [found] = aws.ecr.batch_get_image(**asked, acceptedMediaTypes=[IMAGE, INDEX])["images"]
    assert found["imageId"] == {"imageDigest": digest(whole), "imageTag": "v1.0.0"}
    assert (found["imageManifestMediaType"], found["imageManifest"].encode()) == (INDEX, whole)
    child = {"repositoryName": REPOSITORY, "imageIds": [{"imageDigest": digest(image)}]}
    [single] = aws.ecr.batch_get_image(**child, acceptedMediaTypes=[IMAGE])["images"]
    assert single["imageManifest"].encode() == image


def test_who_accepts_no_index_is_answered_none(aws: Emulator) -> None:
    image = manifest(made="elsewhere")
    push(aws, digest(image), image, IMAGE)
    push(aws, "v2.0.0", index(image), INDEX)
    asked = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": "v2.0.0"}]}
    for accepted in ({"acceptedMediaTypes": [IMAGE]}, {}):
        answer = aws.ecr.batch_get_image(**asked, **accepted)
        assert answer["images"] == []
        assert [failure["failureCode"] for failure in answer["failures"]] == ["ImageNotFound"]
        assert answer["failures"][0]["imageId"]["imageTag"] == "v2.0.0"
