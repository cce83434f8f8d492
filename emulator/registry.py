"""Who may push to and pull from the image registry, in force with AUTH=true: who asked for the token, by its policies.

Actions of the registry's HTTP API: https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import secrets
from collections.abc import Callable
from typing import Any

from emulator.upstream import app, ecr, ecs, iam_evaluator, replace, responses, router

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]
_ACTIONS = {
    ("blob_uploads", "POST"): "InitiateLayerUpload",
    ("blob_upload_session", "GET"): "UploadLayerPart",
    ("blob_upload_session", "PATCH"): "UploadLayerPart",
    ("blob_upload_session", "PUT"): "CompleteLayerUpload",
    ("blob_upload_session", "DELETE"): "UploadLayerPart",
    ("blob", "HEAD"): "BatchCheckLayerAvailability",
    ("blob", "GET"): "GetDownloadUrlForLayer",
    ("blob", "DELETE"): "BatchDeleteImage",
    ("manifest", "HEAD"): "BatchGetImage",
    ("manifest", "GET"): "BatchGetImage",
    ("manifest", "PUT"): "PutImage",
    ("manifest", "DELETE"): "BatchDeleteImage",
    ("tags_list", "GET"): "ListImages",
}
_USER = "AWS"


def install() -> None:
    """Put the additions in MiniStack's place, where authorization is in force."""
    if app.AUTH:
        _Registry().install()


class _Registry:
    """The registry's door: tokens, each with the principal that asked for it, and addresses that need none."""

    def __init__(self) -> None:
        self._principals: dict[str, Any] = {}
        self._signed: set[str] = set()
        # ECS pulls as itself: the execution role's rights are not checked.
        self._own = secrets.token_urlsafe(24)

    def install(self) -> None:
        self._call: Callable[..., Any] = replace(ecr, "handle_request", self._handle)
        self._serve: Callable[..., Any] = replace(ecr, "handle_registry_request", self._serve_checked)
        credentials: Callable[..., Any] = ecs._resolve_repository_credentials

        @functools.wraps(credentials)
        def repository_credentials(definition: dict[str, Any]) -> Any:
            if definition["image"].startswith("localhost:"):
                return {"username": _USER, "password": self._own}
            return credentials(definition)

        replace(ecs, "_resolve_repository_credentials", repository_credentials)

    async def _handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        answer: Answer = await self._call(method, path, headers, body, query)
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        status, given, content = answer
        if status != 200 or action not in ("GetAuthorizationToken", "GetDownloadUrlForLayer"):
            return answer
        parsed = json.loads(content)
        if action == "GetDownloadUrlForLayer":
            mark = secrets.token_urlsafe(24)
            self._signed.add(mark)
            parsed["downloadUrl"] += f"?signature={mark}"
        else:
            token = self._issue(headers, query)
            for authorization in parsed["authorizationData"]:
                authorization["authorizationToken"] = base64.b64encode(f"{_USER}:{token}".encode()).decode()
        return status, given, json.dumps(parsed).encode()

    def _issue(self, headers: dict[str, str], query: dict[str, Any]) -> str:
        key, account = router.extract_access_key_id(headers, query), responses.get_account_id()
        token = secrets.token_urlsafe(24)
        self._principals[token] = iam_evaluator.resolve_principal(key, account)
        return token

    async def _serve_checked(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        refusal = self._refusal(method, path, headers, query)
        if refusal is not None:
            return refusal
        answer: Answer = await self._serve(method, path, headers, body, query)
        return answer

    def _refusal(self, method: str, path: str, headers: dict[str, str], query: dict[str, Any]) -> Answer | None:
        verb, name, _ = ecr._parse_v2_path(path) or ("", "", "")
        mark = query.get("signature")
        if verb == "blob" and method == "GET" and (mark[0] if isinstance(mark, list) else mark) in self._signed:
            return None
        token = _token(headers)
        if token == self._own:
            return None
        principal = self._principals.get(token)
        if principal is None:
            status, given, content = ecr._registry_error(401, "UNAUTHORIZED", "authentication required")
            return status, {**given, "WWW-Authenticate": 'Basic realm="ECR",service="ecr.amazonaws.com"'}, content
        action = _ACTIONS.get((verb, method))
        if action is None or principal.policies is None:
            return None
        context = iam_evaluator.EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=principal.account,
            action=f"ecr:{action}",
            resource_arn=f"arn:aws:ecr:{responses.get_region()}:{principal.account}:repository/{name}",
            region=responses.get_region(),
            principal_keys=principal.keys,
        )
        if iam_evaluator.evaluate(context, principal.policies, *principal.limits).decision == "Allow":
            return None
        said = f"User: {principal.arn} is not authorized to perform: {context.action} on resource: "
        refusal: Answer = ecr._registry_error(403, "DENIED", said + context.resource_arn)
        return refusal


def _token(headers: dict[str, str]) -> str:
    """The password of Basic authentication; empty where there is none."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
