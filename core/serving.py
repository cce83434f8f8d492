"""Whose requests a listener answers, as AWS tells it: its weights, its targets, and the tasks that they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.colour import Colour
from core.listener import ListenerView
from core.release import Release

__all__ = ["Deployed", "RunningTask", "Serving", "Target", "judge_serving"]

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html#target-health-states
_GETS_NOTHING = frozenset({"draining", "unused"})


@dataclass(frozen=True)
class Deployed:
    """A release in a slot, and the task definition (an ARN) by which ECS knows it."""

    release: Release
    colour: Colour
    definition: str

    @property
    def definition_name(self) -> str:
        """The definition's family and revision."""
        return _short(self.definition)


@dataclass(frozen=True)
class Target:
    """One target of a target group: its address, and its state in the words of DescribeTargetHealth."""

    address: str
    state: str


@dataclass(frozen=True)
class RunningTask:
    """A task that ECS runs or is starting, its task definition's ARN, and the addresses of its network interfaces."""

    arn: str
    definition: str
    addresses: tuple[str, ...]

    def __str__(self) -> str:
        return f"task {_short(self.arn)}"


@dataclass(frozen=True)
class Serving:
    """One look at what stands behind a listener: what it does, and its colour's targets and tasks."""

    listener: ListenerView
    targets: tuple[Target, ...]
    tasks: tuple[RunningTask, ...]

    @property
    def healthy(self) -> tuple[str, ...]:
        """The addresses of the healthy targets."""
        return tuple(target.address for target in self.targets if target.state == "healthy")


def judge_serving(seen: Serving, deployed: Deployed) -> str | None:
    """Return in words why a listener's answers might not come from a release; None where they can come from no other.

    They can come from no other if the listener sends everything to the release's colour, each target that gets or may
    soon get requests there is a task of the colour's service, each task of that service has the release's very
    task definition, and at least one target is healthy. (Without a healthy target a load balancer sends requests to
    all of them, https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html.)
    """
    if seen.listener.strange:
        return f"the listener {seen.listener.strange}"
    weights = seen.listener.weights
    if weights.of(deployed.colour) == 0 or weights.of(deployed.colour.other) > 0:
        return f"the listener has {weights}"
    others = [task for task in seen.tasks if task.definition != deployed.definition]
    if others:
        return "; ".join(f"{task} runs {_short(task.definition)}" for task in others)
    known = {address for task in seen.tasks for address in task.addresses}
    strangers = [target for target in seen.targets if target.state not in _GETS_NOTHING and target.address not in known]
    if strangers:
        return _strangers(strangers, deployed)
    if not seen.healthy:
        return "no target is healthy"
    return None


def _strangers(targets: Iterable[Target], deployed: Deployed) -> str:
    named = ", ".join(f"{target.address} ({target.state})" for target in targets)
    return f"not a task of the {deployed.colour} service, but among its targets: {named}"


def _short(arn: str) -> str:
    return arn.rpartition("/")[2]
