"""`provision`: what a release needs, from the account's registry to the environment's load balancer."""

from __future__ import annotations

from prefect import flow

from blocks.provision import check_provision
from core.plan_review import review_plan
from core.settings import ACCOUNT
from lifecycle.acquire import held_at_once
from lifecycle.agreement import Ask, agree_on, ask_in_shell, ask_in_ui
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from tasks.infrastructure import (
    account_held,
    apply_account,
    apply_environment,
    check_principals,
    make_state_bucket,
    plan_account,
    plan_environment,
    record_infrastructure,
    show_outputs,
)

__all__ = ["provision", "provision_from_shell"]


@flow(name="provision", flow_run_name="provision {environment}")
def provision(environment: str) -> Outcome:
    """Create or update the infrastructure of releases with Terraform: the roots `account` and `environment`.

    Each plan is shown, and applied once a human has agreed to it in Prefect's UI. Nothing is held meanwhile; what is
    applied is that very plan, under the environment's lease.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
    """
    return run_operation("provision", environment, lambda op: provision_environment(op, ask_in_ui), provisions=True)


@flow(name="provision", flow_run_name="provision {environment}")
def provision_from_shell(environment: str) -> Outcome:
    """Do the same from an operator's terminal, with the operator's own credentials, and ask there."""
    return run_operation("provision", environment, lambda op: provision_environment(op, ask_in_shell), provisions=True)


def provision_environment(operation: Operation, ask: Ask) -> str:
    """Plan, ask and apply, root by root, and write the outputs into the record; return the success message."""
    check_provision(operation.settings)
    check_principals(operation)
    make_state_bucket(operation)
    with held_at_once(operation), account_held(operation):
        plan = plan_account(operation)
    agree_on(operation, review_plan(ACCOUNT, plan.sha256, plan.content), ask)
    with held_at_once(operation), account_held(operation) as account:
        shared = apply_account(account, plan)
    with held_at_once(operation):
        plan = plan_environment(operation, shared)
    agree_on(operation, review_plan(operation.environment, plan.sha256, plan.content), ask)
    with held_at_once(operation):
        outputs = apply_environment(operation, plan)
        record_infrastructure(operation, shared | outputs)
    return f"{operation.environment} is provisioned: {show_outputs(operation, shared | outputs)}."
