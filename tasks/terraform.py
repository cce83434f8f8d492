"""Terraform through python-terraform: one adapter, its JSON lines in the log, its diagnostics in the error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import python_terraform
from prefect.logging import get_run_logger

from blocks.aws import issued_variables
from blocks.environment import PROJECT
from core.colour import Colour
from core.errors import Permanent
from core.plan_guard import SlotPlan, guard_slot_plan
from core.record import Infrastructure, SlotOutputs, State
from core.release import Release
from core.settings import EnvironmentSettings
from systems.aws import aws_errors, bounded_config
from systems.processes import ATTEMPT_VARIABLE, run_streamed
from systems.terraform_provider import child_environment, kept_provider, locked_version
from tasks.ecs import read_service
from tasks.operation import Operation, step_task

__all__ = [
    "Plan",
    "Root",
    "Terraform",
    "applied_outputs",
    "apply_plan",
    "apply_root",
    "check_plan",
    "describe",
    "init_slot",
    "initialise",
    "make_plan",
    "open_root",
    "plan_slot",
    "slot_variables",
    "state_key",
    "terraform_in",
]

_SERVICE = "aws_ecs_service.slot"
_REMEDIES = {
    "init": "Fix the cause, then press Retry. A provider that the lock file lacks was named by the state: "
    "find out who wrote it, and restore an earlier version of that object."
}


class Terraform(python_terraform.Terraform):
    """python-terraform with a process group of its own, streamed output and today's Terraform's options.

    Its own `cmd` holds output back until the end, and passes options of its own on to the command line. Credentials
    are issued for each command: a build between two of them may outlast a role's session.
    """

    def __init__(self, directory: Path, environment: Callable[[], Mapping[str, str]], timeout: float) -> None:
        super().__init__(working_dir=str(directory))
        self.directory, self._environment, self._timeout = directory, environment, timeout

    def read_state_file(self, file_path: str | None = None) -> None:
        """Read nothing: state is remote, and the library would look for a file."""

    def run(self, command: str, *arguments: str, quiet: bool = False, **options: Any) -> list[str]:
        """Run `terraform <command>` and return its output's lines; raise `Permanent` with its diagnostics.

        With `quiet` the lines are a value for the caller and no news for the log.
        """
        lines: list[str] = []
        errors: list[str] = []
        line = self.generate_cmd_string(command, *arguments, no_color=python_terraform.IsFlagged, **options)
        logger = get_run_logger()

        def on_line(text: str) -> None:
            lines.append(text)
            if not quiet and (said := _sentence(text)):
                logger.info(said)

        code = run_streamed(
            line,
            on_line=on_line,
            on_error_line=errors.append,
            environment=self._environment(),
            directory=self.directory,
            timeout=self._timeout,
        )
        if code != 0:
            raise Permanent(
                f"terraform {command} failed",
                why=diagnostics([*lines, *errors]),
                do=_REMEDIES.get(command, "Fix the cause, then press Retry."),
            )
        return lines


def _sentence(line: str) -> str | None:
    """Return what one JSON line of Terraform says to a person, if anything."""
    if not line.startswith("{"):
        return line.strip() or None
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if event.get("type") in (
        "version",
        "refresh_start",
        "refresh_complete",
        "apply_progress",
        "outputs",
        "resource_drift",
    ):
        return None
    message = event.get("@message")
    return str(message) if message else None


def diagnostics(lines: Iterable[str]) -> str:
    """Return Terraform's error diagnostics as sentences, from JSON lines or from plain output."""
    found: list[str] = []
    plain: list[str] = []
    for line in lines:
        if not line.startswith("{"):
            plain.append(line.strip(" │╷╵"))
            continue
        try:
            event = json.loads(line)
        except ValueError:
            plain.append(line)
            continue
        diagnostic = event.get("diagnostic", {})
        if diagnostic.get("severity") == "error":
            at = f" ({diagnostic['address']})" if diagnostic.get("address") else ""
            found.append(f"{diagnostic['summary']}{at}: {diagnostic.get('detail', '').strip()}".rstrip(": "))
    return "; ".join(found) or "\n".join(text for text in plain if text)[-1_500:]


@dataclass(frozen=True)
class Root:
    """A Terraform root that has been initialised in a folder of its own. It holds no credentials."""

    name: str
    directory: Path
    state_key: str


