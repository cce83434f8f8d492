"""A release's calls under the pipeline's role, with authorization in force: all that it needs, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.integration.roots import Applied, common, slot_variables, terraform_environment
from tests.integration.stand import REGION, Emulator, forward, free_port, running

pytestmark = pytest.mark.integration
ACCOUNT = "000000000000"
BUCKET = "cursive-team-connections-state"


@dataclass
class Provisioned:
    aws: Emulator
    outputs: dict[str, Any]
    issued: dict[str, str]
    directory: Path

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.aws.url,
            region_name=REGION,
            aws_access_key_id=self.issued["AccessKeyId"],
            aws_secret_access_key=self.issued["SecretAccessKey"],
            aws_session_token=self.issued["SessionToken"],
        )


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    directory = tmp_path_factory.mktemp("pipeline")
    with running(directory, AUTH="true") as aws:
        aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        user = aws.iam.create_user(UserName="worker")["User"]["Arn"]
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws.iam.put_user_policy(UserName="worker", PolicyName="assume", PolicyDocument=document)
        key = aws.iam.create_access_key(UserName="worker")["AccessKey"]
        administrator = terraform_environment(aws.url, "test", "test")
        account = Applied(administrator, "account", directory).apply(
            **common(ACCOUNT),
            stages=["sandbox", "production"],
            state_bucket=BUCKET,
            github_repository="cursive-team/connections",
            operator_principal_arns=[f"arn:aws:iam::{ACCOUNT}:root"],
            pipeline_principal_arns=[user],
        )
        role = account["pipeline_role_arns"]["sandbox"]
        outputs = Applied(administrator, "environment", directory).apply(
            **common(ACCOUNT),
            stage="sandbox",
            pipeline_role_name=role.rpartition("/")[2],
            production_listener_port=free_port(),
            test_listener_ports={"blue": free_port(), "green": free_port()},
            test_listener_cidrs=["127.0.0.0/8"],
            listener_weights={"blue": 100, "green": 0},
            deletion_protection=False,
        )
        sts = aws.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
        issued = sts.assume_role(RoleArn=role, RoleSessionName="release")["Credentials"]
        yield Provisioned(aws, outputs, issued, directory)


def test_the_pipelines_role_releases(provisioned: Provisioned) -> None:
    acting = provisioned.issued
    environment = terraform_environment(
        provisioned.aws.url, acting["AccessKeyId"], acting["SecretAccessKey"], acting["SessionToken"]
    )
    slot = Applied(environment, "slot", provisioned.directory)
    cluster, ecs = provisioned.outputs["cluster_arn"], provisioned.client("ecs")
    for version in ("v1.0.0", "v1.1.0"):
        applied = slot.apply(**slot_variables(common(ACCOUNT), provisioned.outputs, version))
        [service] = ecs.describe_services(cluster=cluster, services=[applied["service_name"]])["services"]
        assert service["taskDefinition"] == applied["task_definition_arn"]
    [task] = ecs.run_task(
        cluster=cluster,
        taskDefinition=applied["migration_task_definition_arn"],
        startedBy="attempt",
        launchType="FARGATE",
        networkConfiguration=service["networkConfiguration"],
    )["tasks"]
    assert ecs.list_tasks(cluster=cluster, startedBy="attempt", desiredStatus="RUNNING")["ResponseMetadata"]
    ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])
    ecs.stop_task(cluster=cluster, task=task["taskArn"])
    ecs.update_service(cluster=cluster, service=applied["service_name"], desiredCount=0)

    elbv2 = provisioned.client("elbv2")
    listener, groups = provisioned.outputs["production_listener_arn"], provisioned.outputs["target_group_arns"]
    elbv2.describe_listeners(ListenerArns=[listener])
    elbv2.describe_target_health(TargetGroupArn=groups["blue"])
    elbv2.modify_listener(ListenerArn=listener, DefaultActions=forward(groups, 0, 100))

    s3 = provisioned.client("s3")
    s3.put_object(Bucket=BUCKET, Key="releases/sandbox/environment.json", Body=b"{}")
    assert s3.get_object(Bucket=BUCKET, Key="releases/sandbox/environment.json")["Body"].read() == b"{}"
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=BUCKET, Key="releases/sandbox/v9.9.9.json")


def test_the_pipelines_role_does_nothing_beside(provisioned: Provisioned) -> None:
    outputs = provisioned.outputs
    test_listener = outputs["test_listener_arns"]["blue"]

    def in_network(subnets: list[str], public: str) -> object:
        network = {"subnets": subnets, "assignPublicIp": public, "securityGroups": [outputs["task_security_group_id"]]}
        return provisioned.client("ecs").update_service(
            cluster=outputs["cluster_arn"],
            service="connections-sandbox-blue",
            networkConfiguration={"awsvpcConfiguration": network},
        )

    in_network(outputs["private_subnet_ids"], "DISABLED")
    refused = {
        "another stage's records": lambda: provisioned.client("s3").put_object(
            Bucket=BUCKET, Key="releases/production/environment.json", Body=b"{}"
        ),
        "a service of another name": lambda: provisioned.client("ecs").update_service(
            cluster=outputs["cluster_arn"], service="other", desiredCount=0
        ),
        "a role": lambda: provisioned.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}"),
        "a network": lambda: provisioned.client("ec2").create_vpc(CidrBlock="10.1.0.0/16"),
        "a load balancer": lambda: provisioned.client("elbv2").delete_load_balancer(LoadBalancerArn=outputs["alb_arn"]),
        "a listener": lambda: provisioned.client("elbv2").delete_listener(ListenerArn=test_listener),
        "a test listener": lambda: provisioned.client("elbv2").modify_listener(
            ListenerArn=test_listener, DefaultActions=forward(outputs["target_group_arns"], 0, 100)
        ),
        "another protocol": lambda: provisioned.client("elbv2").modify_listener(
            ListenerArn=outputs["production_listener_arn"], Protocol="HTTPS", Port=443
        ),
        "another subnet": lambda: in_network(["subnet-0000000000000000f"], "DISABLED"),
        "a subnet more": lambda: in_network([*outputs["private_subnet_ids"], "subnet-0000000000000000f"], "DISABLED"),
        "a public address": lambda: in_network(outputs["private_subnet_ids"], "ENABLED"),
    }
    for what, call in refused.items():
        with pytest.raises(ClientError) as caught:
            call()
        assert "AccessDenied" in str(caught.value) or "Unauthorized" in str(caught.value), what
