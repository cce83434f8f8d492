"""ECR: what an image tag holds already, and a login for the push."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import Permanent, Transient
from systems.aws import AwsClients, aws_errors, has_code

__all__ = ["Login", "PushedImage", "find_image", "image_exists", "login"]

_MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
]


@dataclass(frozen=True)
class PushedImage:
    """An image in ECR: its digest and the labels of its configuration."""

    digest: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Login:
    """A registry login, valid for 12 hours; it is stored nowhere."""

    registry: str
    username: str
    password: str


def find_image(aws: AwsClients, repository: str, tag: str) -> PushedImage | None:
    """Return what `tag` holds in `repository`, or None."""
    with aws_errors(f"reading image {repository}:{tag}"):
        found = aws("ecr").batch_get_image(
            repositoryName=repository, imageIds=[{"imageTag": tag}], acceptedMediaTypes=_MANIFESTS
        )
    if not found["images"]:
        return None
    image = found["images"][0]
    manifest: dict[str, Any] = json.loads(image["imageManifest"])
    config = manifest.get("config", {}).get("digest")
    labels = _labels(aws, repository, config) if config else {}
    return PushedImage(image["imageId"]["imageDigest"], labels)


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


def login(aws: AwsClients) -> Login:
    """Return a fresh login for the account's registry."""
    with aws_errors("getting a registry login"):
        data = aws("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return Login(data["proxyEndpoint"], user, password)


def _labels(aws: AwsClients, repository: str, config_digest: str) -> dict[str, str]:
    with aws_errors(f"reading the configuration of an image in {repository}"):
        url = aws("ecr").get_download_url_for_layer(repositoryName=repository, layerDigest=config_digest)["downloadUrl"]
    try:
        answer = httpx.get(url, timeout=10, follow_redirects=True)
        answer.raise_for_status()
    except httpx.TransportError as error:
        raise Transient("The image's configuration could not be read", why=str(error)) from error
    except httpx.HTTPStatusError as error:
        raise Permanent("The image's configuration could not be read", why=str(error)) from error
    labels: dict[str, str] = answer.json().get("config", {}).get("Labels") or {}
    return labels
