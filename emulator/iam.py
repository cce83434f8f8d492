"""Authorization that MiniStack leaves out or checks against the wrong resource, in force with AUTH=true.

Resource types per action: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from emulator.upstream import app, ecs, iam, iam_actions, iam_evaluator, replace, responses, router

__all__ = ["install"]

Body = dict[str, Any]
_ON_SERVICE = {"CreateService", "UpdateService", "DeleteService", "DescribeServices"}
_ON_TASK = {"StopTask", "DescribeTasks", "ExecuteCommand", "UpdateTaskProtection", "GetTaskProtection"}
_ON_CLUSTER = {
    "DescribeClusters",
    "DeleteCluster",
    "UpdateCluster",
    "UpdateClusterSettings",
    "PutClusterCapacityProviders",
}
_ON_ANYTHING = {
    "CreateCluster",
    "DeregisterTaskDefinition",
    "DescribeTaskDefinition",
    "ListClusters",
    "ListServices",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
    "ListTasks",
    "RegisterTaskDefinition",
}
_ON_ARN = {"TagResource", "UntagResource", "ListTagsForResource"}
_ON_ROLE = {
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
}
_IN_CLUSTER = _ON_SERVICE | _ON_TASK | {"RunTask", "ListTasks", "ListServices"}


def install() -> None:
    """Put the additions in MiniStack's place."""
    extract: Callable[..., str] = iam_actions.extract_resource_arn
    context: Callable[..., dict[str, Any]] = iam_actions.request_tag_context

    @functools.wraps(extract)
    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        if service == "ecs":
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            resource = _ecs_resource(action, _parsed(body), region, account)
            if resource is not None:
                return resource
        if service == "ecr" and (repository := _ecr_resource(_parsed(body), region, account)):
            return repository
        asked = query.get("Action", "")
        asked = str(asked[0] if isinstance(asked, list) else asked)
        if service == "elasticloadbalancing" and asked.startswith("Describe"):
            return "*"
        if asked == "ListTagsForResource" and (named := query.get("ResourceARN")):
            return str(named[0] if isinstance(named, list) else named)
        if asked == "DescribeAlarms":  # whatever it names: alarms are what it can be limited to
            return f"arn:aws:cloudwatch:{region}:{account}:alarm:*"
        return extract(service, method, path, headers, body, query, region, account)

    @functools.wraps(context)
    def request_context(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        keys = context(service, iam_action, body, params)
        if service == "ecs" and iam_action.removeprefix("ecs:") in _IN_CLUSTER:
            cluster = _cluster_arn(_parsed(body), responses.get_region(), responses.get_account_id())
            keys = {**keys, "ecs:cluster": cluster}
        if service == "ecs" and iam_action in ("ecs:CreateService", "ecs:UpdateService"):
            keys = {**keys, **_network(_parsed(body))}
        if iam_action in ("ecs:CreateService", "ecs:UpdateService", "ecs:RunTask"):
            keys = {**keys, **_shell(_parsed(body))}
        if iam_action in _ON_ROLE:
            keys = {**keys, **_boundary(iam_action, params)}
        if iam_action == "elasticloadbalancing:ModifyListener":
            keys = {**keys, **_listener(params)}
        return keys

    origin: Callable[[str, bool], None] = app.pin_request_origin

    def pin_request_origin(source_ip: str, _secure: bool) -> None:
        """AWS's clients speak TLS, which nothing on this machine does: aws:SecureTransport is true."""
        origin(source_ip, True)

    replace(app, "pin_request_origin", pin_request_origin)
    replace(iam_actions, "extract_resource_arn", extract_resource_arn)
    replace(iam_actions, "request_tag_context", request_context)
    _install_implied_checks()


def _ecs_resource(action: str, body: Body, region: str, account: str) -> str | None:
    """The ARN that ECS authorizes `action` on; None where MiniStack's own answer stands."""
    prefix = f"arn:aws:ecs:{region}:{account}"
    if action in _ON_ANYTHING:
        return "*"
    if action in _ON_ARN:
        return str(body.get("resourceArn", "*"))
    if action in _ON_CLUSTER:
        named = body.get("clusters")
        return _cluster_arn({"cluster": named[0]} if named else body, region, account)
    if action == "RunTask":
        return _task_definition_arn(str(body.get("taskDefinition", "")), prefix)
    cluster = _cluster_arn(body, region, account).rpartition("/")[2]
    if action in _ON_SERVICE:
        name = body.get("service") or body.get("serviceName") or next(iter(body.get("services") or []), "*")
        return name if name.startswith("arn:") else f"{prefix}:service/{cluster}/{name}"
    if action in _ON_TASK:
        task = body.get("task") or next(iter(body.get("tasks") or []), "*")
        return task if task.startswith("arn:") else f"{prefix}:task/{cluster}/{task}"
    return None


def _network(body: Body) -> dict[str, Any]:
    """The keys of a service's network, where the call names one; RunTask has none of them."""
    network = (body.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    keys: dict[str, Any] = {"ecs:subnet": network["subnets"]} if network.get("subnets") else {}
    if "assignPublicIp" in network:
        keys["ecs:auto-assign-public-ip"] = str(network["assignPublicIp"] == "ENABLED").lower()
    return keys


def _shell(body: Body) -> dict[str, Any]:
    """Whether the call lets ECS Exec into its tasks, where it says so."""
    given = body.get("enableExecuteCommand")
    return {} if given is None else {"ecs:enable-execute-command": str(bool(given)).lower()}


def _boundary(iam_action: str, params: dict[str, Any]) -> dict[str, Any]:
    """The boundary that a role is made with or gets; else that of the role whose policies the call changes."""
    if iam_action in ("iam:CreateRole", "iam:PutRolePermissionsBoundary"):
        arn = _first(params.get("PermissionsBoundary"))
    else:
        role = iam._roles.get(_first(params.get("RoleName"))) or {}
        arn = role.get("PermissionsBoundary")
    return {"iam:PermissionsBoundary": arn} if arn else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _listener(params: dict[str, Any]) -> dict[str, Any]:
    """The keys of what a call changes on a listener."""
    names = {"Protocol": "elasticloadbalancing:ListenerProtocol", "SslPolicy": "elasticloadbalancing:SecurityPolicy"}
    given = {key: params[name] for name, key in names.items() if params.get(name)}
    return {key: value[0] if isinstance(value, list) else value for key, value in given.items()}


def _task_definition_arn(reference: str, prefix: str) -> str:
    if reference.startswith("arn:"):
        return reference
    key = ecs._resolve_td_key(reference) if reference else None
    return f"{prefix}:task-definition/{key or reference}"


def _cluster_arn(body: Body, region: str, account: str) -> str:
    cluster = str(body.get("cluster") or "default")
    return cluster if cluster.startswith("arn:") else f"arn:aws:ecs:{region}:{account}:cluster/{cluster}"


def _install_implied_checks() -> None:
    handle: Callable[..., Any] = ecs.handle_request

    @functools.wraps(handle)
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Any:
        if app.AUTH:
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            denial = _denied_roles(action, _parsed(body), headers, query) or _denied_tags(
                action, _parsed(body), headers, query
            )
            if denial is not None:
                return denial
        return await handle(method, path, headers, body, query)

    replace(ecs, "handle_request", handle_request)


def _denied_roles(action: str, body: Body, headers: dict[str, str], query: dict[str, Any]) -> Any:
    """The refusal when the caller may not pass a role that this call hands to tasks or to the service."""
    for role, recipient in _passed_roles(action, body):
        denial = _denial("iam:PassRole", role, {"iam:PassedToService": recipient}, headers, query)
        if denial is not None:
            return denial
    return None


def _denied_tags(action: str, body: Body, headers: dict[str, str], query: dict[str, Any]) -> Any:
    """The refusal when the caller may not tag what this call makes with tags.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    """
    if action not in ("CreateService", "RegisterTaskDefinition", "RunTask") or not body.get("tags"):
        return None
    prefix = f"arn:aws:ecs:{responses.get_region()}:{responses.get_account_id()}"
    cluster = _cluster_arn(body, responses.get_region(), responses.get_account_id()).rpartition("/")[2]
    resource = {
        "CreateService": f"{prefix}:service/{cluster}/{body.get('serviceName')}",
        "RegisterTaskDefinition": f"{prefix}:task-definition/{body.get('family')}:*",
        "RunTask": f"{prefix}:task/{cluster}/*",
    }[action]
    return _denial("ecs:TagResource", resource, {"ecs:CreateAction": action}, headers, query)


def _denial(action: str, resource: str, keys: dict[str, str], headers: dict[str, str], query: dict[str, Any]) -> Any:
    """ECS's refusal of a call that also needs `action` on `resource`; None where the caller may do that."""
    key, region = router.extract_access_key_id(headers, query), responses.get_region()
    service = action.partition(":")[0]
    denied = iam_evaluator.enforce(key, action, service, region, resource_arn=resource, service_context=keys)
    if denied is None or isinstance(denied, iam_evaluator.AuthError):
        return None
    explicit = denied.decision == "Deny"
    return iam_actions.access_denied_response(
        "ecs",
        action,
        denied.principal_arn,
        responses.new_uuid(),
        headers=headers,
        resource_arn=resource,
        message=iam_actions.identity_denial_message(action, denied.principal_arn, resource, explicit),
    )


def _ecr_resource(body: Body, region: str, account: str) -> str | None:
    """The repository of a call that names it by something other than `repositoryName`; the first of several."""
    names = body.get("repositoryNames") or []
    return body.get("resourceArn") or (f"arn:aws:ecr:{region}:{account}:repository/{names[0]}" if names else None)


def _passed_roles(action: str, body: Body) -> list[tuple[str, str]]:
    tasks = "ecs-tasks.amazonaws.com"
    if action == "RegisterTaskDefinition":
        return _roles(body, tasks)
    if action not in ("CreateService", "RunTask"):
        return []
    key = ecs._resolve_td_key(str(body.get("taskDefinition", "")))
    definition = ecs._task_defs.get(key) or {}
    overrides = {name: role for name, role in (body.get("overrides") or {}).items() if role}
    passed = _roles({**definition, **overrides}, tasks)
    if action == "CreateService" and body.get("role"):
        passed.append((body["role"], "ecs.amazonaws.com"))
    return passed


def _roles(source: Body, recipient: str) -> list[tuple[str, str]]:
    return [(source[name], recipient) for name in ("executionRoleArn", "taskRoleArn") if source.get(name)]


def _parsed(body: bytes) -> Body:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
