"""The end of an environment's infrastructure, as steps of `destroy`: refused while used, planned, emptied, removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core.colour import Colour
from core.errors import Permanent, PointsmanError, Refused
from core.release import Configuration, Release
from core.root_variables import account_variables, environment_variables, slot_variables
from core.settings import ACCOUNT
from core.words import counted
from operation.lease import now
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.aws import aws_errors, has_code
from systems.ecr import count_images
from systems.load_balancer import find_load_balancer, lift_deletion_protection
from systems.metrics import requests_served
from systems.records import RecordStore
from systems.terraform import Plan, describe, state_key

__all__ = [
    "begin_destruction",
    "destroy_account_root",
    "destroy_root",
    "destroy_slot",
    "empty_slot",
    "forget_infrastructure",
    "lift_protection",
    "plan_account_destruction",
    "plan_destruction",
    "refuse_needed_account",
    "refuse_while_used",
]

USED_WITHIN = timedelta(hours=1)
"""An environment that answered a request in this time is in use."""


@step("requests", "look whether {operation.environment} was used in the last hour", writes=False)
def refuse_while_used(operation: Operation, force: bool) -> Done[None]:
    """Raise `Refused` where the load balancer answered requests within the last hour, unless forced."""
    balancer = find_load_balancer(operation.aws("elbv2"), _balancer(operation))
    if balancer is None:
        return skipped("there is no load balancer")
    served = requests_served(operation.aws("cloudwatch"), balancer, now(), USED_WITHIN)
    if served and not force:
        raise Refused(
            f"{operation.environment} is in use",
            why=f"its load balancer answered {counted(served, 'request')} in the last hour",
            do="Point DNS elsewhere and wait an hour, or run `destroy` with force.",
        )
    return done(f"{counted(served, 'request')} in the last hour" + (", forced" if served else ""))


@step("plan", "plan the end of both slots and of the environment", writes=False)
def plan_destruction(operation: Operation) -> Done[dict[str, Plan]]:
    """Return the plans that remove each slot and the environment, by the name of the state."""
    workplace = operation.terraform
    variables: dict[str, dict[str, Any]] = {}
    if operation.record.infrastructure is not None:
        variables |= {colour.value: _slot_variables(operation, colour) for colour in Colour}
    variables["environment"] = environment_variables(operation.settings, operation.record, {})
    plans = {}
    for state, given in variables.items():
        root = workplace.open_root(
            "environment" if state == "environment" else "slot", state_key(operation.environment, state)
        )
        plans[state] = workplace.plan(root, given, destroy=True)
    return done("; ".join(f"{state}: {describe(plan)}" for state, plan in plans.items()), plans)


def _slot_variables(operation: Operation, colour: Colour) -> dict[str, Any]:
    """Return variables that the slot's root takes: what it is made of plays no part in its end."""
    infrastructure, service = operation.infrastructure, operation.settings.service
    nothing = Release(
        version="v0.0.0",
        commit="0" * 40,
        image=f"{infrastructure.ecr_repository_url}@sha256:{'0' * 64}",
        configuration=Configuration(container_port=service.container_port, cpu=service.cpu, memory=service.memory),
    )
    return slot_variables(operation.settings, infrastructure, colour, nothing)


@step("begin", "record that {operation.environment} is being destroyed")
def begin_destruction(operation: Operation) -> Done[None]:
    """Write that the environment ends: only `destroy` and `provision` take it from here on."""
    record = operation.records.change_environment(lambda r: r.being_destroyed(now()))
    return done(f"{record.live.release.version} was live" if record.live else "nothing was live")


@step("protection", "let the load balancer be deleted")
def lift_protection(operation: Operation) -> Done[None]:
    """Lift the load balancer's deletion protection, where there is one."""
    balancer = find_load_balancer(operation.aws("elbv2"), _balancer(operation))
    if balancer is None:
        return skipped("there is no load balancer")
    operation.lease.assert_held()
    lifted = lift_deletion_protection(operation.aws("elbv2"), balancer)
    return done("deletion protection is off") if lifted else skipped("it was not protected")


