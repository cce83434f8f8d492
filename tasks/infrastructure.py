"""What a release needs, as steps of `provision`: state bucket, principals, the two roots below the slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact

from core.errors import PointsmanError, Refused
from core.lease import refuse_held
from core.markdown import code, table
from core.next_move import CLEAN_UP, Move, next_move
from core.provision_outputs import outputs_to_note
from core.record import EnvironmentRecord, Infrastructure, LeaseRecord
from core.root_variables import account_variables, environment_variables, initial_weights
from core.settings import ACCOUNT
from core.words import counted
from operation.lease import now
from operation.operation import Operation, open_account
from operation.step import Done, done, skipped, step
from systems.iam import missing_principals
from systems.records import StateBucket, ensure_state_bucket
from systems.terraform import Plan, describe, state_key
from tasks.plan import refuse_lost

__all__ = [
    "account_held",
    "apply_account",
    "apply_environment",
    "check_principals",
    "make_state_bucket",
    "plan_account",
    "plan_environment",
    "record_infrastructure",
    "show_outputs",
]


@step("state bucket", "ensure that {operation.settings.state_bucket} exists", writes=False)
def make_state_bucket(operation: Operation) -> Done[None]:
    """Make the bucket of state and records, where it is missing; one that exists is taken as it is, if it is safe."""
    settings = operation.settings
    bucket = StateBucket(settings.state_bucket, settings.region, settings.aws_account_number)
    made = ensure_state_bucket(operation.aws("s3"), bucket)
    return done("created" if made else "already exists")


@step("principals", "check that those who may assume the roles exist", writes=False)
def check_principals(operation: Operation) -> Done[None]:
    """Raise `Refused` for a principal of a trust policy that does not exist, at which AWS refuses the whole policy."""
    settings = operation.settings
    variables = ("operator_principal_arns", "pipeline_principal_arns")
    named = {arn for variable in variables for arn in settings.provision.listed(variable)}
    missing = missing_principals(operation.aws("iam"), named, settings.aws_account_number)
    if missing:
        raise Refused(
            f"IAM has no {', '.join(missing)}",
            why="AWS refuses a trust policy that names a principal that does not exist",
            do=f"Create it, or fix [provision.account] in environments/{settings.stage}.toml.",
        )
    return done(counted(len(named), "principal") + " checked")


@contextmanager
def account_held(operation: Operation) -> Iterator[Operation]:
    """Hold what all environments share, so that two of them are not provisioned over each other.

    A dead holder's lease is taken over: no traffic hangs on it, and Terraform says itself what it did not finish.
    """
    operation.lease.step = ACCOUNT
    operation.lease.assert_held()
    account = open_account(operation)
    try:
        dead = _take(account)
        if dead is not None:
            account.state_locks.release_dead(dead.owner, ACCOUNT, since=dead.acquired_at)
            account.lease.clear_takeover()
        try:
            yield account
        except BaseException:
            # Terraform has ended; where it had to be killed, its lock is still there. What failed first is reported.
            with suppress(PointsmanError):
                account.state_locks.release_dead(account.owner, ACCOUNT, since=_since(account.record))
            raise
        finally:
            with suppress(PointsmanError):  # else it expires
                account.lease.drop()
    finally:
        account.close()


def _take(account: Operation) -> LeaseRecord | None:
    """Take the account's lease, from a dead holder too, else raise `Refused`; return what that one left to do."""

    def judged(record: EnvironmentRecord) -> None:
        if record.lease is not None and next_move(account.lease.judge(record), CLEAN_UP) is Move.STOP:
            raise refuse_held(record, record.lease)

    taken = account.lease.take(None, judged, taking_over=True)
    return taken.lease.takes_over if taken.lease else None


def _since(record: EnvironmentRecord) -> datetime:
    return record.lease.acquired_at if record.lease else now()


@step("plan account", "plan the Terraform root account", writes=False)
def plan_account(operation: Operation) -> Done[Plan]:
    """Return the plan of the root `account`."""
    return _plan(operation, ACCOUNT, account_variables(operation.settings))


@step("plan environment", "plan the Terraform root environment", writes=False)
def plan_environment(operation: Operation, account: Mapping[str, Any]) -> Done[Plan]:
    """Return the plan of the root `environment`. `account` is what that root put out."""
    return _plan(operation, "environment", environment_variables(operation.settings, operation.record, account))


def _plan(operation: Operation, name: str, variables: dict[str, Any]) -> Done[Plan]:
    refuse_lost(operation, name)
    workplace = operation.terraform
    plan = workplace.plan(workplace.open_root(name, state_key(operation.environment, name)), variables)
    return done(describe(plan), plan)


@step("account", "apply plan {plan.short} of the Terraform root account")
def apply_account(account: Operation, plan: Plan) -> Done[dict[str, Any]]:
    """Apply that very plan of the root `account`; return its outputs."""
    return _apply(account, plan)


@step("environment", "apply plan {plan.short} of the Terraform root environment")
def apply_environment(operation: Operation, plan: Plan) -> Done[dict[str, Any]]:
    """Apply that very plan of the root `environment`; return its outputs.

    Raises `Refused` where traffic moved since it was planned: a listener that it makes would start with old weights.
    """
    planned, live = plan.variable("listener_weights"), initial_weights(operation.record).model_dump()
    if planned != live:
        raise Refused(
            f"Plan {plan.short} is out of date",
            why=f"a new listener would get {planned}, and traffic moved to {live} while the plan waited",
            do=f"Run `prefect deployment run provision/{operation.environment}` again.",
        )
    return _apply(operation, plan)


def _apply(operation: Operation, plan: Plan) -> Done[dict[str, Any]]:
    if plan.empty:
        return skipped("nothing to change", plan.outputs)
    return done(describe(plan), operation.terraform.apply(plan))


@step("record", "record the provisioned infrastructure")
def record_infrastructure(operation: Operation, outputs: dict[str, Any]) -> Done[None]:
    """Write what releases need to know into the environment's record."""
    own = outputs.get("ecr_repository_urls", {}).get(operation.environment)
    known = outputs | ({"ecr_repository_url": own} if own else {})
    found = Infrastructure.model_validate({name: known[name] for name in Infrastructure.model_fields if name in known})
    operation.records.change_environment(lambda r: r.provisioned(found, initial_weights(r)))
    return done(f"cluster {found.cluster_arn.rsplit('/', 1)[-1]}, load balancer {found.alb_dns_name}")


@step("outputs", "show what is to be noted", writes=False)
def show_outputs(operation: Operation, outputs: Mapping[str, Any]) -> Done[str]:
    """Publish the outputs that a person needs, with what each is for; return them in a sentence."""
    noted = outputs_to_note(operation.settings, outputs)
    create_markdown_artifact(
        key=f"outputs-{operation.environment}",
        description=f"What provision of {operation.environment} put out, and what for",
        markdown=f"# {operation.environment}\n\n"
        + table([(n.name, code(n.value), n.purpose) for n in noted], head=("output", "value", "what it is for")),
    )
    said = "; ".join(f"{n.name} {n.value} ({n.purpose})" for n in noted)
    return done(f"artifact outputs-{operation.environment}", said)
