"""A release that does not name itself, recognised by its targets on an emulated load balancer with real containers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from core.colour import Colour
from core.errors import Permanent
from core.lease import HeldLease
from core.record import Infrastructure
from core.release import Configuration, Release
from core.serving import Deployed, Serving
from core.settings import EnvironmentSettings, parse_settings
from core.slot import Service
from core.smoke import Verdict
from systems.aws import AwsClients
from systems.ecs import running_tasks
from systems.load_balancer import LoadBalancer
from systems.probes import Prober
from tests.integration.stand import REGION, Stack, forward, free_port, get, wait_for

pytestmark = pytest.mark.integration

ADDRESSES = ("127.0.0.1", "127.0.0.2")
SETTLES = 5.0
SETTINGS = f"""
region = "{REGION}"
aws_account_number = "000000000000"
namespace = "team"
name = "shop"
stage = "test"
state_bucket = "team-shop-state"
[source]
url = "https://git.example.com/team/shop.git"
github_repository = "team/shop"
[smoke]
checks = [{{ path = "/healthz" }}]
attempts = 1
[traffic]
connect_to = ["127.0.0.1", "127.0.0.2"]
answers = 5
[timing]
poll = 0.2
identify = 1
confirm = 1
weights_settle = {SETTLES}
"""


class Held:
    """A lease that nobody contests."""

    def check(self) -> None:
        """Say nothing."""

    def assert_held(self, **_: Any) -> None:
        """Say nothing."""


def settings_for(production: int, test: int) -> EnvironmentSettings:
    ports = f"[ports]\nproduction = {production}\ntest_blue = 1\ntest_green = {test}\n"
    return parse_settings("test", SETTINGS + ports)


class Looked:
    """A release in the green slot of a stack, and a prober of its listeners."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self._test_port = stack, free_port()
        self._test = stack.aws.elbv2.create_listener(
            LoadBalancerArn=stack.balancer,
            Port=self._test_port,
            Protocol="HTTP",
            DefaultActions=[{"Type": "forward", "TargetGroupArn": stack.groups["green"]}],
        )["Listeners"][0]["ListenerArn"]
        self.name = stack.serve("green", 2)
        self.deployed = self._deployed()
        wait_for(lambda: stack.states("green") == ["healthy"] * 2, "two healthy targets", 60)

    def _deployed(self) -> Deployed:
        definition = self.stack.describe(self.name)["taskDefinition"]
        configuration = Configuration(container_port=8080, cpu=256, memory=512, version_path="")
        image = "example.com/shop@sha256:" + "ab" * 32
        release = Release(version="v1.1.0", commit="c0ffee", image=image, configuration=configuration)
        return Deployed(release, Colour.GREEN, definition)

    @property
    def prober(self) -> Prober:
        lease = cast(HeldLease, Held())
        return Prober(settings_for(self.stack.port, self._test_port), "alb.example.com", lease, self._evidence)

    def _evidence(self, deployed: Deployed, listener: Colour | None) -> Serving:
        stack = self.stack
        aws = cast(AwsClients, lambda service: getattr(stack.aws, service))
        infrastructure = Infrastructure.model_construct(
            production_listener_arn=stack.listener,
            test_listener_arns={Colour.GREEN: self._test},
            target_group_arns={Colour(name): arn for name, arn in stack.groups.items()},
        )
        service = Service(
            cluster=stack.name,
            container="app",
            family=self.name,
            log_group="",
            log_prefix="",
            name=self.name,
            colour=Colour.GREEN,
            target_group=stack.groups["green"],
        )
        balancer = LoadBalancer(aws, infrastructure)
        view = balancer.listener(self._test if listener else stack.listener)
        return Serving(view, balancer.targets(service), running_tasks(aws, service))


@pytest.fixture
def looked(stack: Stack) -> Looked:
    return Looked(stack)


def answers_of(stack: Stack) -> set[str]:
    return {get(f"http://{address}:{stack.port}/").text for address in ADDRESSES for _ in range(20)}


def test_the_tasks_of_the_releases_definition_prove_it_at_its_test_listener(looked: Looked) -> None:
    results, proof = looked.prober.run_checks(looked.deployed)
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.PASS]
    assert f"whose 2 healthy targets are tasks of {looked.deployed.definition_name}" in proof
    assert looked.prober.see_candidate(looked.deployed).asked == 10, "five answers at each of two addresses"


def test_a_healthy_target_of_another_definition_refuses(looked: Looked) -> None:
    stack = looked.stack
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "a healthy blue task", 60)
    [blue] = stack.aws.elbv2.describe_target_health(TargetGroupArn=stack.groups["blue"])["TargetHealthDescriptions"]
    stranger = {"Id": blue["Target"]["Id"], "Port": 8080}
    stack.aws.elbv2.register_targets(TargetGroupArn=stack.groups["green"], Targets=[stranger])
    wait_for(lambda: stack.states("green") == ["healthy"] * 3, "a third healthy target", 30)
    with pytest.raises(Permanent, match=r"does not serve v1\.1\.0") as refused:
        looked.prober.see_candidate(looked.deployed)
    assert f"not a task of the green service, but among its targets: {stranger['Id']} (healthy)" in refused.value.why
    [identity, _] = looked.prober.run_checks(looked.deployed)[0]
    assert identity.verdict is Verdict.FAIL


def test_a_deployment_by_somebody_else_refuses(looked: Looked) -> None:
    theirs = looked.stack.define("green", NAME="theirs")
    looked.stack.scale(looked.name, 2, taskDefinition=theirs)
    wait_for(lambda: "theirs" in _seen_at(looked), "their task answers", 60)
    with pytest.raises(Permanent, match=f"runs {theirs.rpartition('/')[2]}"):
        looked.prober.see_candidate(looked.deployed)


def _seen_at(looked: Looked) -> set[str]:
    return {get(f"http://127.0.0.1:{looked._test_port}/").text for _ in range(5)}


def test_a_listener_that_sends_a_part_elsewhere_refuses(looked: Looked) -> None:
    looked.stack.weigh(1, 99)
    with pytest.raises(Permanent, match="the listener has blue 1, green 99"):
        looked.prober.see_live(looked.deployed)


def test_weights_that_lag_at_one_address_are_waited_for(looked: Looked, faults: Callable[..., None]) -> None:
    stack = looked.stack
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "a healthy blue task", 60)
    faults(effect="weights:4", service="elasticloadbalancing", action="ModifyListener", times=1)
    began = time.monotonic()
    stack.aws.elbv2.modify_listener(ListenerArn=stack.listener, DefaultActions=forward(stack.groups, 0, 100))
    late = get(f"http://{ADDRESSES[-1]}:{stack.port}/").text
    assert late == "blue", "an address has not the weights that the listener says it has"
    seen = looked.prober.see_live(looked.deployed)
    assert time.monotonic() - began >= SETTLES
    assert answers_of(stack) == {"green"}
    assert seen.proof.endswith("each address answered for 5 s")
