"""Terraform through python-terraform: one adapter, its JSON lines in the log, its diagnostics in the error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import python_terraform

from core.errors import Permanent
from systems.aws import aws_errors, has_code
from systems.log import run_logger
from systems.processes import run_streamed
from systems.terraform_provider import child_environment, kept_provider, locked_version

__all__ = ["Plan", "Root", "Terraform", "Workplace", "applied_outputs", "describe", "diagnostics", "state_key"]

_REMEDIES = {
    "init": "Fix the cause, then press Retry. If the state cannot be read, or names a provider that the lock file "
    "lacks: find out who wrote it, and run `python -m flows restore-state`, which restores an earlier version."
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
        logger = run_logger()

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
    def short(self) -> str:
        """The first digits of its checksum, for a sentence."""
        return self.sha256[:12]

    @property
    def outputs(self) -> dict[str, Any]:
        """The root's outputs by name, as far as they are known before the apply."""
        planned = self.content.get("planned_values", {}).get("outputs", {})
        return {name: output["value"] for name, output in planned.items() if "value" in output}

    def variable(self, name: str) -> Any:
        """Return the value that a variable had when it was planned; None for one that was not given."""
        return self.content.get("variables", {}).get(name, {}).get("value")

    def creates(self, address: str) -> bool:
        """Whether it would make that resource anew."""
        changes = self.content.get("resource_changes", [])
        return any(c["address"] == address and c["change"]["actions"] == ["create"] for c in changes)


@dataclass(frozen=True)
class Workplace:
    """Where and as whom Terraform runs: the roots' sources, the state bucket, a folder for each use, credentials."""

    sources: Path
    bucket: str
    account: str
    region: str
    folder: Callable[[str], Path]
    """Gives a new folder, so that runs side by side share nothing."""
    environment: Callable[[], Mapping[str, str]]
    """Issues the child's variables, its credentials among them."""
    timeout: float

    def open_root(self, name: str, state_key: str) -> Root:
        """Copy a root and initialise it with the providers of its lock file."""
        root = Root(name, self._copy(name), state_key)
        self.initialise(
            root,
            {
                "bucket": self.bucket,
                "key": state_key,
                "region": self.region,
                "use_lockfile": "true",
                "encrypt": "true",
            },
        )
        return root

    def open_root_on(self, name: str, state: bytes) -> Root:
        """Copy a root and initialise it on a copy of a state, in its own folder: what is planned there is a trial."""
        directory = self._copy(name)
        (directory / "local_override.tf.json").write_text(json.dumps({"terraform": {"backend": {"local": {}}}}))
        (directory / "terraform.tfstate").write_bytes(state)
        root = Root(name, directory, str(directory / "terraform.tfstate"))
        self.initialise(root, {})
        return root

    def _copy(self, name: str) -> Path:
        directory = self.folder(name) / name
        shutil.copytree(
            self.sources / name, directory, ignore=shutil.ignore_patterns(".terraform", "tests", "*.tfstate*")
        )
        return directory

    def version(self) -> str:
        """Return which Terraform runs here, as `1.11.4`."""
        terraform = Terraform(self.folder("version"), self.environment, self.timeout)
        lines = terraform.run("version", quiet=True, json=python_terraform.IsFlagged)
        return str(json.loads("\n".join(lines))["terraform_version"])

    def initialise(self, root: Root, backend: Mapping[str, str]) -> None:
        """Initialise a copied root; a provider that its state names and the lock file lacks is not run."""
        _warn_of_download(root)
        self.terraform(root).run("init", backend_config=dict(backend), input=False, lockfile="readonly")

    def terraform(self, root: Root) -> Terraform:
        """Return Terraform in a root's folder."""
        return Terraform(root.directory, self.environment, self.timeout)

    def plan(self, root: Root, variables: Mapping[str, Any], *, destroy: bool = False) -> Plan:
        """Plan to a file and return it with its content and checksum; with `destroy`, the end of all that there is."""
        directory, terraform = root.directory, self.terraform(root)
        (directory / "release.auto.tfvars.json").write_text(json.dumps(dict(variables), indent=1))
        file = directory / "release.tfplan"
        flags = {"destroy": python_terraform.IsFlagged} if destroy else {}
        terraform.run("plan", out=str(file), input=False, json=python_terraform.IsFlagged, lock_timeout="30s", **flags)
        return self._saved(root, file)

    def compare(self, root: Root, variables: Mapping[str, Any], *, refresh_only: bool = False) -> Plan:
        """Return a plan that only tells what is: it takes no lock, and is never applied.

        With `refresh_only` the state is held against AWS alone, whatever the variables would change.
        """
        (root.directory / "release.auto.tfvars.json").write_text(json.dumps(dict(variables), indent=1))
        file = root.directory / "compare.tfplan"
        flags = {"json": python_terraform.IsFlagged}
        if refresh_only:
            flags["refresh_only"] = python_terraform.IsFlagged
        self.terraform(root).run("plan", out=str(file), input=False, lock=False, quiet=True, **flags)
        return self._saved(root, file)

    def _saved(self, root: Root, file: Path) -> Plan:
        shown = self.terraform(root).run("show", str(file), quiet=True, json=python_terraform.IsFlagged)
        content = json.loads(next(line for line in shown if line.startswith("{")))
        return Plan(root, file, hashlib.sha256(file.read_bytes()).hexdigest(), content)

    def adopt(self, root: Root, address: str, resource_id: str) -> None:
        """Have the next plan take a resource into the state that AWS made and Terraform never got to know.

        Its answer was lost, or Terraform died before it wrote the state; making it again is refused for ever.
        https://developer.hashicorp.com/terraform/language/import
        """
        (root.directory / "adopt.tf.json").write_text(json.dumps({"import": {"to": address, "id": resource_id}}))

    def apply(self, plan: Plan) -> dict[str, Any]:
        """Apply that very plan file; return the root's outputs by name, as this apply put them out."""
        lines = self.terraform(plan.root).run(
            "apply", str(plan.file), input=False, json=python_terraform.IsFlagged, lock_timeout="30s"
        )
        return applied_outputs(lines)

    def state_written_at(self, s3: Any, state_key: str) -> datetime | None:
        """Return when a state was written last, or None before its root's first apply."""
        try:
            with aws_errors("reading the state's time"):
                found = s3.head_object(Bucket=self.bucket, Key=state_key, ExpectedBucketOwner=self.account)
        except Permanent as error:
            if has_code(error, "404") or has_code(error, "NoSuchKey"):
                return None
            raise
        written: datetime = found["LastModified"]
        return written

    def state_version(self, s3: Any, root: Root) -> str | None:
        """Return the S3 version id of a root's state, or None before its first apply."""
        with aws_errors("reading the state's version"):
            found = s3.list_object_versions(Bucket=self.bucket, Prefix=root.state_key, ExpectedBucketOwner=self.account)
        newest = (v for v in found.get("Versions", []) if v["IsLatest"] and v["Key"] == root.state_key)
        return next((str(v["VersionId"]) for v in newest), None)


