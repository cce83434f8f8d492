"""Judgements of the account: who acts, in which role, what that may do, and how much of everything there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.infrastructure import arn
from core.preflight.catalogue import LONGEST_SKEW
from core.preflight.judgement import Judgement, failed, passed, unknown
from core.record import Infrastructure
from core.settings import EnvironmentSettings
from core.words import counted

__all__ = [
    "Asked",
    "Quota",
    "TrustPolicy",
    "execution_needs",
    "judge_account",
    "judge_acting_role",
    "judge_allowed",
    "judge_clock",
    "judge_denied",
    "judge_principals",
    "judge_quotas",
    "judge_region",
    "judge_trials",
    "judge_trust",
    "pipeline_limits",
    "pipeline_needs",
    "trust_expected",
    "vcpus_needed",
]

_ASSUMED = re.compile(r"^arn:[a-z-]+:sts::\d{12}:assumed-role/([^/]+)/")
_ROLE = re.compile(r"^arn:[a-z-]+:iam::\d{12}:role/(?:.*/)?([^/]+)$")
# What IAM writes in the place of a principal that was deleted.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
_DELETED = re.compile(r"^(AROA|AIDA)[A-Z0-9]+$")


def judge_account(found: str, settings: EnvironmentSettings) -> Judgement:
    """Judge the account number that AWS answers."""
    if found == settings.aws_account_number:
        return passed(found)
    return failed(f"the credentials are of account {found}, and aws_account_number is {settings.aws_account_number}")


def judge_region(settings: EnvironmentSettings, credentials: str | None, bucket: str | None) -> Judgement:
    """Judge the regions of the credentials block and of the state bucket; None where one does not say."""
    seen = {"the credentials block": credentials, f"the bucket {settings.state_bucket}": bucket}
    others = [f"{what} is in {region}" for what, region in seen.items() if region and region != settings.region]
    if others:
        return failed(f"region is {settings.region}, and {', and '.join(others)}")
    return passed(settings.region)


def judge_clock(skew: float) -> Judgement:
    """Judge the seconds that this machine's clock is ahead of AWS's."""
    seen = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS"
    return failed(seen) if abs(skew) > LONGEST_SKEW else passed(seen)


def judge_acting_role(caller: str, settings: EnvironmentSettings) -> Judgement:
    """Judge the identity of the releases: it should be the environment's pipeline role, which can do little."""
    role = f"{settings.cluster}-pipeline"
    found = _ASSUMED.match(caller) or _ROLE.match(caller)
    if found and found.group(1) == role:
        return passed(role)
    if settings.aws.endpoint_url is not None and settings.aws.role_arn is None:
        return unknown(f"an emulated AWS without authorization: releases act as {caller}")
    return failed(f"releases act as {caller}")


def judge_trials(denied: Mapping[str, str], tried: int) -> Judgement:
    """Judge reads that were tried: those that AWS denied, by action with what it said."""
    if denied:
        return failed("; ".join(f"{action}: {said}" for action, said in denied.items()))
    return passed(counted(tried, "read") + " allowed")


# ---- Simulation ----


