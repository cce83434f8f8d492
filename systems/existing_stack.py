"""What runs in the account besides our own environments: read to be adopted, changed by nobody.

It asks more than a release's role may: an operator's own credentials are meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from core.adoption import (
    FoundBalancer,
    FoundBucket,
    FoundRecord,
    FoundRepository,
    FoundRole,
    FoundService,
    FoundStack,
    names_we_make,
    secret_named_by,
    serves_application,
)
from core.dns import Balancer, same_host
from core.errors import Permanent, PointsmanError
from core.settings import ACCOUNT, EnvironmentSettings
from systems.aws import AwsClients, aws_errors, has_code
from systems.records import StateBucket, bucket_faults
from systems.route53 import all_records
from systems.terraform import state_key

__all__ = ["BalancerInPlace", "find_balancer", "find_stack"]

_GITHUB = "oidc-provider/token.actions.githubusercontent.com"
_SUBJECT = "token.actions.githubusercontent.com:sub"
_MISSING = frozenset(
    {
        "NoSuchEntity",
        "NoSuchKey",
        "NoSuchBucket",
        "LoadBalancerNotFound",
        "TargetGroupNotFound",
        "RepositoryNotFoundException",
    }
)


@dataclass(frozen=True)
class BalancerInPlace:
    """A load balancer of the account, found by its DNS name, with its healthy targets of all target groups."""

    name: str
    dns_name: str
    hosted_zone: str
    healthy: int

    def called(self, identifier: str) -> Balancer:
        """Return it as what a name can point at."""
        return Balancer(self.dns_name, self.hosted_zone, identifier)


def find_balancer(elbv2: Any, dns_name: str) -> BalancerInPlace | None:
    """Return the load balancer of a DNS name, or None where this account and region have none."""
    with aws_errors("listing the load balancers"):
        pages = elbv2.get_paginator("describe_load_balancers").paginate()
        listed = [one for page in pages for one in page["LoadBalancers"]]
    for one in listed:
        if same_host(one["DNSName"], dns_name):
            with aws_errors(f"reading the target groups of {one['LoadBalancerName']}"):
                groups = elbv2.describe_target_groups(LoadBalancerArn=one["LoadBalancerArn"])["TargetGroups"]
            healthy = sum(_healthy(elbv2, group["TargetGroupArn"]) for group in groups)
            return BalancerInPlace(one["LoadBalancerName"], one["DNSName"], one["CanonicalHostedZoneId"], healthy)
    return None


def _healthy(elbv2: Any, group: str) -> int:
    with aws_errors("reading the health of targets"):
        found = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return sum(one["TargetHealth"]["State"] == "healthy" for one in found)


def find_stack(aws: AwsClients, settings: EnvironmentSettings) -> FoundStack:
    """Return what serves the application in this account, and what of it touches what we make."""
    services = tuple(_services(aws, settings))
    hosts = [balancer.dns_name for service in services for balancer in service.balancers]
    owned = _names_in_states(aws("s3"), settings)
    return FoundStack(
        services=services,
        roles=tuple(role for role in _github_roles(aws("iam")) if ("role", role.name) not in owned),
        oidc_provider=_oidc_provider(aws("iam")),
        repository=_repository(aws("ecr"), settings.repositories[0], owned),
        bucket=_bucket(aws("s3"), settings),
        records=tuple(_records(aws("route53"), hosts)) if hosts else (),
        taken=tuple(
            (kind, name)
            for kind, name in names_we_make(settings)
            if (kind, name) not in owned and _exists(aws, kind, name)
        ),
    )


def _services(aws: AwsClients, settings: EnvironmentSettings) -> Iterator[FoundService]:
    ecs = aws("ecs")
    with aws_errors("listing the clusters"):
        clusters = [arn for page in ecs.get_paginator("list_clusters").paginate() for arn in page["clusterArns"]]
    for cluster in clusters:
        name = cluster.rpartition("/")[2]
        with aws_errors(f"listing the services of {name}"):
            pages = ecs.get_paginator("list_services").paginate(cluster=cluster)
            arns = [arn for page in pages for arn in page["serviceArns"]]
        for start in range(0, len(arns), 10):  # DescribeServices takes ten
            with aws_errors(f"reading the services of {name}"):
                listed = ecs.describe_services(cluster=cluster, services=arns[start : start + 10])["services"]
            for service in listed:
                definition = _definition(ecs, service["taskDefinition"])
                container = _main_container(service, definition)
                if serves_application(settings, name, service["serviceName"], container.get("image", "")):
                    yield _service(aws("elbv2"), name, service, definition, container)


def _definition(ecs: Any, arn: str) -> dict[str, Any]:
    with aws_errors(f"reading the task definition {arn}"):
        found: dict[str, Any] = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    return found


def _main_container(service: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """Return the container that the load balancer asks, or else the first."""
    containers: list[dict[str, Any]] = definition["containerDefinitions"]
    named = {one.get("containerName") for one in service.get("loadBalancers", [])}
    return next((one for one in containers if one["name"] in named), containers[0])


def _service(
    elbv2: Any, cluster: str, service: dict[str, Any], definition: dict[str, Any], container: dict[str, Any]
) -> FoundService:
    fronts = service.get("loadBalancers", [])
    ports = [one["containerPort"] for one in (*fronts, *container.get("portMappings", [])) if "containerPort" in one]
    return FoundService(
        cluster=cluster,
        name=service["serviceName"],
        task_definition=definition["taskDefinitionArn"].rpartition("/")[2],
        image=container["image"],
        desired=service["desiredCount"],
        running=service["runningCount"],
        cpu=int(definition.get("cpu") or container.get("cpu") or 256),
        memory=int(definition.get("memory") or container.get("memory") or 512),
        container_port=ports[0] if ports else 8080,
        variables=tuple(sorted(one["name"] for one in container.get("environment", []))),
        secrets=tuple(secret_named_by(one["name"], one["valueFrom"]) for one in container.get("secrets", [])),
        balancers=tuple(
            balancer
            for one in fronts
            if one.get("targetGroupArn")
            for balancer in _balancers(elbv2, one["targetGroupArn"])
        ),
    )


def _balancers(elbv2: Any, group_arn: str) -> Iterator[FoundBalancer]:
    with aws_errors("reading a target group"):
        group = elbv2.describe_target_groups(TargetGroupArns=[group_arn])["TargetGroups"][0]
    for arn in group["LoadBalancerArns"]:
        with aws_errors("reading a load balancer"):
            found = elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]
            listeners = elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        yield FoundBalancer(
            name=found["LoadBalancerName"],
            dns_name=found["DNSName"],
            listeners=tuple(f"{one['Protocol']} {one['Port']}" for one in listeners),
            target_group=group["TargetGroupName"],
            health_check_path=group.get("HealthCheckPath", "/"),
            healthy=_healthy(elbv2, group_arn),
            health_check_matcher=group.get("Matcher", {}).get("HttpCode", "200"),
        )


def _github_roles(iam: Any) -> Iterator[FoundRole]:
    with aws_errors("listing the roles"):
        roles = [role for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    for role in roles:
        trusted = [one for one in _statements(role["AssumeRolePolicyDocument"]) if _trusts_github(one)]
        if trusted:
            yield FoundRole(role["RoleName"], tuple(_policies(iam, role["RoleName"])), tuple(_subjects(trusted)))


def _statements(document: Any) -> list[dict[str, Any]]:
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    found = read.get("Statement", [])
    return found if isinstance(found, list) else [found]


def _trusts_github(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    federated = principal.get("Federated", []) if isinstance(principal, dict) else []
    return any(one.endswith(_GITHUB) for one in ([federated] if isinstance(federated, str) else federated))


def _subjects(statements: Iterable[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        for keys in statement.get("Condition", {}).values():
            named = keys.get(_SUBJECT, [])
            yield from [named] if isinstance(named, str) else named


def _policies(iam: Any, role: str) -> Iterator[str]:
    with aws_errors(f"reading the policies of {role}"):
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
            yield from (one["PolicyName"] for one in page["AttachedPolicies"])
        for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
            yield from page["PolicyNames"]


def _oidc_provider(iam: Any) -> str | None:
    with aws_errors("listing the OIDC providers"):
        listed = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return next((one["Arn"] for one in listed if one["Arn"].endswith(_GITHUB)), None)


def _repository(ecr: Any, name: str, owned: set[tuple[str, str]]) -> FoundRepository | None:
    found = _unless_missing(f"reading the repository {name}", lambda: ecr.describe_repositories(repositoryNames=[name]))
    if found is None:
        return None
    one = found["repositories"][0]
    encryption = one.get("encryptionConfiguration", {}).get("encryptionType", "AES256")
    return FoundRepository(
        name, encryption, one.get("imageTagMutability") != "IMMUTABLE", ours=("repository", name) in owned
    )


def _bucket(s3: Any, settings: EnvironmentSettings) -> FoundBucket | None:
    name = settings.state_bucket
    with aws_errors(f"looking at the bucket {name}"):
        if name not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
            return None
        bucket = StateBucket(name, settings.region, settings.aws_account_number)
        return FoundBucket(name, tuple(bucket_faults(s3, bucket)))


def _records(route53: Any, hosts: Iterable[str]) -> Iterator[FoundRecord]:
    for zone, one in all_records(route53):
        alias = one.get("AliasTarget", {}).get("DNSName")
        for target in [alias] if alias else [record["Value"] for record in one.get("ResourceRecords", [])]:
            if any(same_host(target, host) for host in hosts):
                yield FoundRecord(zone.rstrip("."), one["Name"].rstrip("."), one["Type"], target.rstrip("."))


_KINDS = {
    "aws_iam_role": "role",
    "aws_ecs_cluster": "cluster",
    "aws_cloudwatch_log_group": "log group",
    "aws_lb": "load balancer",
    "aws_lb_target_group": "target group",
    "aws_ecr_repository": "repository",
}


def _names_in_states(s3: Any, settings: EnvironmentSettings) -> set[tuple[str, str]]:
    """Return what our own states hold: that is in nobody's way."""
    names: set[tuple[str, str]] = set()
    for key in (state_key(settings.stage, ACCOUNT), state_key(settings.stage, "environment")):
        state = _state(s3, settings.state_bucket, key)
        for resource in state.get("resources", []):
            kind = _KINDS.get(resource.get("type", ""))
            if kind and resource.get("mode") == "managed":
                names |= {(kind, one["attributes"]["name"]) for one in resource.get("instances", [])}
    return names


