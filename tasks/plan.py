"""The slot's Terraform as steps of a release: initialised, planned, guarded and applied."""

from __future__ import annotations

import os
from typing import Any

from blocks.aws import issued_variables
from blocks.environment import PROJECT
from core.colour import Colour
from core.history import SlotOutputs, State
from core.plan_guard import SlotPlan, guard_slot_plan
from core.record import Infrastructure
from core.release import Release
from core.settings import EnvironmentSettings
from core.slot_shape import SERVICE
from core.state_restoration import applied_there, refuse_lost_state
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.aws import aws_errors, bounded_config
from systems.log import run_logger
from systems.processes import ATTEMPT_VARIABLE
from systems.state_versions import StateVersions
from systems.terraform import Plan, Root, Workplace, describe, state_key
from systems.terraform_provider import child_environment

__all__ = ["apply_plan", "check_plan", "init_slot", "plan_slot", "refuse_lost", "slot_variables", "workplace_of"]


def workplace_of(operation: Operation) -> Workplace:
    """Return where and as whom an operation runs Terraform."""
    settings = operation.settings

    def environment() -> dict[str, str]:
        with aws_errors("issuing Terraform's credentials"):
            identity = issued_variables(operation.block.aws_credentials, bounded_config(settings.timing))
        return child_environment(os.environ, {**identity, ATTEMPT_VARIABLE: operation.owner.attempt})

    return Workplace(
        sources=PROJECT / "terraform",
        bucket=settings.state_bucket,
        account=settings.aws_account_number,
        region=settings.region,
        folder=operation.workspace.folder,
        environment=environment,
        timeout=settings.timing.terraform,
    )


@step("init", "initialise Terraform for the {operation.candidate}", writes=False)
def init_slot(operation: Operation) -> Done[Root]:
    """Return the candidate slot's root, initialised."""
    key = state_key(operation.environment, operation.candidate.colour)
    refuse_lost(operation, operation.candidate.colour.value)
    root = workplace_of(operation).open_root("slot", key)
    return done(f"state is s3://{operation.settings.state_bucket}/{key}", root)


def refuse_lost(operation: Operation, state: str) -> None:
    """Raise `Refused` where a state was deleted or cannot be read, before Terraform takes what exists for missing."""
    settings = operation.settings
    versions = StateVersions(operation.aws("s3"), settings.state_bucket, settings.aws_account_number)
    newest = versions.newest(state_key(operation.environment, state))
    refuse_lost_state(settings.stage, state, newest, applied=applied_there(operation.record, state))


@step("plan", "plan {operation.release} into the {operation.candidate}", writes=False)
def plan_slot(operation: Operation, root: Root) -> Done[Plan]:
    """Return the plan that puts this attempt's release into the candidate slot."""
    workplace, slot = workplace_of(operation), operation.candidate
    before = workplace.state_version(operation.aws("s3"), root)
    variables = slot_variables(operation.settings, operation.infrastructure, slot.colour, operation.release)
    plan = workplace.plan(root, variables)
    if plan.creates(SERVICE) and operation.ecs.read(slot.service) is not None:
        run_logger().warning("Service %s exists but is not in Terraform's state; importing it", slot.service.name)
        workplace.adopt(root, SERVICE, _expected(operation).import_id)
        plan = workplace.plan(root, variables)
    operation.journal.change(lambda a: a.planned(plan.sha256, before))
    return done(describe(plan), plan)


@step("guard", "check what the plan would change", writes=False)
def check_plan(operation: Operation, plan: Plan) -> Done[None]:
    """Raise `Refused` if the plan would change anything but the candidate's slot."""
    guard_slot_plan(plan.content, _expected(operation))
    operation.journal.advance(State.PLANNED)
    return done(f"it changes the {operation.candidate} and nothing else")


def _expected(operation: Operation) -> SlotPlan:
    return SlotPlan(operation.settings, operation.infrastructure, operation.candidate.colour, operation.release)


@step("apply", "apply plan {plan.short} to the {operation.candidate}")
def apply_plan(operation: Operation, plan: Plan) -> Done[None]:
    """Apply that very plan file; nothing if it is empty."""
    workplace = workplace_of(operation)
    outputs = plan.outputs if plan.empty else workplace.apply(plan)
    slot = SlotOutputs.model_validate(outputs)
    version = workplace.state_version(operation.aws("s3"), plan.root)
    operation.journal.change(lambda a: a.applied(slot, version))
    operation.journal.advance(State.APPLIED)
    return skipped("the plan changes nothing") if plan.empty else done(describe(plan))


def slot_variables(
    settings: EnvironmentSettings, infrastructure: Infrastructure, colour: Colour, release: Release
) -> dict[str, Any]:
    """Return the slot root's variables for one release in one colour."""
    configuration = release.configuration
    return {
        "region": settings.region,
        "aws_account_number": settings.aws_account_number,
        "namespace": settings.namespace,
        "name": settings.name,
        "stage": settings.stage,
        "colour": colour.value,
        "image": release.image,
        "release_version": release.version,
        "release_revision": release.revision,
        "container_port": configuration.container_port,
        "cpu": configuration.cpu,
        "memory": configuration.memory,
        "cluster_arn": infrastructure.cluster_arn,
        "subnet_ids": list(infrastructure.private_subnet_ids),
        "security_group_id": infrastructure.task_security_group_id,
        "target_group_arn": infrastructure.target_group_arns[colour],
        "execution_role_arn": infrastructure.execution_role_arn,
        "task_role_arn": infrastructure.task_role_arn,
        "log_group_name": infrastructure.log_group_name,
        "environment_variables": configuration.variables,
        "secrets": configuration.secrets,
        "migration_command": settings.migration.command,
        "migration_entry_point": settings.migration.entry_point,
        "health_check_grace_period_seconds": settings.service.grace_period,
        "tags": settings.tags,
    }