@dataclass(frozen=True)
class Plan:
    """A saved plan and what it would do."""

    root: Root
    file: Path
    sha256: str
    content: dict[str, Any]

    @property
    def empty(self) -> bool:
        """Whether it would change nothing, neither in AWS nor in the state."""
        changes = [c["change"] for c in self.content.get("resource_changes", [])]
        changes += self.content.get("output_changes", {}).values()
        return all(change["actions"] == ["no-op"] and not change.get("importing") for change in changes)

    @property
    def outputs(self) -> dict[str, Any]:
        """The root's outputs by name, as far as they are known before the apply."""
        planned = self.content.get("planned_values", {}).get("outputs", {})
        return {name: output["value"] for name, output in planned.items() if "value" in output}

    def creates(self, address: str) -> bool:
        """Whether it would make that resource anew."""
        changes = self.content.get("resource_changes", [])
        return any(c["address"] == address and c["change"]["actions"] == ["create"] for c in changes)


def open_root(operation: Operation, name: str, state_key: str) -> Root:
    """Copy a root, so that runs side by side share nothing, and initialise it with the providers of its lock file."""
    settings = operation.settings
    directory = operation.scratch(name) / name
    shutil.copytree(
        PROJECT / "terraform" / name, directory, ignore=shutil.ignore_patterns(".terraform", "tests", "*.tfstate*")
    )
    root = Root(name, directory, state_key)
    backend = {
        "bucket": settings.state_bucket,
        "key": state_key,
        "region": settings.region,
        "use_lockfile": "true",
        "encrypt": "true",
    }
    initialise(operation, root, backend)
    return root


def initialise(operation: Operation, root: Root, backend: Mapping[str, str]) -> None:
    """Initialise a copied root; a provider that its state names and the lock file lacks is not run."""
    terraform = terraform_in(operation, root)
    _warn_of_download(root)
    terraform.run("init", backend_config=dict(backend), input=False, lockfile="readonly")


def terraform_in(operation: Operation, root: Root) -> Terraform:
    """Return Terraform in a root's folder, acting as the operation's identity."""
    return Terraform(root.directory, lambda: _environment(operation), operation.settings.timing.terraform)


def _environment(operation: Operation) -> dict[str, str]:
    with aws_errors("issuing Terraform's credentials"):
        identity = issued_variables(operation.block.aws_credentials, bounded_config(operation.settings.timing))
    return child_environment(os.environ, {**identity, ATTEMPT_VARIABLE: operation.owner.attempt})


def _warn_of_download(root: Root) -> None:
    version = locked_version(root.directory)
    if not kept_provider(version, child_environment(os.environ, {})):
        get_run_logger().warning(
            "Terraform's AWS provider %s is not kept on this machine and is downloaded each time. "
            "Run scripts/keep-provider, so that a rollback does not need the registry.",
            version,
        )


def state_key(environment: str, state: str) -> str:
    """Return where a state lies in the state bucket: `account`, `environment`, or a slot by its colour."""
    if state == "account":
        return "terraform/account.tfstate"
    name = state if state == "environment" else f"slot-{state}"
    return f"terraform/{environment}/{name}.tfstate"


@step_task("terraform init")
def init_slot(operation: Operation) -> Root:
    """Return the candidate slot's root, initialised."""
    with operation.step("init", f"initialise Terraform for the {operation.candidate} slot", writes=False) as step:
        root = open_root(operation, "slot", state_key(operation.environment, operation.candidate))
        step.done(f"state is s3://{operation.settings.state_bucket}/{root.state_key}")
        return root


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
    }


def make_plan(operation: Operation, root: Root, variables: Mapping[str, Any]) -> Plan:
    """Plan to a file and return it with its content and checksum."""
    directory, terraform = root.directory, terraform_in(operation, root)
    (directory / "release.auto.tfvars.json").write_text(json.dumps(dict(variables), indent=1))
    file = directory / "release.tfplan"
    terraform.run("plan", out=str(file), input=False, json=python_terraform.IsFlagged, lock_timeout="30s")
    shown = terraform.run("show", str(file), quiet=True, json=python_terraform.IsFlagged)
    content = json.loads(next(line for line in shown if line.startswith("{")))
    return Plan(root, file, hashlib.sha256(file.read_bytes()).hexdigest(), content)