def _warn_of_download(root: Root) -> None:
    version = locked_version(root.directory)
    if not kept_provider(version, child_environment(os.environ, {})):
        run_logger().warning(
            "Terraform's AWS provider %s is not kept on this machine and is downloaded every time. "
            "Run scripts/keep-provider, so that a rollback does not need the registry.",
            version,
        )


def state_key(environment: str, state: str) -> str:
    """Return where a state lies in the state bucket: `account`, `environment`, or a slot by its colour."""
    if state == "account":
        return "terraform/account.tfstate"
    name = state if state == "environment" else f"slot-{state}"
    return f"terraform/{environment}/{name}.tfstate"


def applied_outputs(lines: Iterable[str]) -> dict[str, Any]:
    """Return the outputs by name out of the JSON lines of `terraform apply`.

    https://developer.hashicorp.com/terraform/internals/machine-readable-ui#outputs
    """
    for line in lines:
        with suppress(ValueError):  # what is not JSON is not an event
            event = json.loads(line)
            if isinstance(event, dict) and event.get("type") == "outputs":
                return {name: output["value"] for name, output in event["outputs"].items() if "value" in output}
    return {}


def describe(plan: Plan) -> str:
    """Return the plan in a few words."""
    counted: dict[str, int] = {}
    for change in plan.content.get("resource_changes", []):
        actions = change["change"]["actions"]
        kind = "replace" if len(actions) > 1 else actions[0]
        counted[kind] = counted.get(kind, 0) + 1
    said = ", ".join(f"{n} to {kind}" for kind, n in sorted(counted.items()) if kind not in ("no-op", "read"))
    return said or "nothing to change"
