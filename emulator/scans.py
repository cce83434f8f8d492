"""ECR's scans: where a repository scans on push, each image is clean at once unless a test planted findings.

`POST /_pointsman/scans` plants what the scan of one image answers, or of all images without `image`; `DELETE` forgets::

    {"image": "sha256:…", "status": "COMPLETE", "findings": [{"name": "CVE-2026-1234", "severity": "CRITICAL"}]}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from emulator.asgi import Application, Receive, Scope, Send, answer, read
from emulator.upstream import ecr, replace

__all__ = ["Scans"]

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
ADMIN_PATH = "/_pointsman/scans"
_ACTION = "DescribeImageScanFindings"
_PAGE = 100
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanFinding.html
_SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED")


class Scans:
    """ASGI middleware for what tests plant, and the handler of DescribeImageScanFindings, which MiniStack lacks."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._planted: dict[str, Body] = {}
        handle: Callable[..., Any] = ecr.handle_request

        async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
            if headers.get("x-amz-target", "").rpartition(".")[2] == _ACTION:
                return self._describe(json.loads(body or b"{}"))
            return await handle(method, path, headers, body, query)

        replace(ecr, "handle_request", handle_request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the admin path, or pass the call on."""
        if scope["type"] != "http" or scope["path"] != ADMIN_PATH:
            await self._application(scope, receive, send)
            return
        _, body = await read(receive)
        if scope["method"] == "DELETE":
            self._planted = {}
        elif scope["method"] == "POST":
            try:
                self._plant(json.loads(body))
            except ValueError as error:
                await answer(send, 400, "application/json", json.dumps({"message": str(error)}).encode())
                return
        await answer(send, 200, "application/json", json.dumps(self._planted).encode())

    def _plant(self, given: Any) -> None:
        if not isinstance(given, dict) or set(given) - {"image", "status", "findings"}:
            raise ValueError("a scan is an object with, on wish, image, status and findings")
        for finding in given.get("findings", []):
            if set(finding) != {"name", "severity"} or finding["severity"] not in _SEVERITIES:
                raise ValueError(f"a finding has a name and a severity, one of {', '.join(_SEVERITIES)}")
        self._planted = {**self._planted, given.get("image", ""): given}

    def _describe(self, data: Body) -> Answer:
        name, wanted = data.get("repositoryName", ""), data.get("imageId", {})
        if name not in ecr._repositories:
            return _error("RepositoryNotFoundException", f"The repository with name '{name}' does not exist")
        image = ecr._find_image(name, wanted)
        if image is None:
            return _error("ImageNotFoundException", f"The image with imageId {wanted} does not exist within {name}")
        digest = image["imageDigest"]
        planted = self._planted.get(digest, self._planted.get(""))
        scans = ecr._repositories[name].get("imageScanningConfiguration", {}).get("scanOnPush")
        if planted is None and not scans:
            return _error("ScanNotFoundException", f"Image scan does not exist for the image with {wanted} in {name}")
        return _ok(_page(data, digest, planted or {}))


def _page(data: Body, digest: str, planted: Body) -> Body:
    status, findings = planted.get("status", "COMPLETE"), planted.get("findings", [])
    said = {
        "registryId": ecr.get_account_id(),
        "repositoryName": data["repositoryName"],
        "imageId": {**data["imageId"], "imageDigest": digest},
        "imageScanStatus": {"status": status, "description": f"The scan is {status}."},
    }
    if status not in ("COMPLETE", "ACTIVE"):
        return said
    begin, length = int(data.get("nextToken") or 0), int(data.get("maxResults") or _PAGE)
    said["imageScanFindings"] = {
        "findings": findings[begin : begin + length],
        "findingSeverityCounts": dict(Counter(finding["severity"] for finding in findings)),
    }
    if begin + length < len(findings):
        said["nextToken"] = str(begin + length)
    return said


def _ok(body: Body) -> Answer:
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()


def _error(code: str, message: str) -> Answer:
    refusal: Answer = ecr.error_response_json(code, message, 400)
    return refusal
