"""The slot's Terraform as steps of a release: initialised, planned, guarded and applied."""

from __future__ import annotations

from core.history import SlotOutputs, State
from core.plan_guard import SlotPlan, guard_slot_plan
from core.root_variables import slot_variables
from core.slot_shape import SERVICE
from core.state_restoration import applied_there, refuse_lost_state
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.log import run_logger
from systems.state_versions import StateVersions
from systems.terraform import Plan, Root, describe, state_key

__all__ = ["apply_plan", "check_plan", "init_slot", "plan_slot", "refuse_lost"]


@step("init", "initialise Terraform for the {operation.candidate}", writes=False)
def init_slot(operation: Operation) -> Done[Root]:
    """Return the candidate slot's root, initialised."""
    key = state_key(operation.environment, operation.candidate.colour)
    refuse_lost(operation, operation.candidate.colour.value)
    root = operation.terraform.open_root("slot", key)
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
    workplace, slot = operation.terraform, operation.candidate
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
    workplace = operation.terraform
    outputs = plan.outputs if plan.empty else workplace.apply(plan)
    slot = SlotOutputs.model_validate(outputs)
    version = workplace.state_version(operation.aws("s3"), plan.root)
    operation.journal.change(lambda a: a.applied(slot, version))
    operation.journal.advance(State.APPLIED)
    return skipped("the plan changes nothing") if plan.empty else done(describe(plan))