def _state(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    found = _unless_missing(f"reading the state {key}", lambda: s3.get_object(Bucket=bucket, Key=key))
    read: dict[str, Any] = json.loads(found["Body"].read()) if found else {}
    return read


def _exists(aws: AwsClients, kind: str, name: str) -> bool:
    asked: dict[str, Callable[[], Any]] = {
        "role": lambda: aws("iam").get_role(RoleName=name),
        "cluster": lambda: [
            one for one in aws("ecs").describe_clusters(clusters=[name])["clusters"] if one["status"] == "ACTIVE"
        ],
        "log group": lambda: [
            one
            for one in aws("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
            if one["logGroupName"] == name
        ],
        "load balancer": lambda: aws("elbv2").describe_load_balancers(Names=[name])["LoadBalancers"],
        "target group": lambda: aws("elbv2").describe_target_groups(Names=[name])["TargetGroups"],
    }
    return bool(_unless_missing(f"looking for the {kind} {name}", asked[kind]))


def _unless_missing(doing: str, ask: Callable[[], Any]) -> Any:
    """Return what AWS answers, or None where it says that there is no such thing."""
    try:
        with aws_errors(doing):
            return ask()
    except Permanent as error:
        if _is_missing(error):
            return None
        raise


def _is_missing(error: PointsmanError) -> bool:
    return any(has_code(error, code) for code in _MISSING)
