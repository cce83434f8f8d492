"""Terraform's roots, applied from copies against an emulated AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.stand import REGION, ROOT


def common(account: str) -> dict[str, str]:
    return {"region": REGION, "aws_account_number": account, "namespace": "cursive-team", "name": "connections"}


def terraform_environment(url: str, key: str, secret: str, token: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    configured = os.environ.get("TF_CLI_CONFIG_FILE", "")
    return {
        **kept,
        **({"TF_CLI_CONFIG_FILE": configured} if os.path.exists(configured) else {}),
        **({"AWS_SESSION_TOKEN": token} if token else {}),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "NO_PROXY": "127.0.0.1",
    }


class Applied:
    """A copy of a root with a state of its own beside it."""

    def __init__(
        self, environment: dict[str, str], root: str, directory: Path, *, sources: Path = ROOT / "terraform"
    ) -> None:
        self._environment, self.directory = environment, directory / root
        shutil.copytree(sources / root, self.directory, ignore=shutil.ignore_patterns(".terraform"))
        (self.directory / "local_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        self.run("init", "-input=false")

    def override(self, text: str) -> None:
        """Change what is configured where an emulated AWS needs it."""
        (self.directory / "emulator_override.tf").write_text(text)

    def run(self, *arguments: str) -> str:
        done = self._terraform(*arguments)
        assert done.returncode == 0, f"terraform {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """Run a command that must fail and return what it says."""
        done = self._terraform(*arguments)
        assert done.returncode != 0, f"terraform {arguments[0]} was not refused: {done.stdout[-3000:]}"
        return done.stderr

    def _terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["terraform", *arguments, "-no-color"] if arguments[0] != "show" else ["terraform", *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def apply(self, **variables: Any) -> dict[str, Any]:
        """Apply with these variables and return the outputs."""
        self.give(**variables)
        self.run("apply", "-auto-approve", "-input=false")
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    def give(self, **variables: Any) -> None:
        """Set the variables of what is run next."""
        (self.directory / "given.auto.tfvars.json").write_text(json.dumps(variables))

    def state(self) -> bytes:
        """The state, as a bucket would hold it."""
        return (self.directory / "terraform.tfstate").read_bytes()

    def still_wanted(self) -> dict[str, set[str]]:
        """What a second plan would change: members by address, `created` and `deleted` for a whole resource."""
        self.run("plan", "-input=false", "-out=second.tfplan")
        plan = json.loads(self.run("show", "-json", "second.tfplan"))
        return {
            change["address"]: _members(change["change"])
            for change in plan.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }


def _members(change: dict[str, Any]) -> set[str]:
    before, after = change["before"], change["after"]
    if change["actions"] != ["update"]:
        return {"+".join(change["actions"])}
    unknown = {name for name, value in change["after_unknown"].items() if value is True}
    return {name for name in {*before, *after} if before.get(name) != after.get(name)} | unknown


def slot_variables(common: dict[str, str], outputs: dict[str, Any], version: str) -> dict[str, Any]:
    digest = "sha256:" + "0123456789abcdef" * 4
    return {
        **common,
        "stage": "sandbox",
        "colour": "blue",
        "image": f"{common['aws_account_number']}.dkr.ecr.{REGION}.amazonaws.com/cursive-team/connections@{digest}",
        "release_version": version,
        "release_revision": "0" * 40,
        "migration_command": ["prisma", "migrate", "deploy"],
        "cluster_arn": outputs["cluster_arn"],
        "subnet_ids": outputs["private_subnet_ids"],
        "security_group_id": outputs["task_security_group_id"],
        "target_group_arn": outputs["target_group_arns"]["blue"],
        "execution_role_arn": outputs["execution_role_arn"],
        "task_role_arn": outputs["task_role_arn"],
        "log_group_name": outputs["log_group_name"],
    }
