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
    """Put the additions in MiniStack's place.

    Docker speaks HTTP to a registry named `localhost`, and to no other name unless it is told to.
    """
    registry = f"localhost:{settings.gateway_port}"
    authorize: Callable[[Body], Answer] = ecr._get_authorization_token
    locate: Callable[[Body], Answer] = ecr._get_download_url_for_layer
    get_images: Callable[[Body], Answer] = ecr._batch_get_image
    put: Callable[[Body], Answer] = ecr._put_image
    put_by_registry: Callable[..., Answer] = ecr._v2_put_manifest

    def get_authorization_token(data: Body) -> Answer:
        def point_here(body: Body) -> None:
            for authorization in body["authorizationData"]:
                authorization["proxyEndpoint"] = f"http://{registry}"

        return _amended(authorize(data), point_here)

    def get_download_url_for_layer(data: Body) -> Answer:
        def point_here(body: Body) -> None:
            body["downloadUrl"] = f"http://{registry}/v2/{data['repositoryName']}/blobs/{body['layerDigest']}"

        return _amended(locate(data), point_here)

    def batch_get_image(data: Body) -> Answer:
        """An image asked for by tag carries that tag, whichever it got last."""
        tags = [wanted["imageTag"] for wanted in data.get("imageIds", []) if "imageTag" in wanted]

        def name_tags(body: Body) -> None:
            for image in body["images"]:
                record = ecr._find_image(data["repositoryName"], image["imageId"]) or {}
                asked = [tag for tag in tags if tag in record.get("imageTags", [])]
                if asked:
                    image["imageId"] = {**image["imageId"], "imageTag": asked[0]}

        def refuse_media_types(body: Body) -> None:
            accepted = data.get("acceptedMediaTypes") or _SINGLE_MANIFESTS
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

        return _amended(_amended(get_images(data), name_tags), refuse_media_types)

    def put_image(data: Body) -> Answer:
        """PutImage reads the media type from the manifest where the call names none."""
        stated = _media_type(data.get("imageManifest", ""))
        return put(
            data if data.get("imageManifestMediaType") or not stated else {**data, "imageManifestMediaType": stated}
        )

    def put_manifest(name: str, reference: str, headers: dict[str, str], body: bytes) -> Answer:
        """An index is taken once all that it lists is there, as a registry must."""
        missing = [digest for digest in _children(body) if ecr._resolve_manifest(name, digest)[1] is None]
        if name in ecr._repositories and missing:
            refusal: Answer = ecr._registry_error(
                404, "MANIFEST_BLOB_UNKNOWN", f"the manifest {missing[0]} is unknown to the registry", {}
            )
            return refusal
        return put_by_registry(name, reference, headers, body)

    replace(ecr, "_repo_uri", lambda name: f"{registry}/{name}")
    replace(ecr, "_get_authorization_token", get_authorization_token)
    replace(ecr, "_get_download_url_for_layer", get_download_url_for_layer)
    replace(ecr, "_batch_get_image", batch_get_image)
    replace(ecr, "_put_image", put_image)
    replace(ecr, "_v2_put_manifest", put_manifest)


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
