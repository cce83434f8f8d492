"""Looks at the account: identity, roles and their policies, quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blocks.provision import check_provision
from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused
from core.preflight.account import (
    Asked,
    Quota,
    execution_needs,
    judge_account,
    judge_acting_role,
    judge_allowed,
    judge_clock,
    judge_denied,
    judge_principals,
    judge_quotas,
    judge_region,
    judge_trials,
    judge_trust,
    pipeline_limits,
    pipeline_needs,
    trust_expected,
    vcpus_needed,
)
from core.preflight.judgement import NOT_YET, Judgement, failed_by, passed, unknown
from core.record import Infrastructure
from core.slot import slot_of
from systems.aws import aws_errors
from systems.ecs import read_service
from systems.iam import missing_principals, read_trust, simulate
from systems.quotas import QUOTAS, read_quota
from tasks.preflight.ground import Ground, Look

__all__ = ["LOOKS"]


def _settings(ground: Ground) -> Judgement:
    try:
        check_provision(ground.settings)
    except Refused as error:
        return failed_by(error)
    return passed(f"environments/{ground.settings.stage}.toml")


def _identity(ground: Ground) -> Judgement:
    try:
        return passed(ground.caller().arn)
    except Permanent as error:
        return failed_by(error)


def _account(ground: Ground) -> Judgement:
    return judge_account(ground.caller().account, ground.settings)


def _region(ground: Ground) -> Judgement:
    block = ground.operation.block.aws_credentials
    return judge_region(ground.settings, block.region_name, ground.bucket_region())


def _clock(ground: Ground) -> Judgement:
    skew = ground.caller().skew
    return unknown("AWS's answer has no date") if skew is None else judge_clock(skew)


def _acting_role(ground: Ground) -> Judgement:
    if ground.by_a_person:
        return unknown(f"looked at as {ground.caller().arn}, with no Prefect server that has the releases' block")
    return judge_acting_role(ground.caller().arn, ground.settings)


def _trials(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    denied = {}
    reads = _reads(ground, infrastructure)
    for action, read in reads.items():
        try:
            with aws_errors(action):
                read()
        except Permanent as error:
            denied[action] = error.why.partition(":")[0]
    return judge_trials(denied, len(reads))


def _reads(ground: Ground, infrastructure: Infrastructure) -> dict[str, Callable[[], object]]:
    aws, settings = ground.releases, ground.settings
    service = slot_of(settings, infrastructure, Colour.BLUE).service
    return {
        "ecs:DescribeServices": lambda: read_service(aws, service),
        "elasticloadbalancing:DescribeTargetHealth": lambda: aws("elbv2").describe_target_health(
            TargetGroupArn=service.target_group
        ),
        "ecr:DescribeImages": lambda: aws("ecr").describe_images(repositoryName=settings.repository, maxResults=1),
        "logs:DescribeLogStreams": lambda: aws("logs").describe_log_streams(
            logGroupName=infrastructure.log_group_name, limit=1
        ),
    }


Decide = Callable[[str, dict[tuple[str, str], str]], Judgement]


def _simulated(ground: Ground, role: str, asked: Iterable[Asked], judge: Decide) -> Judgement:
    name = role.rpartition("/")[2]
    return judge(name, simulate(ground.reader("iam"), role, asked))


def _permissions(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    return _simulated(ground, _pipeline(ground), pipeline_needs(ground.settings, infrastructure), judge_allowed)


def _limits(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    limits = pipeline_limits(ground.settings, infrastructure.secret_arns.values())
    return _simulated(ground, _pipeline(ground), limits, judge_denied)


def _execution_role(ground: Ground) -> Judgement:
    infrastructure = ground.infrastructure()
    if infrastructure is None:
        return NOT_YET
    needs = execution_needs(ground.settings, infrastructure)
    return _simulated(ground, infrastructure.execution_role_arn, needs, judge_allowed)


def _pipeline(ground: Ground) -> str:
    settings = ground.settings
    return settings.aws.role_arn or f"arn:aws:iam::{settings.aws_account_number}:role/{settings.cluster}-pipeline"


def _principals(ground: Ground) -> Judgement:
    given = ground.settings.provision.account
    variables = [given.get(name) for name in ("pipeline_principal_arns", "operator_principal_arns")]
    named = {str(arn) for arns in variables if isinstance(arns, list) for arn in arns}
    missing = missing_principals(ground.reader("iam"), named, ground.settings.aws_account_number)
    return judge_principals(named, missing)


def _trust(ground: Ground) -> Judgement:
    if ground.infrastructure() is None:
        return NOT_YET
    expected = trust_expected(ground.settings)
    return judge_trust(expected, {role: read_trust(ground.reader("iam"), role) for role in expected})


def _quotas(ground: Ground) -> Judgement:
    quotas = ground.reader("service-quotas")
    limits: dict[str, float | None] = {}
    said = ""
    for name, (service, code) in QUOTAS.items():
        try:
            limits[name] = read_quota(quotas, service, code)
        except PointsmanError as error:
            limits[name], said = None, str(error)
    if said and not any(limits.values()):
        return unknown(said)
    needed = {"Fargate vCPUs": vcpus_needed(ground.settings)}
    return judge_quotas([Quota(name, needed.get(name, 1), limit) for name, limit in limits.items()])


LOOKS: dict[str, Look] = {
    "settings": _settings,
    "identity": _identity,
    "account": _account,
    "region": _region,
    "clock": _clock,
    "releases' role": _acting_role,
    "permissions by trial": _trials,
    "permissions by simulation": _permissions,
    "limits of the role": _limits,
    "principals": _principals,
    "trust policies": _trust,
    "execution role": _execution_role,
    "quotas": _quotas,
}
