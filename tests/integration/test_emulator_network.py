"""Who reaches whom: gateways, security groups, and addresses that learn of new weights one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.integration.stand import SUBNETS, VPC, Emulator, Stack, admit, create_security_group, free_port, wait_for

pytestmark = pytest.mark.integration
ADDRESSES = ("127.0.0.1", "127.0.0.2")


def answering(stack: Stack, address: str) -> str:
    return httpx.get(f"http://{address}:{stack.port}", trust_env=False, timeout=5).text


# Where a load balancer can stand


def network(aws: Emulator) -> tuple[str, list[str]]:
    vpc = aws.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        aws.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"ap-southeast-1{zone}")[
            "Subnet"
        ]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    return vpc, subnets


def test_a_public_load_balancer_needs_an_attached_internet_gateway(aws: Emulator) -> None:
    vpc, subnets = network(aws)
    with pytest.raises(ClientError, match=rf"InvalidSubnet.*VPC {vpc} has no internet gateway"):
        aws.elbv2.create_load_balancer(Name="public", Subnets=subnets)
    gateway = aws.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    with pytest.raises(ClientError, match="InvalidSubnet"):
        aws.elbv2.create_load_balancer(Name="public", Subnets=subnets)
    aws.elbv2.create_load_balancer(Name="private", Subnets=subnets, Scheme="internal")
    aws.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    [balancer] = aws.elbv2.create_load_balancer(Name="public", Subnets=subnets)["LoadBalancers"]
    assert balancer["VpcId"] == vpc


def test_a_load_balancer_needs_two_zones_and_groups_that_exist(aws: Emulator) -> None:
    create = aws.elbv2.create_load_balancer
    with pytest.raises(ClientError, match="two different Availability Zones"):
        create(Name="narrow", Subnets=[SUBNETS[0]])
    with pytest.raises(aws.elbv2.exceptions.SubnetNotFoundException):
        create(Name="nowhere", Subnets=["subnet-nowhere", SUBNETS[0]])
    with pytest.raises(aws.elbv2.exceptions.InvalidSecurityGroupException):
        create(Name="open", Subnets=list(SUBNETS), SecurityGroups=["sg-nobody"])


# Addresses and weights


def test_a_listener_answers_on_every_address_of_its_load_balancer(stack: Stack) -> None:
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
    assert [answering(stack, address) for address in ADDRESSES] == ["blue", "blue"]
    [balancer] = stack.aws.elbv2.describe_load_balancers(LoadBalancerArns=[stack.balancer])["LoadBalancers"]
    named = [a["IpAddress"] for zone in balancer["AvailabilityZones"] for a in zone["LoadBalancerAddresses"]]
    assert tuple(named) == ADDRESSES
    stack.aws.elbv2.delete_listener(ListenerArn=stack.listener)
    for address in ADDRESSES:
        with pytest.raises(httpx.ConnectError):
            answering(stack, address)


def test_new_weights_reach_one_address_after_the_other(stack: Stack, faults: Callable[..., None]) -> None:
    for colour in ("blue", "green"):
        stack.serve(colour)
    for colour in ("blue", "green"):
        wait_for(lambda colour=colour: stack.states(colour) == ["healthy"], f"{colour} healthy")
    faults(action="ModifyListener", effect="weights:4")
    stack.weigh(0, 100)
    changed = time.monotonic()
    [listener] = stack.aws.elbv2.describe_listeners(ListenerArns=[stack.listener])["Listeners"]
    weights = [group["Weight"] for group in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]]
    assert weights == [0, 100], "the record has them at once"
    assert [answering(stack, address) for address in ADDRESSES] == ["blue", "blue"]
    wait_for(lambda: answering(stack, ADDRESSES[0]) == "green", "the first address knows", 4)
    assert 1.9 <= time.monotonic() - changed < 3.5
    assert answering(stack, ADDRESSES[1]) == "blue", "the second does not yet"
    wait_for(lambda: answering(stack, ADDRESSES[1]) == "green", "the second address knows", 4)
    assert time.monotonic() - changed >= 3.9
    stack.weigh(100, 0)
    assert [answering(stack, address) for address in ADDRESSES] == ["blue", "blue"], "without the fault: at once"


# Security groups


def test_tasks_that_do_not_admit_the_load_balancer_on_that_port_are_unhealthy(stack: Stack) -> None:
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy")
    rule = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": stack.ingress}]}
    stack.aws.ec2.revoke_security_group_ingress(GroupId=stack.tasks, IpPermissions=[rule])
    admit(stack.aws, stack.tasks, 3000, 3000, group=stack.ingress)
    wait_for(lambda: ("unhealthy", "Target.Timeout") in stack.health("blue"), "unhealthy", 15)
    admit(stack.aws, stack.tasks, 8080, 8080, group=stack.ingress)
    wait_for(lambda: "healthy" in stack.states("blue"), "healthy again", 20)


def test_a_load_balancer_that_may_not_send_to_its_tasks_reaches_none(stack: Stack) -> None:
    closed = create_security_group(stack.aws, f"{stack.name}-closed")
    everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    stack.aws.ec2.revoke_security_group_egress(GroupId=closed, IpPermissions=[everywhere])
    admit(stack.aws, closed, 1, 65535, cidr="0.0.0.0/0")
    admit(stack.aws, stack.tasks, 8080, 8080, group=closed)
    stack.aws.elbv2.set_security_groups(LoadBalancerArn=stack.balancer, SecurityGroups=[closed])
    stack.serve("blue", grace=60)
    wait_for(lambda: ("unhealthy", "Target.Timeout") in stack.health("blue"), "unhealthy", 20)
    to_tasks = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": stack.tasks}]}
    stack.aws.ec2.authorize_security_group_egress(GroupId=closed, IpPermissions=[to_tasks])
    wait_for(lambda: stack.states("blue") == ["healthy"], "healthy", 15)


def test_a_listener_is_silent_to_clients_that_no_range_admits(stack: Stack) -> None:
    port = free_port()
    group = create_security_group(stack.aws, f"{stack.name}-office")
    admit(stack.aws, group, port, port, cidr="203.0.113.10/32")
    admit(stack.aws, group, stack.port, stack.port, cidr="0.0.0.0/0")
    stack.aws.elbv2.create_listener(
        LoadBalancerArn=stack.balancer,
        Port=port,
        Protocol="HTTP",
        DefaultActions=[{"Type": "forward", "TargetGroupArn": stack.groups["green"]}],
    )
    stack.aws.elbv2.set_security_groups(LoadBalancerArn=stack.balancer, SecurityGroups=[group])
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=1)
    assert httpx.get(stack.url, trust_env=False, timeout=5).status_code == 503, "no target, but an answer"
    admit(stack.aws, group, port, port, cidr="127.0.0.0/8")
    assert httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=5).status_code == 503


def test_a_load_balancer_without_groups_gets_its_networks_default_one(aws: Emulator) -> None:
    [balancer] = aws.elbv2.create_load_balancer(Name="default", Subnets=list(SUBNETS))["LoadBalancers"]
    found = aws.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [VPC]}])["SecurityGroups"]
    assert balancer["SecurityGroups"] == [group["GroupId"] for group in found if group["GroupName"] == "default"]
