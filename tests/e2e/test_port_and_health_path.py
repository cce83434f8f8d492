"""A version that listens elsewhere and is asked elsewhere: released, left and come back to, under traffic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.colour import Colour
from core.record import Live
from sandbox.environment_file import folder
from sandbox.observer import Observer
from sandbox.operator import STAGE, Operator, Run
from sandbox.repository import CONNECTIONS, EXAMPLES
from sandbox.traffic import Client

pytestmark = pytest.mark.e2e

PORT, PATH = 9090, "/livez"
USUAL_PORT, USUAL_PATH = 8080, "/healthz"
CHECKS = f'[{{ path = "{PATH}" }}, {{ path = "/readyz" }}]'


@dataclass(frozen=True)
class Moved:
    """The two releases between which traffic goes to and fro."""

    old: Live
    new: Live


@contextmanager
def asked_elsewhere(operator: Operator) -> Iterator[None]:
    """The environment's settings with the other port and the other path."""
    path = folder(operator.sandbox.settings) / f"{STAGE}.toml"
    before = path.read_text()
    service = f'[service]\ncontainer_port = {PORT}\nhealth_check_path = "{PATH}"\n'
    text, sections = re.subn(r"^\[service\]\n", service, before, flags=re.MULTILINE)
    text, checks = re.subn(r"^checks = .*$", f"checks = {CHECKS}", text, flags=re.MULTILINE)
    assert (sections, checks) == (1, 1)
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def elsewhere(at: Path) -> Path:
    """A tree that listens on the other port, and that has no page at the usual path."""
    for name, was, becomes in (
        ("Dockerfile", f"PORT={USUAL_PORT}", f"PORT={PORT}"),
        ("src/routes.js", f"'{USUAL_PATH}'", f"'{PATH}'"),
    ):
        text = (EXAMPLES / CONNECTIONS / "app" / name).read_text()
        assert was in text
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text.replace(was, becomes))
    return at


def live_of(operator: Operator) -> Live:
    found = operator.record().live
    assert found is not None
    return found


def completed(operator: Operator, run_id: str) -> Run:
    run = operator.wait(run_id)
    assert run.type == "COMPLETED", run.message
    return run


def paths(operator: Operator) -> dict[Colour, str]:
    """What each target group asks its tasks, by the load balancer's word."""
    infrastructure = operator.record().infrastructure
    assert infrastructure is not None
    elb, arns = operator.client("elbv2"), infrastructure.target_group_arns
    found = elb.describe_target_groups(TargetGroupArns=list(arns.values()))["TargetGroups"]
    path = {group["TargetGroupArn"]: group["HealthCheckPath"] for group in found}
    return {colour: path[arn] for colour, arn in arns.items()}


def target_ports(operator: Operator, colour: Colour) -> set[int]:
    """The ports at which a colour's healthy targets are registered."""
    infrastructure = operator.record().infrastructure
    assert infrastructure is not None
    answer: dict[str, Any] = operator.client("elbv2").describe_target_health(
        TargetGroupArn=infrastructure.target_group_arns[colour]
    )
    states = answer["TargetHealthDescriptions"]
    return {one["Target"]["Port"] for one in states if one["TargetHealth"]["State"] == "healthy"}


@pytest.fixture(scope="module")
def usual(operator: Operator) -> Live:
    """A release on the usual port is live."""
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag)
    completed(operator, operator.run("release", tag=tag))
    return live_of(operator)


@pytest.fixture(scope="module")
def moved(operator: Operator, usual: Live, tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """The version that listens elsewhere was released on top, with no request failed."""
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag, overlay=elsewhere(tmp_path_factory.mktemp("elsewhere")))
    with asked_elsewhere(operator), Client(operator.application) as client:
        completed(operator, operator.run("release", tag=tag))
        seen = client.seen()
    assert seen.sent > 100
    assert seen.failed == 0, seen.failures[:5]
    assert set(seen.versions) == {usual.release.version, tag}
    return Moved(usual, live_of(operator))


def see_both(operator: Operator, moved: Moved) -> None:
    """Each colour is asked its own release's path, at its own release's port."""
    assert paths(operator) == {moved.old.colour: USUAL_PATH, moved.new.colour: PATH}
    assert target_ports(operator, moved.old.colour) == {USUAL_PORT}
    assert target_ports(operator, moved.new.colour) == {PORT}


def test_a_version_on_another_port_and_path_goes_live(operator: Operator, moved: Moved) -> None:
    assert moved.new.colour is moved.old.colour.other
    assert operator.answering(operator.settings.ports.production)["version"] == moved.new.release.version
    see_both(operator, moved)
    for live, port, path in ((moved.old, USUAL_PORT, USUAL_PATH), (moved.new, PORT, PATH)):
        configuration = live.release.configuration
        assert (configuration.container_port, configuration.health_check_path) == (port, path)


def test_the_way_back_and_forward_is_warm_and_leaves_both_paths(
    operator: Operator, observer: Observer, moved: Moved, client: Client
) -> None:
    before = observer.look()
    completed(operator, operator.run("rollback"))
    assert operator.live == moved.old.release.version
    assert before.running == observer.look().running, "a warm rollback starts and stops nothing"
    see_both(operator, moved)
    back = observer.look()
    completed(operator, operator.run("rollback", to_version=moved.new.release.version))
    assert operator.live == moved.new.release.version
    assert back.running == observer.look().running
    see_both(operator, moved)


def test_a_cold_rollback_brings_port_and_path_of_its_release(
    operator: Operator, observer: Observer, moved: Moved, client: Client
) -> None:
    before = observer.look()
    completed(operator, operator.run("retire", at_once=True))
    run = completed(operator, operator.run("rollback"))
    assert "terraform" in "\n".join(operator.log(run.id)).lower()
    assert operator.live == moved.old.release.version
    see_both(operator, moved)
    assert observer.faults(before, live=moved.old.release.version) == []


def test_the_usual_port_and_path_come_back_with_the_next_version(
    operator: Operator, observer: Observer, moved: Moved, client: Client
) -> None:
    before, tag = observer.look(), operator.next_tag()
    assert PATH in paths(operator).values()
    operator.push("v1.1.0", tag=tag)
    completed(operator, operator.run("release", tag=tag))
    assert live_of(operator).colour is moved.new.colour
    assert set(paths(operator).values()) == {USUAL_PATH}
    assert target_ports(operator, moved.new.colour) == {USUAL_PORT}
    assert observer.faults(before, live=tag) == []
