"""ECR under an address that this machine's Docker engine can push to and pull from without TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sandbox.emulator.settings import Settings
from sandbox.emulator.upstream import ecr, replace

__all__ = ["install"]

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]


def install(settings: Settings) -> None:
    """Put the additions in MiniStack's place.

    Docker speaks HTTP to a registry named `localhost`, and to no other name unless it is told to.
    """
    registry = f"localhost:{settings.gateway_port}"
    authorize: Callable[[Body], Answer] = ecr._get_authorization_token
    locate: Callable[[Body], Answer] = ecr._get_download_url_for_layer
    get_images: Callable[[Body], Answer] = ecr._batch_get_image

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

        return _amended(get_images(data), name_tags)

    replace(ecr, "_repo_uri", lambda name: f"{registry}/{name}")
    replace(ecr, "_get_authorization_token", get_authorization_token)
    replace(ecr, "_get_download_url_for_layer", get_download_url_for_layer)
    replace(ecr, "_batch_get_image", batch_get_image)


def _amended(answer: Answer, amend: Callable[[Body], None]) -> Answer:
    """The answer with its JSON body amended, if it is no error."""
    status, headers, body = answer
    if status != 200:
        return answer
    parsed = json.loads(body)
    amend(parsed)
    return status, headers, json.dumps(parsed).encode()
