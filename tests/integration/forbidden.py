"""Calls that no role of a stage may make, each with the action for which it must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.provisioned import ACCOUNT, BUCKET, SECRET, SHARED, STAGE, Provisioned
from tests.integration.stand import REGION, forward

FOREIGN_SUBNET = "subnet-0000000000000000f"
DIGEST = "sha256:" + "0" * 64
ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
PRODUCTION_LISTENER = f"{ELB}:listener/app/connections-production/0123456789abcdef/0123456789abcdef"
PRODUCTION_GROUP = f"{ELB}:targetgroup/connections-production-blue/0123456789abcdef"
PRODUCTION = f"{SHARED}-production"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


class Acting:
    """One role's calls, in short."""

    def __init__(self, provisioned: Provisioned, role: str) -> None:
        self._provisioned, self._role = provisioned, role
        self.outputs = provisioned.outputs

    def __getattr__(self, service: str) -> Any:
        return self._provisioned.client(service, self._role)

    def network(self, subnet: str | None = None, public: str = "DISABLED") -> dict[str, Any]:
        subnets = [*self.outputs["private_subnet_ids"], *([subnet] if subnet else [])]
        groups = [self.outputs["task_security_group_id"]]
        return {"awsvpcConfiguration": {"subnets": subnets, "securityGroups": groups, "assignPublicIp": public}}

    def update(self, service: str = "connections-sandbox-blue", cluster: str = STAGE, **changes: Any) -> object:
        return self.ecs.update_service(cluster=cluster, service=service, **changes)

    def create(self, service: str, cluster: str = STAGE, **changes: Any) -> object:
        return self.ecs.create_service(
            cluster=cluster, serviceName=service, taskDefinition=f"{cluster}-blue", desiredCount=0, **changes
        )

    def run(self, family: str, cluster: str = STAGE, **changes: Any) -> object:
        return self.ecs.run_task(
            cluster=cluster, taskDefinition=f"{family}:1", networkConfiguration=self.network(), **changes
        )

    def define(self, **roles: str) -> object:
        container = [{"name": "connections", "image": "x"}]
        return self.ecs.register_task_definition(family=f"{STAGE}-blue", containerDefinitions=container, **roles)

    def weigh(self, listener: str) -> object:
        groups = self.outputs["target_group_arns"]
        return self.elbv2.modify_listener(ListenerArn=listener, DefaultActions=forward(groups, 0, 100))

    def push(self, repository: str) -> object:
        return self.ecr.put_image(repositoryName=repository, imageManifest="{}", imageTag="v9.9.9__production.00000000")


@dataclass(frozen=True)
class Forbidden:
    """A call, and the action for which it must be refused."""

    role: str
    what: str
    action: str
    call: Callable[[Acting], object]

    def __str__(self) -> str:
        return f"{self.role}: {self.what}"


def pipeline(what: str, action: str, call: Callable[[Acting], object]) -> Forbidden:
    return Forbidden("pipeline", what, action, call)


def reconciler(what: str, action: str, call: Callable[[Acting], object]) -> Forbidden:
    return Forbidden("reconciler", what, action, call)


def operator(what: str, action: str, call: Callable[[Acting], object]) -> Forbidden:
    return Forbidden("operator", what, action, call)


def get(key: str) -> Callable[[Acting], object]:
    return lambda a: a.s3.get_object(Bucket=BUCKET, Key=key)


def put(key: str) -> Callable[[Acting], object]:
    return lambda a: a.s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")


def delete(key: str) -> Callable[[Acting], object]:
    return lambda a: a.s3.delete_object(Bucket=BUCKET, Key=key)


def assume(role: str) -> Callable[[Acting], object]:
    return lambda a: a.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="session")


