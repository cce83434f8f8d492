"""`destroy`: the end of an environment's infrastructure; images, state, records and the database stay."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow

from core.colour import Colour
from core.destruction import what_stays
from core.plan_review import review_plan, review_together
from core.settings import ACCOUNT
from lifecycle.acquire import held_at_once
from lifecycle.agreement import Ask, agree_to_destroy, ask_in_shell, ask_in_ui
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from tasks.destruction import (
    begin_destruction,
    destroy_account_root,
    destroy_root,
    destroy_slot,
    empty_slot,
    forget_infrastructure,
    lift_protection,
    plan_account_destruction,
    plan_destruction,
    refuse_needed_account,
    refuse_while_used,
)
from tasks.infrastructure import account_held

__all__ = ["destroy", "destroy_account_from_shell", "destroy_from_shell"]


@flow(name="destroy", flow_run_name="destroy {environment}")
def destroy(environment: str, force: bool = False) -> Outcome:
    """Remove an environment's slots and infrastructure, once a human has typed its name under the plan.

    Images, state, records and the database stay. A run that ends halfway is continued by the next.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
        force: Go on though requests were answered in the last hour.
    """
    return _run(environment, lambda op: destroy_environment(op, ask_in_ui, force=force))


@flow(name="destroy", flow_run_name="destroy {environment}")
def destroy_from_shell(environment: str, force: bool = False) -> Outcome:
    """Do the same from an operator's terminal, with the operator's own credentials, and ask there."""
    return _run(environment, lambda op: destroy_environment(op, ask_in_shell, force=force))


@flow(name="destroy", flow_run_name="destroy account")
def destroy_account_from_shell(environment: str) -> Outcome:
    """Remove what all environments of the account share: roles and the empty repository. From a terminal only."""
    return _run(environment, lambda op: destroy_account(op, ask_in_shell))


def destroy_environment(operation: Operation, ask: Ask, *, force: bool = False) -> str:
    """Plan, ask and remove: slots first, then the environment; return what stays, in a sentence."""
    refuse_while_used(operation, force)
    with held_at_once(operation, even_frozen=True):
        plans = plan_destruction(operation)
    reviews = {state: review_plan(state, plan.sha256, plan.content) for state, plan in plans.items()}
    agree_to_destroy(operation, review_together(operation.environment, reviews), what_stays(operation.settings), ask)
    with held_at_once(operation, even_frozen=True):
        begin_destruction(operation)
        lift_protection(operation)
        for colour in (c for c in Colour if c in plans):
            empty_slot(operation, colour, plans[colour])
            destroy_slot(operation, colour.value, plans[colour])
        destroy_root(operation, plans["environment"])
        forget_infrastructure(operation)
    return f"{operation.environment} is destroyed. What stays: {'; '.join(what_stays(operation.settings))}."


def destroy_account(operation: Operation, ask: Ask) -> str:
    """Plan, ask and remove the root `account`; return the success message."""
    refuse_needed_account(operation)
    with held_at_once(operation), account_held(operation):
        plan = plan_account_destruction(operation)
    agree_to_destroy(operation, review_plan(ACCOUNT, plan.sha256, plan.content), (), ask)
    with held_at_once(operation), account_held(operation) as account:
        destroy_account_root(account, plan)
    return "The account's roles and its repository are removed; the state bucket stays."


def _run(environment: str, body: Callable[[Operation], str]) -> Outcome:
    return run_operation("destroy", environment, body, provisions=True)
