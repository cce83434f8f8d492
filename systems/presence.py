"""Whether AWS has a resource that a record names, by its ARN or id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import Permanent
from systems.aws import AwsClients, aws_errors, has_code

__all__ = ["is_present"]

Look = Callable[[AwsClients, str], Any]

# What the identity holds, how AWS is asked for it, and the code of its answer that there is no such thing.
_LOOKS: tuple[tuple[str, Look, str], ...] = (
    (":cluster/", lambda aws, arn: _active(aws("ecs").describe_clusters(clusters=[arn])["clusters"]), ""),
    (
        ":listener/",
        lambda aws, arn: aws("elbv2").describe_listeners(ListenerArns=[arn])["Listeners"],
        "ListenerNotFound",
    ),
    (
        ":targetgroup/",
        lambda aws, arn: aws("elbv2").describe_target_groups(TargetGroupArns=[arn])["TargetGroups"],
        "TargetGroupNotFound",
    ),
    ("subnet-", lambda aws, id_: aws("ec2").describe_subnets(SubnetIds=[id_])["Subnets"], "InvalidSubnetID.NotFound"),
    (
        "sg-",
        lambda aws, id_: aws("ec2").describe_security_groups(GroupIds=[id_])["SecurityGroups"],
        "InvalidGroup.NotFound",
    ),
    (":role/", lambda aws, arn: aws("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"], "NoSuchEntity"),
    (
        ":repository/",
        lambda aws, arn: aws("ecr").describe_repositories(repositoryNames=[arn.partition(":repository/")[2]]),
        "RepositoryNotFoundException",
    ),
)


def is_present(aws: AwsClients, identity: str) -> bool:
    """Whether AWS has a cluster, listener, target group, subnet, security group, role, repository or log group.

    What is none of the former is taken for a log group's name.
    """
    for part, look, missing in _LOOKS:
        if part in identity if part.startswith(":") else identity.startswith(part):
            try:
                with aws_errors(f"looking for {identity}"):
                    return bool(look(aws, identity))
            except Permanent as error:
                if missing and has_code(error, missing):
                    return False
                raise
    with aws_errors(f"looking for the log group {identity}"):
        groups = aws("logs").describe_log_groups(logGroupNamePrefix=identity)["logGroups"]
    return any(group["logGroupName"] == identity for group in groups)


def _active(clusters: list[dict[str, Any]]) -> bool:
    return any(cluster["status"] == "ACTIVE" for cluster in clusters)