@step_task("plan")
def plan_slot(operation: Operation, root: Root) -> Plan:
    """Return the plan that puts this attempt's release into the candidate slot."""
    release = operation.release
    with operation.step("plan", f"plan {release} into the {operation.candidate} slot", writes=False) as step:
        before = state_version(operation, root)
        variables = slot_variables(operation.settings, operation.infrastructure, operation.candidate, release)
        plan = make_plan(operation, root, variables)
        if plan.creates(_SERVICE) and read_service(operation, operation.candidate) is not None:
            adopt_service(operation, root)
            plan = make_plan(operation, root, variables)
        operation.note(plan_sha256=plan.sha256, state_version_before=before)
        step.done(describe(plan))
        return plan


def adopt_service(operation: Operation, root: Root) -> None:
    """Have the next plan take the slot's service into the state: ECS made it, and Terraform never got to know.

    Its answer was lost, or Terraform died before it wrote the state; making it again is refused for ever.
    https://developer.hashicorp.com/terraform/language/import
    """
    name = operation.settings.service_name(operation.candidate)
    get_run_logger().warning("The service %s exists and the state does not know it: it is taken in", name)
    block = {"import": {"to": _SERVICE, "id": f"{operation.settings.cluster}/{name}"}}
    (root.directory / "adopt.tf.json").write_text(json.dumps(block))


@step_task("guard")
def check_plan(operation: Operation, plan: Plan) -> None:
    """Raise `Refused` if the plan would change anything but the candidate's slot."""
    with operation.step("guard", "check what the plan would change", writes=False) as step:
        expected = SlotPlan(operation.settings, operation.infrastructure, operation.candidate, operation.release)
        guard_slot_plan(plan.content, expected)
        step.done(f"it changes the {operation.candidate} slot and nothing else")
    operation.advance(State.PLANNED)


@step_task("apply")
def apply_plan(operation: Operation, plan: Plan) -> None:
    """Apply that very plan file; nothing if it is empty."""
    with operation.step("apply", f"apply plan {plan.sha256[:12]} to the {operation.candidate} slot") as step:
        if plan.empty:
            outputs = plan.outputs
            step.skip("the plan changes nothing")
        else:
            outputs = apply_root(operation, plan)
            step.done(describe(plan))
        slot = SlotOutputs.model_validate(outputs)
        operation.note(slot=slot, state_version_after=state_version(operation, plan.root))
    operation.advance(State.APPLIED)


def apply_root(operation: Operation, plan: Plan) -> dict[str, Any]:
    """Apply that very plan file; return the root's outputs by name, as this apply put them out."""
    lines = terraform_in(operation, plan.root).run(
        "apply", str(plan.file), input=False, json=python_terraform.IsFlagged, lock_timeout="30s"
    )
    return applied_outputs(lines)


def applied_outputs(lines: Iterable[str]) -> dict[str, Any]:
    """Return the outputs by name out of the JSON lines of `terraform apply`.

    https://developer.hashicorp.com/terraform/internals/machine-readable-ui#outputs
    """
    for line in lines:
        with suppress(ValueError):  # what is no JSON is no event
            event = json.loads(line)
            if isinstance(event, dict) and event.get("type") == "outputs":
                return {name: output["value"] for name, output in event["outputs"].items() if "value" in output}
    return {}


def state_version(operation: Operation, root: Root) -> str | None:
    """Return the S3 version id of a root's state, or None before its first apply."""
    s3 = operation.aws("s3")
    with aws_errors("reading the state's version"):
        found = s3.list_object_versions(Bucket=operation.settings.state_bucket, Prefix=root.state_key)
    newest = (v for v in found.get("Versions", []) if v["IsLatest"] and v["Key"] == root.state_key)
    return next((str(v["VersionId"]) for v in newest), None)


def describe(plan: Plan) -> str:
    """Return the plan in a few words."""
    counted: dict[str, int] = {}
    for change in plan.content.get("resource_changes", []):
        actions = change["change"]["actions"]
        kind = "replace" if len(actions) > 1 else actions[0]
        counted[kind] = counted.get(kind, 0) + 1
    said = ", ".join(f"{n} to {kind}" for kind, n in sorted(counted.items()) if kind not in ("no-op", "read"))
    return said or "nothing to change"