TABLE = [
    # Secrets
    pipeline(
        "its stage's secret",
        "secretsmanager:GetSecretValue",
        lambda a: a.secretsmanager.get_secret_value(SecretId=SECRET),
    ),
    pipeline(
        "another stage's secret",
        "secretsmanager:GetSecretValue",
        lambda a: a.secretsmanager.get_secret_value(SecretId="cursive-team/connections/production"),
    ),
    pipeline("the names of secrets", "secretsmanager:ListSecrets", lambda a: a.secretsmanager.list_secrets()),
    pipeline(
        "a secret's new value",
        "secretsmanager:PutSecretValue",
        lambda a: a.secretsmanager.put_secret_value(SecretId=SECRET, SecretString="{}"),
    ),
    # State and records
    pipeline("another stage's slot state", "s3:PutObject", put("terraform/production/slot-blue.tfstate")),
    pipeline("reading another stage's state", "s3:GetObject", get("terraform/production/environment.tfstate")),
    pipeline("the account's state", "s3:GetObject", get("terraform/account.tfstate")),
    pipeline("writing its environment's state", "s3:PutObject", put("terraform/sandbox/environment.tfstate")),
    pipeline("taking its environment's lock", "s3:PutObject", put("terraform/sandbox/environment.tfstate.tflock")),
    pipeline("deleting a slot's state", "s3:DeleteObject", delete("terraform/sandbox/slot-blue.tfstate")),
    pipeline("deleting its record", "s3:DeleteObject", delete("releases/sandbox/environment.json")),
    pipeline("another stage's record", "s3:PutObject", put("releases/production/environment.json")),
    pipeline("reading another stage's record", "s3:GetObject", get("releases/production/environment.json")),
    pipeline("the account's record", "s3:PutObject", put("releases/account/environment.json")),
    pipeline(
        "releasing another stage's lock", "s3:DeleteObject", delete("terraform/production/slot-blue.tfstate.tflock")
    ),
    pipeline(
        "listing another stage's records",
        "s3:ListBucket",
        lambda a: a.s3.list_objects_v2(Bucket=BUCKET, Prefix="releases/production/"),
    ),
    pipeline(
        "a version of a state gone",
        "s3:DeleteObjectVersion",
        lambda a: a.s3.delete_object(Bucket=BUCKET, Key="terraform/sandbox/slot-blue.tfstate", VersionId="null"),
    ),
    pipeline("the bucket gone", "s3:DeleteBucket", lambda a: a.s3.delete_bucket(Bucket=BUCKET)),
    pipeline(
        "the bucket without versions",
        "s3:PutBucketVersioning",
        lambda a: a.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}),
    ),
    pipeline(
        "the bucket open to others",
        "s3:PutBucketPolicy",
        lambda a: a.s3.put_bucket_policy(Bucket=BUCKET, Policy=EVERYTHING),
    ),
    # Images
    pipeline("an image for another stage", "ecr:PutImage", lambda a: a.push("cursive-team/connections/production")),
    pipeline("an image for those who share", "ecr:PutImage", lambda a: a.push("cursive-team/connections")),
    pipeline(
        "reading another stage's image",
        "ecr:BatchGetImage",
        lambda a: a.ecr.batch_get_image(
            repositoryName="cursive-team/connections/production", imageIds=[{"imageTag": "v1"}]
        ),
    ),
    pipeline(
        "an image gone",
        "ecr:BatchDeleteImage",
        lambda a: a.ecr.batch_delete_image(
            repositoryName="cursive-team/connections/sandbox", imageIds=[{"imageDigest": DIGEST}]
        ),
    ),
    pipeline(
        "the repository gone",
        "ecr:DeleteRepository",
        lambda a: a.ecr.delete_repository(repositoryName="cursive-team/connections/sandbox", force=True),
    ),
    pipeline(
        "the repository open to others",
        "ecr:SetRepositoryPolicy",
        lambda a: a.ecr.set_repository_policy(repositoryName="cursive-team/connections/sandbox", policyText=EVERYTHING),
    ),
    pipeline(
        "tags that move",
        "ecr:PutImageTagMutability",
        lambda a: a.ecr.put_image_tag_mutability(
            repositoryName="cursive-team/connections/sandbox", imageTagMutability="MUTABLE"
        ),
    ),
    # Services and tasks
    pipeline(
        "another stage's service",
        "ecs:UpdateService",
        lambda a: a.update("connections-production-blue", PRODUCTION, desiredCount=0),
    ),
    pipeline(
        "a service in another stage's cluster",
        "ecs:CreateService",
        lambda a: a.create("connections-production-blue", PRODUCTION),
    ),
    pipeline("a service of another name", "ecs:UpdateService", lambda a: a.update("other", desiredCount=0)),
    pipeline(
        "a service gone",
        "ecs:DeleteService",
        lambda a: a.ecs.delete_service(cluster=STAGE, service="connections-sandbox-blue"),
    ),
    pipeline("the cluster gone", "ecs:DeleteCluster", lambda a: a.ecs.delete_cluster(cluster=STAGE)),
    pipeline(
        "tasks in another subnet",
        "ecs:UpdateService",
        lambda a: a.update(networkConfiguration=a.network(FOREIGN_SUBNET)),
    ),
    pipeline(
        "a new service in another subnet",
        "ecs:CreateService",
        lambda a: a.create("connections-sandbox-blue", networkConfiguration=a.network(FOREIGN_SUBNET)),
    ),
    pipeline(
        "tasks with a public address",
        "ecs:UpdateService",
        lambda a: a.update(networkConfiguration=a.network(public="ENABLED")),
    ),
    pipeline(
        "a new service with a public address",
        "ecs:CreateService",
        lambda a: a.create("connections-sandbox-blue", networkConfiguration=a.network(public="ENABLED")),
    ),
    pipeline("a shell in its tasks", "ecs:UpdateService", lambda a: a.update(enableExecuteCommand=True)),
    pipeline(
        "a migration with a shell", "ecs:RunTask", lambda a: a.run(f"{STAGE}-blue-migration", enableExecuteCommand=True)
    ),
    pipeline(
        "a command in a task",
        "ecs:ExecuteCommand",
        lambda a: a.ecs.execute_command(cluster=STAGE, task="0" * 32, command="env", interactive=True),
    ),
    pipeline("another stage's migration", "ecs:RunTask", lambda a: a.run(f"{PRODUCTION}-blue-migration", PRODUCTION)),
    pipeline(
        "its migration in another stage's cluster",
        "ecs:RunTask",
        lambda a: a.run(f"{STAGE}-blue-migration", PRODUCTION),
    ),
    pipeline("a service's definition as a task", "ecs:RunTask", lambda a: a.run(f"{STAGE}-blue")),
    pipeline(
        "another stage's task stopped", "ecs:StopTask", lambda a: a.ecs.stop_task(cluster=PRODUCTION, task="0" * 32)
    ),
    pipeline(
        "a definition withdrawn",
        "ecs:DeregisterTaskDefinition",
        lambda a: a.ecs.deregister_task_definition(taskDefinition=f"{STAGE}-blue:1"),
    ),
    pipeline(
        "tags of what was made before",
        "ecs:TagResource",
        lambda a: a.ecs.tag_resource(
            resourceArn=f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/{STAGE}/connections-sandbox-blue",
            tags=[{"key": "a", "value": "b"}],
        ),
    ),
    # Roles passed to tasks
    pipeline(
        "another stage's task role",
        "iam:PassRole",
        lambda a: a.define(taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{PRODUCTION}-task"),
    ),
    pipeline(
        "another stage's execution role",
        "iam:PassRole",
        lambda a: a.define(executionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{PRODUCTION}-execution"),
    ),
    pipeline(
        "its own role as a task's",
        "iam:PassRole",
        lambda a: a.define(taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{STAGE}-pipeline"),
    ),
    pipeline(
        "another role for one task",
        "iam:PassRole",
        lambda a: a.run(
            f"{STAGE}-blue-migration", overrides={"taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{SHARED}-operator"}
        ),
    ),
    # Traffic
    pipeline("another stage's listener", "elasticloadbalancing:ModifyListener", lambda a: a.weigh(PRODUCTION_LISTENER)),
    pipeline(
        "a test listener",
        "elasticloadbalancing:ModifyListener",
        lambda a: a.weigh(a.outputs["test_listener_arns"]["blue"]),
    ),
    pipeline(
        "another protocol",
        "elasticloadbalancing:ModifyListener",
        lambda a: a.elbv2.modify_listener(ListenerArn=a.outputs["production_listener_arn"], Protocol="HTTPS", Port=443),
    ),
    pipeline(
        "a listener gone",
        "elasticloadbalancing:DeleteListener",
        lambda a: a.elbv2.delete_listener(ListenerArn=a.outputs["production_listener_arn"]),
    ),
    pipeline(
        "a rule on the listener",
        "elasticloadbalancing:CreateRule",
        lambda a: a.elbv2.create_rule(
            ListenerArn=a.outputs["production_listener_arn"],
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/"]}],
            Actions=forward(a.outputs["target_group_arns"], 0, 100),
        ),
    ),
    pipeline(
        "another stage's health check",
        "elasticloadbalancing:ModifyTargetGroup",
        lambda a: a.elbv2.modify_target_group(TargetGroupArn=PRODUCTION_GROUP, HealthCheckPath="/"),
    ),
    pipeline(
        "a target group gone",
        "elasticloadbalancing:DeleteTargetGroup",
        lambda a: a.elbv2.delete_target_group(TargetGroupArn=a.outputs["target_group_arns"]["blue"]),
    ),
    pipeline(
        "a target of its own choice",
        "elasticloadbalancing:RegisterTargets",
        lambda a: a.elbv2.register_targets(
            TargetGroupArn=a.outputs["target_group_arns"]["blue"], Targets=[{"Id": "10.0.0.9"}]
        ),
    ),
    pipeline(
        "the load balancer gone",
        "elasticloadbalancing:DeleteLoadBalancer",
        lambda a: a.elbv2.delete_load_balancer(LoadBalancerArn=a.outputs["alb_arn"]),
    ),
    # Network and logs
    pipeline("a network", "ec2:CreateVpc", lambda a: a.ec2.create_vpc(CidrBlock="10.1.0.0/16")),
    pipeline(
        "an open security group",
        "ec2:AuthorizeSecurityGroupIngress",
        lambda a: a.ec2.authorize_security_group_ingress(
            GroupId=a.outputs["task_security_group_id"], IpProtocol="tcp", FromPort=1, ToPort=65535, CidrIp="0.0.0.0/0"
        ),
    ),
    pipeline(
        "another stage's logs",
        "logs:GetLogEvents",
        lambda a: a.logs.get_log_events(logGroupName=PRODUCTION, logStreamName="s"),
    ),
    pipeline("the logs gone", "logs:DeleteLogGroup", lambda a: a.logs.delete_log_group(logGroupName=STAGE)),
    # Identity
    pipeline("a user", "iam:CreateUser", lambda a: a.iam.create_user(UserName="u")),
    pipeline("a key", "iam:CreateAccessKey", lambda a: a.iam.create_access_key(UserName="worker")),
    pipeline(
        "a role", "iam:CreateRole", lambda a: a.iam.create_role(RoleName="r", AssumeRolePolicyDocument=EVERYTHING)
    ),
    pipeline("a policy", "iam:CreatePolicy", lambda a: a.iam.create_policy(PolicyName="p", PolicyDocument=EVERYTHING)),
    pipeline(
        "its own policies",
        "iam:PutRolePolicy",
        lambda a: a.iam.put_role_policy(RoleName=f"{STAGE}-pipeline", PolicyName="slots", PolicyDocument=EVERYTHING),
    ),
    pipeline(
        "an administrator's policy",
        "iam:AttachRolePolicy",
        lambda a: a.iam.attach_role_policy(
            RoleName=f"{STAGE}-pipeline", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    pipeline(
        "its own bounds gone",
        "iam:DeleteRolePolicy",
        lambda a: a.iam.delete_role_policy(RoleName=f"{STAGE}-pipeline", PolicyName="bounds"),
    ),
    pipeline(
        "its boundary gone",
        "iam:DeleteRolePermissionsBoundary",
        lambda a: a.iam.delete_role_permissions_boundary(RoleName=f"{STAGE}-pipeline"),
    ),
    pipeline(
        "another boundary",
        "iam:PutRolePermissionsBoundary",
        lambda a: a.iam.put_role_permissions_boundary(
            RoleName=f"{STAGE}-pipeline", PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    pipeline(
        "a wider boundary",
        "iam:CreatePolicyVersion",
        lambda a: a.iam.create_policy_version(
            PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{SHARED}-boundary", PolicyDocument=EVERYTHING, SetAsDefault=True
        ),
    ),
    pipeline(
        "who may take its role",
        "iam:UpdateAssumeRolePolicy",
        lambda a: a.iam.update_assume_role_policy(RoleName=f"{STAGE}-pipeline", PolicyDocument=EVERYTHING),
    ),
    pipeline("another stage's role", "sts:AssumeRole", assume(f"{PRODUCTION}-pipeline")),
    pipeline("the operator's role", "sts:AssumeRole", assume(f"{SHARED}-operator")),
    pipeline("the task's role", "sts:AssumeRole", assume(f"{STAGE}-task")),
    # What a reconciler lacks of a pipeline, and what it must not have either
    reconciler("a login to the registry", "ecr:GetAuthorizationToken", lambda a: a.ecr.get_authorization_token()),
    reconciler("an image", "ecr:PutImage", lambda a: a.push("cursive-team/connections/sandbox")),
    reconciler(
        "a new service",
        "ecs:CreateService",
        lambda a: a.create("connections-sandbox-blue", networkConfiguration=a.network()),
    ),
    reconciler("a migration", "ecs:RunTask", lambda a: a.run(f"{STAGE}-blue-migration")),
    reconciler(
        "a secret", "secretsmanager:GetSecretValue", lambda a: a.secretsmanager.get_secret_value(SecretId=SECRET)
    ),
    reconciler(
        "another stage's service",
        "ecs:UpdateService",
        lambda a: a.update("connections-production-blue", PRODUCTION, desiredCount=0),
    ),
    reconciler(
        "tasks in another subnet",
        "ecs:UpdateService",
        lambda a: a.update(networkConfiguration=a.network(FOREIGN_SUBNET)),
    ),
    reconciler(
        "a test listener",
        "elasticloadbalancing:ModifyListener",
        lambda a: a.weigh(a.outputs["test_listener_arns"]["blue"]),
    ),
    reconciler("another stage's record", "s3:PutObject", put("releases/production/environment.json")),
    reconciler(
        "another stage's task role",
        "iam:PassRole",
        lambda a: a.define(taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{PRODUCTION}-task"),
    ),
    reconciler("the pipeline's role", "sts:AssumeRole", assume(f"{STAGE}-pipeline")),
    # Who watches changes nothing
    operator("a service", "ecs:UpdateService", lambda a: a.update(desiredCount=0)),
    operator("weights", "elasticloadbalancing:ModifyListener", lambda a: a.weigh(a.outputs["production_listener_arn"])),
    operator("a record", "s3:PutObject", put("releases/sandbox/environment.json")),
    operator("a state", "s3:PutObject", put("terraform/sandbox/slot-blue.tfstate")),
    operator("a state's lock", "s3:PutObject", put("terraform/sandbox/slot-blue.tfstate.tflock")),
    operator("a secret", "secretsmanager:GetSecretValue", lambda a: a.secretsmanager.get_secret_value(SecretId=SECRET)),
    operator("a task stopped", "ecs:StopTask", lambda a: a.ecs.stop_task(cluster=STAGE, task="0" * 32)),
    operator("an image", "ecr:PutImage", lambda a: a.push("cursive-team/connections/sandbox")),
    operator("the pipeline's role", "sts:AssumeRole", assume(f"{STAGE}-pipeline")),
]
