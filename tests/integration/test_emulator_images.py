"""ECR: images, indexes of images, and what is answered to whom accepts only one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

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


@pytest.fixture
def scans(aws: Emulator) -> Iterator[Callable[..., httpx.Response]]:
    url = f"{aws.url}/_pointsman/scans"
    yield lambda **scan: httpx.post(url, json=scan, trust_env=False)
    httpx.delete(url, trust_env=False)


def findings_of(aws: Emulator, repository: str, image: str, **page: object) -> dict[str, Any]:
    found: dict[str, Any] = aws.ecr.describe_image_scan_findings(
        repositoryName=repository, imageId={"imageDigest": image}, **page
    )
    return found


def test_a_repository_that_scans_on_push_finds_what_was_planted(
    aws: Emulator, scans: Callable[..., httpx.Response]
) -> None:
    aws.ecr.create_repository(repositoryName="team/scanned", imageScanningConfiguration={"scanOnPush": True})
    made = aws.ecr.put_image(repositoryName="team/scanned", imageManifest=manifest(of="a scan").decode(), imageTag="v1")
    image = made["image"]["imageId"]["imageDigest"]
    clean = findings_of(aws, "team/scanned", image)
    assert (clean["imageScanStatus"]["status"], clean["imageScanFindings"]["findings"]) == ("COMPLETE", [])

    planted = [{"name": f"CVE-2026-{number}", "severity": severity} for number, severity in enumerate(("HIGH", "LOW"))]
    assert scans(image=image, findings=planted).status_code == 200
    first = findings_of(aws, "team/scanned", image, maxResults=1)
    second = findings_of(aws, "team/scanned", image, maxResults=1, nextToken=first["nextToken"])
    assert [first["imageScanFindings"]["findings"], second["imageScanFindings"]["findings"]] == [
        planted[:1],
        planted[1:],
    ]
    assert first["imageScanFindings"]["findingSeverityCounts"] == {"HIGH": 1, "LOW": 1}
    assert "nextToken" not in second

    scans(image=image, status="IN_PROGRESS", findings=planted)
    assert "imageScanFindings" not in findings_of(aws, "team/scanned", image)
    assert scans(findings=[{"name": "CVE-2026-1", "severity": "BAD"}]).status_code == 400


def test_where_nothing_is_scanned_or_nothing_is_there_the_answer_says_so(aws: Emulator) -> None:
    image = manifest(of="no scan")
    push(aws, digest(image), image, IMAGE)
    with pytest.raises(aws.ecr.exceptions.ScanNotFoundException):
        findings_of(aws, REPOSITORY, digest(image))
    with pytest.raises(aws.ecr.exceptions.ImageNotFoundException):
        findings_of(aws, REPOSITORY, "sha256:" + "9" * 64)
    with pytest.raises(aws.ecr.exceptions.RepositoryNotFoundException):
        findings_of(aws, "team/nowhere", digest(image))
