"""A release's calls under the pipeline's role, with authorization in force: all that it needs."""

from __future__ import annotations

import pytest

from tests.integration.provisioned import ACCOUNT, BUCKET, Provisioned
from tests.integration.roots import Applied, common, slot_variables, terraform_environment
from tests.integration.stand import forward

pytestmark = pytest.mark.integration


def test_the_pipelines_role_releases(provisioned: Provisioned) -> None:
    acting = provisioned.keys("pipeline")
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