@step("stop {colour}", "stop the tasks in {colour}")
def empty_slot(operation: Operation, colour: Colour, plan: Plan) -> Done[None]:
    """Stop a slot's tasks, and see them gone."""
    if plan.empty:
        return skipped("there is no service")
    stopped = [operation.ecs.scale_to_zero(service) or 0 for service in operation.slot(colour).services]
    return done(f"{counted(sum(stopped), 'task')} stopped")


@step("destroy {state}", "apply plan {plan.short}, which removes {state}")
def destroy_slot(operation: Operation, state: str, plan: Plan) -> Done[None]:
    """Apply that very plan, which removes a slot."""
    return _destroy(operation, plan)


@step("destroy environment", "apply plan {plan.short}, which removes the environment")
def destroy_root(operation: Operation, plan: Plan) -> Done[None]:
    """Apply that very plan, which removes the environment; raise `Permanent` where AWS still shows what served it."""
    ended = _destroy(operation, plan)
    balancer = find_load_balancer(operation.aws("elbv2"), _balancer(operation))
    if balancer is not None:
        raise Permanent("The load balancer is still there", why=balancer, do="Run `destroy` again.")
    if _cluster_is_active(operation):
        raise Permanent("The cluster is still there", why=operation.settings.cluster, do="Run `destroy` again.")
    return ended


def _destroy(operation: Operation, plan: Plan) -> Done[None]:
    if plan.empty:
        return skipped("it is gone already")
    operation.terraform.apply(plan)
    return done(describe(plan))


def _cluster_is_active(operation: Operation) -> bool:
    try:
        with aws_errors("looking for the cluster"):
            found = operation.aws("ecs").describe_clusters(clusters=[operation.settings.cluster])
    except Permanent as error:
        if has_code(error, "ClusterNotFoundException"):
            return False
        raise
    return any(cluster["status"] == "ACTIVE" for cluster in found["clusters"])


@step("record", "record that nothing of {operation.environment} is left")
def forget_infrastructure(operation: Operation) -> Done[None]:
    """Write that the environment has no infrastructure and nothing live; what was healthy stays known."""
    record = operation.records.change_environment(lambda r: r.destroyed())
    return done(f"{counted(len(record.healthy), 'healthy release')} stay on record")


def _balancer(operation: Operation) -> str:
    return f"{operation.settings.name}-{operation.settings.stage}"


# --- what all environments share


@step("needed", "look whether anything still needs the account's root", writes=False)
def refuse_needed_account(operation: Operation) -> Done[None]:
    """Raise `Refused` while an environment has infrastructure, or the repository holds images."""
    settings = operation.settings
    stages = {settings.stage, *settings.provision.listed("stages")}
    standing = [stage for stage in sorted(stages) if _stands(operation, stage)]
    if standing:
        raise Refused(
            f"The account's root is needed by {', '.join(standing)}",
            why="their roles and images are in it",
            do="Run `destroy` for each of them first.",
        )
    images = {name: count_images(operation.aws, name) for name in settings.repositories}
    held = [f"{name} holds {counted(number, 'image')}" for name, number in images.items() if number]
    if held:
        raise Refused(
            f"The repository {'; '.join(held)}",
            why="they would be lost, and no release could be returned to any more",
            do="Delete them by hand if you mean it, with `aws ecr batch-delete-image`.",
        )
    return done("nothing needs it")


def _stands(operation: Operation, stage: str) -> bool:
    settings = operation.settings
    records = RecordStore(operation.aws("s3"), settings.state_bucket, stage, settings.aws_account_number)
    try:
        return records.environment().infrastructure is not None
    except PointsmanError as error:
        raise Refused(f"Whether {stage} still stands is unknown", why=str(error)) from error


@step("plan", "plan the end of the account's root", writes=False)
def plan_account_destruction(operation: Operation) -> Done[Plan]:
    """Return the plan that removes the root `account`."""
    workplace = operation.terraform
    root = workplace.open_root(ACCOUNT, state_key(operation.environment, ACCOUNT))
    plan = workplace.plan(root, account_variables(operation.settings), destroy=True)
    return done(describe(plan), plan)


@step("destroy account", "apply plan {plan.short}, which removes the account's root")
def destroy_account_root(account: Operation, plan: Plan) -> Done[None]:
    """Apply that very plan, which removes the root `account`."""
    return _destroy(account, plan)
