"""ECR under an address that this machine's Docker engine can push to and pull from without TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from emulator.settings import Settings
from emulator.upstream import ecr, replace

__all__ = ["install"]

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]

# What a call gets that names no media types; an index is not among them.
_SINGLE_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+json",
)


def install(settings: Settings) -> None:
    """Put the additions in MiniStack's place."""
    _Registry(f"localhost:{settings.gateway_port}").install()


class _Registry:
    """ECR's handlers, for a registry at this address.

    Docker speaks HTTP to a registry named `localhost`, and to no other name unless it is told to.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def install(self) -> None:
        """Put these handlers in the place of MiniStack's."""
        self._original_authorize: Callable[[Body], Answer] = replace(ecr, "_get_authorization_token", self._authorize)
        self._original_locate: Callable[[Body], Answer] = replace(ecr, "_get_download_url_for_layer", self._locate)
        self._original_get_images: Callable[[Body], Answer] = replace(ecr, "_batch_get_image", self._get_images)
        self._original_put: Callable[[Body], Answer] = replace(ecr, "_put_image", self._put)
        self._original_put_manifest: Callable[..., Answer] = replace(ecr, "_v2_put_manifest", self._put_manifest)
        replace(ecr, "_repo_uri", lambda name: f"{self._address}/{name}")

    def _authorize(self, data: Body) -> Answer:
        def point_here(body: Body) -> None:
            for authorization in body["authorizationData"]:
                authorization["proxyEndpoint"] = f"http://{self._address}"

        return _amended(self._original_authorize(data), point_here)

    def _locate(self, data: Body) -> Answer:
        def point_here(body: Body) -> None:
            body["downloadUrl"] = f"http://{self._address}/v2/{data['repositoryName']}/blobs/{body['layerDigest']}"

        return _amended(self._original_locate(data), point_here)

    def _get_images(self, data: Body) -> Answer:
        def name_and_refuse(body: Body) -> None:
            _name_tags(data, body["images"])
            _refuse_media_types(data, body)

        return _amended(self._original_get_images(data), name_and_refuse)

    def _put(self, data: Body) -> Answer:
        """PutImage reads the media type from the manifest where the call names none."""
        stated = _media_type(data.get("imageManifest", ""))
        if stated and not data.get("imageManifestMediaType"):
            data = {**data, "imageManifestMediaType": stated}
        return self._original_put(data)

    def _put_manifest(self, name: str, reference: str, headers: dict[str, str], body: bytes) -> Answer:
        """An index is taken once all that it lists is there, as a registry must."""
        missing = [digest for digest in _children(body) if ecr._resolve_manifest(name, digest)[1] is None]
        if name in ecr._repositories and missing:
            refusal: Answer = ecr._registry_error(
                404, "MANIFEST_BLOB_UNKNOWN", f"the manifest {missing[0]} is unknown to the registry", {}
            )
            return refusal
        return self._original_put_manifest(name, reference, headers, body)


def _name_tags(asked: Body, images: list[Body]) -> None:
    """Give an image asked for by tag that tag, whichever it got last."""
    tags = [wanted["imageTag"] for wanted in asked.get("imageIds", []) if "imageTag" in wanted]
    for image in images:
        record = ecr._find_image(asked["repositoryName"], image["imageId"]) or {}
        own = [tag for tag in tags if tag in record.get("imageTags", [])]
        if own:
            image["imageId"] = {**image["imageId"], "imageTag": own[0]}


def _refuse_media_types(asked: Body, body: Body) -> None:
    """Turn images of a media type that the call does not accept into failures."""
    accepted = asked.get("acceptedMediaTypes") or _SINGLE_MANIFESTS
    fitting = [image for image in body["images"] if image["imageManifestMediaType"] in accepted]
    body["failures"] += [
        {
            "imageId": image["imageId"],
            "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        }
        for image in body["images"]
        if image not in fitting
    ]
    body["images"] = fitting


def _media_type(manifest: str) -> str:
    parsed = _parsed(manifest)
    return str(parsed.get("mediaType", ""))


def _children(manifest: bytes) -> list[str]:
    """Digests of the manifests that an index lists; none for the manifest of one image."""
    return [child["digest"] for child in _parsed(manifest).get("manifests", [])]


def _parsed(manifest: str | bytes) -> Body:
    try:
        parsed = json.loads(manifest)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _amended(answer: Answer, amend: Callable[[Body], None]) -> Answer:
    """The answer with its JSON body amended, if it is no error."""
    status, headers, body = answer
    if status != 200:
        return answer
    parsed = json.loads(body)
    amend(parsed)
    return status, headers, json.dumps(parsed).encode()
