"""`provision`: what a release needs, from the account's registry to the environment's load balancer."""

from __future__ import annotations

from prefect import flow

from blocks.provision import check_provision
from lifecycle.acquire import take_at_once
from lifecycle.run import Outcome, run_operation
from operation.operation import Operation
from tasks.infrastructure import (
    account_held,
    apply_account,
    apply_environment,
    check_principals,
    make_state_bucket,
    record_infrastructure,
)

__all__ = ["provision"]


@flow(name="provision", flow_run_name="provision {environment}")
def provision(environment: str) -> Outcome:
    """Create or update the infrastructure of releases with Terraform: the roots `account` and `environment`.

    Takes the environment's lease, so it never runs at the same time as a release.

    Args:
        environment: The environment's name: that of a file in environments/, such as production.
    """
    return run_operation("provision", environment, provision_environment, provisions=True)


def provision_environment(operation: Operation) -> str:
    """Apply both roots and write their outputs into the record; return the success message."""
    check_provision(operation.settings)
    check_principals(operation)
    make_state_bucket(operation)
    take_at_once(operation)
    with account_held(operation) as account:
        shared = apply_account(account)
    outputs = apply_environment(operation, shared)
    record_infrastructure(operation, shared | outputs)
    operation.lease.drop()
    return f"{operation.environment} is provisioned; its load balancer is {outputs['alb_dns_name']}."
