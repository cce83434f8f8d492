"""ECR: what an image tag holds already, what its scan found in an image, and a login for the push."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import Permanent, Transient
from core.findings import Finding, ImageScan
from core.image import RegistryImage
from core.image_settings import Platform
from core.image_size import ImageSize, layers_of
from core.prebuilt import PrebuiltImage
from systems.aws import AwsClients, aws_errors, has_code

__all__ = [
    "Login",
    "add_tag",
    "count_images",
    "find_image",
    "find_prebuilt",
    "image_exists",
    "login",
    "read_labels",
    "read_scan",
    "read_size",
]

_INDEXES = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
]
# ECR answers as if there were nothing where the image's type is not among those that are asked for.
_MEDIA_TYPES = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    *_INDEXES,
]
_LONGEST_CONFIGURATION = 1024 * 1024
# https://docs.docker.com/build/metadata/attestations/attestation-storage/
_PAGE = 1_000
_PAGES = 5
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True)
class Login:
    """A registry login, valid for 12 hours; it is stored nowhere."""

    registry: str
    username: str
    password: str


def find_image(aws: AwsClients, repository: str, tag: str, platform: Platform = "linux/amd64") -> RegistryImage | None:
    """Return what `tag` holds in `repository`, or None; of an index it is the child for `platform` that counts."""
    found = _manifest(aws, repository, {"imageTag": tag})
    if found is None:
        return None
    digest, manifest = found
    contents = {digest}
    child = _child(manifest, platform)
    if child is not None:
        contents.add(child)
        _, manifest = _manifest(aws, repository, {"imageDigest": child}) or (child, {})
    configuration = manifest.get("config", {}).get("digest")
    return RegistryImage(digest, frozenset({*contents, configuration} - {None}), configuration)


def read_labels(aws: AwsClients, repository: str, image: RegistryImage) -> dict[str, str]:
    """Return what an image says of itself: for people to read, not a reason to trust it."""
    return _labels(aws, repository, image.configuration) if image.configuration else {}


def find_prebuilt(aws: AwsClients, repository: str, digest: str, platform: Platform) -> PrebuiltImage | None:
    """Return an image by its digest with the platforms that it is for, or None where the repository lacks it."""
    found = _manifest(aws, repository, {"imageDigest": digest})
    if found is None:
        return None
    manifest = found[1]
    if "manifests" in manifest:
        children = [child for child in manifest["manifests"] if _could_be_pulled(child, platform)]
        return PrebuiltImage(digest, tuple(_platform(child) or "unknown" for child in children))
    made = _configuration(aws, repository, str(manifest.get("config", {}).get("digest")))
    return PrebuiltImage(digest, (f"{made.get('os')}/{made.get('architecture')}",))


def read_size(aws: AwsClients, repository: str, digest: str, platform: Platform) -> ImageSize:
    """Return an image's layers; of an index, those of its child for `platform`.

    Raises `Permanent` where there is no such image.
    """
    found = _manifest(aws, repository, {"imageDigest": digest})
    if found is not None and (child := _child(found[1], platform)) is not None:
        found = _manifest(aws, repository, {"imageDigest": child})
    manifest = found[1] if found else {}
    configuration = manifest.get("config", {}).get("digest")
    if configuration is None:
        raise Permanent(f"ECR holds no image {repository}@{digest} for {platform}")
    return layers_of(manifest, _configuration(aws, repository, str(configuration)))


def image_exists(aws: AwsClients, repository: str, digest: str) -> bool:
    """Whether an image of that digest is still in `repository`."""
    try:
        with aws_errors(f"looking for image {repository}@{digest}"):
            aws("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    except Permanent as error:
        if has_code(error, "ImageNotFoundException"):
            return False
        raise
    return True


def count_images(aws: AwsClients, repository: str) -> int:
    """Return how many images a repository holds; none where there is no such repository."""
    try:
        with aws_errors(f"listing the images of {repository}"):
            pages = aws("ecr").get_paginator("list_images").paginate(repositoryName=repository)
            return len({image["imageDigest"] for page in pages for image in page["imageIds"]})
    except Permanent as error:
        if has_code(error, "RepositoryNotFoundException"):
            return 0
        raise


def add_tag(aws: AwsClients, repository: str, digest: str, tag: str) -> bool:
    """Give an image a tag more; return whether it had to be written. Raises `Permanent` where there is no such image.

    The same manifest is put under another tag, which the immutability of tags allows:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html
    """
    with aws_errors(f"looking for image {repository}@{digest}"):
        (found,) = aws("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])[
            "imageDetails"
        ]
    if tag in found.get("imageTags", []):
        return False
    name = f"{repository}@{digest}"
    with aws_errors(f"reading image {name}"):
        answer = aws("ecr").batch_get_image(
            repositoryName=repository, imageIds=[{"imageDigest": digest}], acceptedMediaTypes=_MEDIA_TYPES
        )
    if not answer["images"]:
        raise Permanent(f"ECR could not return the image {name}", why=str(answer.get("failures", ""))[:200])
    image = answer["images"][0]
    try:
        with aws_errors(f"tagging image {name}", writes=True):
            aws("ecr").put_image(
                repositoryName=repository,
                imageManifest=image["imageManifest"],
                **({"imageManifestMediaType": kind} if (kind := image.get("imageManifestMediaType")) else {}),
                imageTag=tag,
                imageDigest=digest,
            )
    except Permanent as error:
        # An answer that was lost, and the write repeated: the tag names the digest, so nobody else's holds it.
        if not (has_code(error, "ImageAlreadyExistsException") or has_code(error, "ImageTagAlreadyExistsException")):
            raise
    return True


def read_scan(aws: AwsClients, repository: str, digest: str, platform: Platform = "linux/amd64") -> ImageScan:
    """Return what ECR's scan of an image says now; of an index it is the child for `platform` that is scanned.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html
    """
    scan = _scan(aws, repository, digest)
    if scan.finished or scan.status in ("IN_PROGRESS", "PENDING"):
        return scan
    _, manifest = _manifest(aws, repository, {"imageDigest": digest}) or (digest, {})
    child = _child(manifest, platform)
    return _scan(aws, repository, child) if child is not None else scan


def login(aws: AwsClients) -> Login:
    """Return a fresh login for the account's registry."""
    with aws_errors("getting a registry login"):
        data = aws("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return Login(data["proxyEndpoint"], user, password)


def _scan(aws: AwsClients, repository: str, digest: str) -> ImageScan:
    asked: dict[str, Any] = {"repositoryName": repository, "imageId": {"imageDigest": digest}, "maxResults": _PAGE}
    findings: list[Finding] = []
    answer: dict[str, Any] = {}
    for _ in range(_PAGES):
        try:
            with aws_errors(f"reading the scan of {repository}@{digest}"):
                answer = aws("ecr").describe_image_scan_findings(**asked)
        except Permanent as error:
            if has_code(error, "ScanNotFoundException"):
                return ImageScan(None)
            raise
        found = answer.get("imageScanFindings", {})
        findings += [Finding(one["name"], one["severity"]) for one in found.get("findings", [])]
        findings += [_enhanced(one) for one in found.get("enhancedFindings", [])]
        if not answer.get("nextToken"):
            break
        asked["nextToken"] = answer["nextToken"]
    status = answer.get("imageScanStatus", {})
    return ImageScan(
        status.get("status"),
        status.get("description", ""),
        tuple(findings),
        answer.get("imageScanFindings", {}).get("findingSeverityCounts", {}),
    )


def _enhanced(finding: dict[str, Any]) -> Finding:
    """Return a finding of enhanced scanning, which may be of something else than a package."""
    package = finding.get("packageVulnerabilityDetails", {})
    return Finding(package.get("vulnerabilityId") or finding.get("title", ""), finding.get("severity", "UNDEFINED"))


def _manifest(aws: AwsClients, repository: str, image: dict[str, str]) -> tuple[str, dict[str, Any]] | None:
    """Return the digest and the manifest of an image, or None if the repository has no such image."""
    name = f"{repository}:{image['imageTag']}" if "imageTag" in image else f"{repository}@{image['imageDigest']}"
    with aws_errors(f"reading image {name}"):
        answer = aws("ecr").batch_get_image(
            repositoryName=repository, imageIds=[image], acceptedMediaTypes=_MEDIA_TYPES
        )
    if answer["images"]:
        found = answer["images"][0]
        return found["imageId"]["imageDigest"], json.loads(found["imageManifest"])
    failures = [f for f in answer.get("failures", []) if f.get("failureCode") != "ImageNotFound"]
    if failures:
        raise Permanent(
            f"ECR could not return the image {name}",
            why=f"{failures[0].get('failureCode')}: {failures[0].get('failureReason', '')}",
            do="Check the image in ECR.",
        )
    return None


def _child(manifest: dict[str, Any], platform: Platform) -> str | None:
    """Return the digest of the one image in an index that `platform` can pull; None for none, or more than one.

    An attestation is for no platform. One that claims it could be pulled in the image's place, so it counts.
    """
    possible = [child for child in manifest.get("manifests", []) if _could_be_pulled(child, platform)]
    return str(possible[0]["digest"]) if len(possible) == 1 and _platform(possible[0]) == platform else None


def _could_be_pulled(child: dict[str, Any], platform: Platform) -> bool:
    attests = _ATTESTATION in child.get("annotations", {})
    return _platform(child) == platform or (_platform(child) is None and not attests)


def _platform(child: dict[str, Any]) -> str | None:
    platform = child.get("platform")
    return f"{platform.get('os')}/{platform.get('architecture')}" if platform else None


def _labels(aws: AwsClients, repository: str, config_digest: str) -> dict[str, str]:
    labels: dict[str, str] = _configuration(aws, repository, config_digest).get("config", {}).get("Labels") or {}
    return labels


def _configuration(aws: AwsClients, repository: str, config_digest: str) -> dict[str, Any]:
    with aws_errors(f"reading the configuration of an image in {repository}"):
        url = aws("ecr").get_download_url_for_layer(repositoryName=repository, layerDigest=config_digest)["downloadUrl"]
    try:
        content = _read_configuration(url)
    except httpx.TransportError as error:
        raise Transient("The image's configuration could not be read", why=str(error)) from error
    except httpx.HTTPStatusError as error:
        raise Permanent("The image's configuration could not be read", why=str(error)) from error
    found: dict[str, Any] = json.loads(content)
    return found


def _read_configuration(url: str) -> bytes:
    """Return an image's configuration; whoever pushed the image wrote it, at any length."""
    content = b""
    with httpx.stream("GET", url, timeout=10, follow_redirects=True) as answer:
        answer.raise_for_status()
        for part in answer.iter_bytes():
            content += part
            if len(content) > _LONGEST_CONFIGURATION:
                raise Permanent(
                    "The image's configuration could not be read",
                    why=f"it is longer than {_LONGEST_CONFIGURATION} bytes",
                    do="Check the image in ECR: it was not built by a release.",
                )
    return content
