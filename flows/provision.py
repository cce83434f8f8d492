"""`provision`: what a release stands on, from the account's registry to the environment's load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from blocks.provision import check_provision
from core.colour import Colour, Weights
from core.errors import PointsmanError, Refused
from core.record import EnvironmentRecord, Infrastructure
from core.settings import ACCOUNT
from core.words import counted
from flows.boundary import Outcome, conduct
from systems.iam import missing_principals
from systems.records import StateBucket, ensure_state_bucket
from tasks.hold import now
from tasks.operation import Operation, open_account, step_task
from tasks.terraform import apply_root, describe, make_plan, open_root, state_key
from tasks.terraform_lock import release_dead_lock

__all__ = ["provision"]


@flow(name="provision", flow_run_name="provision {environment}")
def provision(environment: str) -> Outcome:
    """Make or update what releases stand on, with Terraform: the roots `account` and `environment`.

    Takes the environment's hold, so it never runs beside a release.

    Args:
        environment: Which environment: the name of a file in environments/, such as production.
    """
    return conduct("provision", environment, provision_environment, provisions=True)


def provision_environment(operation: Operation) -> str:
    """Apply both roots and write their outputs into the record; return the sentence of the good end."""
    check_provision(operation.settings)
    check_principals(operation)
    make_state_bucket(operation)
    record = operation.take_if_free()
    with account_held(operation) as shared:
        account = provision_root(shared, "account", account_variables(operation))
    outputs = provision_root(operation, "environment", environment_variables(operation, record))
    record_infrastructure(operation, account | outputs)
    operation.free()
    return f"{operation.environment} is provisioned; its load balancer is {outputs['alb_dns_name']}."


@contextmanager
def account_held(operation: Operation) -> Iterator[Operation]:
    """Hold what all environments share, so that two of them are not provisioned over each other.

    A dead holder's hold is taken over: no traffic hangs on it, and Terraform says itself what it did not finish.
    """
    operation.stage = ACCOUNT
    operation.ensure_ours()
    account = open_account(operation)
    try:
        dead = account.take_from_the_dead()
        if dead is not None:
            release_dead_lock(account, dead.owner, ACCOUNT, since=dead.acquired_at)
            account.nothing_left()
        try:
            yield account
        except BaseException:
            # Terraform has ended; where it had to be killed, its lock is still there. What failed first is told.
            with suppress(PointsmanError):
                release_dead_lock(account, account.owner, ACCOUNT, since=_since(account))
            raise
        finally:
            with suppress(PointsmanError):  # else it runs out
                account.free()
    finally:
        account.close()


def _since(operation: Operation) -> datetime:
    hold = operation.last_seen.hold
    return hold.acquired_at if hold else now()


@step_task("state bucket")
def make_state_bucket(operation: Operation) -> None:
    """Make the bucket of state and records, where it is missing; one that exists is taken as it is, if it is safe."""
    settings = operation.settings
    with operation.step("state bucket", f"ensure that {settings.state_bucket} exists", writes=False) as step:
        bucket = StateBucket(settings.state_bucket, settings.region, settings.aws_account_number)
        made = ensure_state_bucket(operation.aws("s3"), bucket)
        step.done("created" if made else "already exists")


@step_task("principals")
def check_principals(operation: Operation) -> None:
    """Raise `Refused` for a principal of a trust policy that does not exist, at which AWS refuses the whole policy."""
    settings = operation.settings
    named = {
        str(arn)
        for variable in ("operator_principal_arns", "pipeline_principal_arns")
        for arn in as_list(settings.provision.account.get(variable))
    }
    with operation.step("principals", "look whether those who may take the roles exist", writes=False) as step:
        missing = missing_principals(operation.aws("iam"), named, settings.aws_account_number)
        if missing:
            raise Refused(
                f"IAM does not know {', '.join(missing)}",
                why="a role can be taken only by principals that exist: AWS refuses any other",
                do=f"Create it, or correct [provision.account] in environments/{settings.stage}.toml.",
            )
        step.done(counted(len(named), "principal") + " looked at")


def as_list(value: object) -> list[object]:
    """Return a list from the settings, or none where Terraform will refuse what stands there."""
    return value if isinstance(value, list) else []


@task(name="terraform root", task_run_name="{name}", cache_policy=NO_CACHE)
def provision_root(operation: Operation, name: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Plan and apply one root; return its outputs."""
    with operation.step(name, f"bring the root {name} up to date") as step:
        root = open_root(operation, name, state_key(operation.environment, name))
        plan = make_plan(operation, root, variables)
        if plan.empty:
            step.skip("nothing to change")
            return plan.outputs
        operation.ensure_ours()
        outputs = apply_root(operation, plan)
        step.done(describe(plan))
        return outputs


@step_task("record")
def record_infrastructure(operation: Operation, outputs: dict[str, Any]) -> None:
    """Write what releases need to know into the environment's record."""
    found = Infrastructure.model_validate({name: outputs.get(name) for name in Infrastructure.model_fields})
    with operation.step("record", "write what was provisioned into the record") as step:
        operation.store.change_environment(
            lambda r: r.model_copy(update={"infrastructure": found, "weights": r.weights or initial_weights(r)})
        )
        step.done(f"cluster {found.cluster_arn.rsplit('/', 1)[-1]}, load balancer {found.alb_dns_name}")


def initial_weights(record: EnvironmentRecord) -> Weights:
    """Return the weights that a new listener starts with: the live colour's; before any, blue is the empty one."""
    return Weights.all_on(record.live.colour if record.live else Colour.GREEN)


def _common(operation: Operation) -> dict[str, Any]:
    settings = operation.settings
    return {
        "region": settings.region,
        "aws_account_number": settings.aws_account_number,
        "namespace": settings.namespace,
        "name": settings.name,
    }


def account_variables(operation: Operation) -> dict[str, Any]:
    """Return the variables of the root `account`."""
    settings = operation.settings
    return {**_common(operation), "state_bucket": settings.state_bucket, **settings.provision.account}


def environment_variables(operation: Operation, record: EnvironmentRecord) -> dict[str, Any]:
    """Return the variables of the root `environment`."""
    settings = operation.settings
    return {
        **_common(operation),
        "stage": settings.stage,
        "health_check_path": settings.service.health_check_path,
        "production_listener_port": settings.ports.production,
        "test_listener_ports": {c.value: settings.ports.test(c) for c in Colour},
        "listener_weights": initial_weights(record).model_dump(),
        "secret_names": sorted({reference.secret for reference in settings.service.secrets.values()}),
        **settings.provision.environment,
    }