@dataclass(frozen=True)
class Asked:
    """One question to IAM's simulator: these actions on this resource, in this context."""

    actions: Sequence[str]
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def pipeline_needs(settings: EnvironmentSettings, infrastructure: Infrastructure) -> Iterator[Asked]:
    """Yield what a release does, as the root `account` allows it (terraform/account/pipeline.tf)."""
    stage, cluster = settings.stage, {"ecs:cluster": infrastructure.cluster_arn}
    repository = arn(settings, "ecr", f"repository/{infrastructure.repository}")
    push = "BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload DescribeImages GetDownloadUrlForLayer"
    yield Asked(["ecr:GetAuthorizationToken"])
    yield Asked([f"ecr:{a}" for a in f"{push} InitiateLayerUpload PutImage UploadLayerPart".split()], repository)
    yield Asked(["ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition"])
    service = arn(settings, "ecs", f"service/{settings.cluster}/{settings.name}-{stage}-blue")
    yield Asked(["ecs:CreateService", "ecs:DescribeServices", "ecs:UpdateService"], service, cluster)
    definition = arn(settings, "ecs", f"task-definition/{settings.cluster}-blue-migration:1")
    yield Asked(["ecs:RunTask"], definition, cluster)
    yield Asked(
        ["ecs:DescribeTasks", "ecs:StopTask"], arn(settings, "ecs", f"task/{settings.cluster}/preflight"), cluster
    )
    for role in (infrastructure.execution_role_arn, infrastructure.task_role_arn):
        yield Asked(["iam:PassRole"], role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"})
    yield Asked(["elasticloadbalancing:ModifyListener"], infrastructure.production_listener_arn)
    for group in infrastructure.target_group_arns.values():
        yield Asked(["elasticloadbalancing:ModifyTargetGroup"], group)
    yield Asked(
        [f"elasticloadbalancing:Describe{what}" for what in ("Listeners", "Rules", "TargetGroups", "TargetHealth")]
    )
    yield Asked(["logs:GetLogEvents"], arn(settings, "logs", f"log-group:{infrastructure.log_group_name}:*"))
    yield Asked(["s3:GetObject", "s3:PutObject"], _object(settings, f"releases/{stage}/environment.json"))
    yield Asked(["s3:GetObject", "s3:PutObject"], _object(settings, f"terraform/{stage}/slot-blue.tfstate"))
    yield Asked(["s3:DeleteObject"], _object(settings, f"terraform/{stage}/slot-blue.tfstate.tflock"))


def pipeline_limits(settings: EnvironmentSettings, secret_arns: Iterable[str]) -> Iterator[Asked]:
    """Yield what no release may do."""
    for secret in secret_arns:
        yield Asked(["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], secret)
    yield Asked(["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy"])
    yield Asked(["ec2:CreateVpc", "ec2:AuthorizeSecurityGroupIngress", "ec2:RunInstances"])
    yield Asked(["rds:DeleteDBInstance", "rds:ModifyDBInstance"])
    yield Asked(["elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteListener"])
    yield Asked(["s3:PutObject"], _object(settings, f"releases/not-{settings.stage}/environment.json"))
    yield Asked(["s3:PutObject"], _object(settings, "terraform/account.tfstate"))


def execution_needs(settings: EnvironmentSettings, infrastructure: Infrastructure) -> Iterator[Asked]:
    """Yield what ECS does with the execution role before a container runs."""
    repository = arn(settings, "ecr", f"repository/{infrastructure.repository}")
    yield Asked(["ecr:GetAuthorizationToken"])
    yield Asked(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repository)
    group = arn(settings, "logs", f"log-group:{infrastructure.log_group_name}:log-stream:preflight")
    yield Asked(["logs:CreateLogStream", "logs:PutLogEvents"], group)
    for secret in infrastructure.secret_arns.values():
        yield Asked(["secretsmanager:GetSecretValue"], secret)
    for parameter in infrastructure.parameter_arns.values():
        yield Asked(["ssm:GetParameters"], parameter)


def judge_allowed(role: str, decisions: Mapping[tuple[str, str], str]) -> Judgement:
    """Judge IAM's decisions, by action and resource, on what a role must be able to do."""
    missing = [f"{action} on {on} ({said})" for (action, on), said in decisions.items() if said != "allowed"]
    if missing:
        return failed(f"{role} lacks {', '.join(missing)}")
    return passed(f"{role}: {counted(len(decisions), 'action')} allowed")


def judge_denied(role: str, decisions: Mapping[tuple[str, str], str]) -> Judgement:
    """Judge IAM's decisions on what a role must not be able to do."""
    given = [f"{action} on {on}" for (action, on), said in decisions.items() if said == "allowed"]
    if given:
        return failed(f"{role} may {', '.join(given)}")
    return passed(f"{role}: {counted(len(decisions), 'action')} refused")


def _object(settings: EnvironmentSettings, key: str) -> str:
    partition = arn(settings, "s3", "").split(":")[1]
    return f"arn:{partition}:s3:::{settings.state_bucket}/{key}"


# ---- Trust ----


@dataclass(frozen=True)
class TrustPolicy:
    """Who may take a role: principals of AWS, and services."""

    principals: frozenset[str]
    services: frozenset[str]

    @classmethod
    def of(cls, document: Mapping[str, Any] | str) -> TrustPolicy:
        """Return what a trust policy allows."""
        content = json.loads(document) if isinstance(document, str) else document
        statements = content.get("Statement", [])
        principals: set[str] = set()
        services: set[str] = set()
        for statement in [statements] if isinstance(statements, dict) else statements:
            named = statement.get("Principal", {})
            if statement.get("Effect") != "Allow":
                continue
            by_kind = {"AWS": named} if isinstance(named, str) else named
            principals |= {*_list(by_kind.get("AWS", [])), *_list(by_kind.get("Federated", []))}
            services |= set(_list(by_kind.get("Service", [])))
        return cls(frozenset(principals), frozenset(services))


def trust_expected(settings: EnvironmentSettings) -> dict[str, TrustPolicy]:
    """Return each role by name with who should be able to take it."""
    tasks = TrustPolicy(frozenset(), frozenset({"ecs-tasks.amazonaws.com"}))
    given = settings.provision.account
    return {
        f"{settings.cluster}-pipeline": TrustPolicy(_named(given.get("pipeline_principal_arns")), frozenset()),
        f"{settings.namespace}-{settings.name}-operator": TrustPolicy(
            _named(given.get("operator_principal_arns")), frozenset()
        ),
        f"{settings.cluster}-execution": tasks,
        f"{settings.cluster}-task": tasks,
    }


def judge_trust(expected: Mapping[str, TrustPolicy], found: Mapping[str, TrustPolicy | None]) -> Judgement:
    """Judge the roles' trust policies; None for a role that does not exist."""
    faults = [fault for role, policy in expected.items() for fault in _trust_faults(role, policy, found.get(role))]
    return failed("; ".join(faults)) if faults else passed(counted(len(expected), "role"))


def _trust_faults(role: str, expected: TrustPolicy, found: TrustPolicy | None) -> Iterator[str]:
    if found is None:
        yield f"the role {role} does not exist"
        return
    deleted = {name for name in found.principals if _DELETED.match(name)}
    if deleted:
        yield f"{role} trusts {', '.join(sorted(deleted))}, which was deleted"
    foreign = (found.principals - expected.principals - deleted) | (found.services - expected.services)
    if foreign:
        yield f"{role} may be taken by {', '.join(sorted(foreign))} as well"
    missing = (expected.principals - found.principals) | (expected.services - found.services)
    if missing:
        yield f"{role} does not trust {', '.join(sorted(missing))}"


def judge_principals(named: Iterable[str], missing: Sequence[str]) -> Judgement:
    """Judge the principals of [provision.account] by those that IAM does not know."""
    if missing:
        return failed(f"IAM has no {', '.join(missing)}")
    return passed(counted(len(set(named)), "principal"))


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _named(value: object) -> frozenset[str]:
    return frozenset(str(item) for item in value) if isinstance(value, list) else frozenset()


# ---- Quotas ----


@dataclass(frozen=True)
class Quota:
    """One quota of a region; `limit` is None where AWS does not say."""

    name: str
    needed: float
    limit: float | None


def vcpus_needed(settings: EnvironmentSettings) -> float:
    """Return the vCPUs that run at most during a release: both slots, one of them replaced task by task."""
    return settings.service.cpu / 1024 * (3 * settings.service.desired_count + 1)


def judge_quotas(quotas: Sequence[Quota]) -> Judgement:
    """Judge quotas against what one environment needs; what else the account uses is not counted."""
    known = [(quota, quota.limit) for quota in quotas if quota.limit is not None]
    short = [f"{quota.name}: {limit:g} of {quota.needed:g} needed" for quota, limit in known if limit < quota.needed]
    if short:
        return failed("; ".join(short))
    if not known:
        return unknown("Service Quotas did not answer")
    return passed(", ".join(f"{quota.name} {limit:g}" for quota, limit in known))
