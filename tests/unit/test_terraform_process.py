"""What Terraform's child process may run and see: the real terraform, a local state, a mirror of providers."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from pathlib import Path

import cloudpickle
import pytest
from prefect_aws import AwsCredentials

from blocks.environment import PROJECT
from core.errors import Permanent
from operation.operation import Operation
from systems.terraform import Root
from systems.terraform_provider import child_environment, kept_provider, locked_version

VERSION = locked_version(PROJECT / "terraform/slot")
PLATFORM = f"linux_{'arm64' if platform.machine() == 'aarch64' else 'amd64'}"


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: Operation) -> Operation:
    """An operation on a worker whose environment is full of what is not Terraform's business."""
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        "HOME": str(home),
        "PREFECT_API_AUTH_STRING": "admin:password",
        "POINTSMAN_WEBHOOK_SECRET": "hook",
        "AWS_ACCESS_KEY_ID": "AKIAWORKER",
        "AWS_SECRET_ACCESS_KEY": "worker-secret",
        "AWS_SESSION_TOKEN": "worker-token",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/administrator",
        "https_proxy": "http://proxy.example.com:3128",
        "TF_CLI_CONFIG_FILE": str(home / "nowhere"),
    }.items():
        monkeypatch.setenv(name, value)
    operation.block.aws_credentials = AwsCredentials(  # type: ignore[misc]
        region_name="eu-west-1", aws_access_key_id="AKIABLOCK", aws_secret_access_key="block-secret"
    )
    return operation


def mirror_with_a_spy(home: Path) -> Path:
    """Fill Terraform's own mirror folder with a provider that writes its environment down; return where to."""
    seen = home / "seen"
    folder = home / f".terraform.d/plugins/registry.terraform.io/evil/evil/1.0.0/{PLATFORM}"
    folder.mkdir(parents=True)
    spy = folder / "terraform-provider-evil_v1.0.0"
    spy.write_text(f"#!/bin/sh\nenv > {seen}\nexit 1\n")
    spy.chmod(0o755)
    return seen


def root_with_state(folder: Path, *providers: str, lock: str) -> Root:
    """A root that uses nothing, with a lock file, and a local state that names `providers`."""
    folder.mkdir()
    (folder / "main.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    if lock:
        (folder / ".terraform.lock.hcl").write_text(lock)
    resources = [
        {
            "mode": "managed",
            "type": f"{name}_thing",
            "name": "left",
            "provider": f'provider["registry.terraform.io/{name}/{name}"]',
            "instances": [{"schema_version": 0, "attributes": {"id": "1"}}],
        }
        for name in providers
    ]
    state = {"version": 4, "terraform_version": "1.10.0", "serial": 1, "lineage": "l", "resources": resources}
    (folder / "terraform.tfstate").write_text(json.dumps(state))
    return Root("slot", folder, "terraform.tfstate")


OTHER_LOCK = "# nothing is locked\n"


def test_a_state_that_names_another_provider_runs_nothing(worker: Operation, tmp_path: Path) -> None:
    seen = mirror_with_a_spy(tmp_path / "home")
    root = root_with_state(tmp_path / "slot", "evil", lock=OTHER_LOCK)
    with pytest.raises(Permanent, match=r"(?s)terraform init failed: .*lock file.*restores an earlier version"):
        worker.terraform.initialise(root, {"path": "terraform.tfstate"})
    with pytest.raises(Permanent):  # nor by whoever goes on all the same
        worker.terraform.plan(root, {})
    assert not seen.exists()


def test_what_the_lock_file_names_is_given_named_variables_only(worker: Operation, tmp_path: Path) -> None:
    seen = mirror_with_a_spy(tmp_path / "home")
    # Locked by hand, as a root's own provider is, so that it does run and shows what it is given.
    root = root_with_state(tmp_path / "slot", "evil", lock="")
    worker.terraform.terraform(root).run("init", input=False)
    with pytest.raises(Permanent):
        worker.terraform.plan(root, {})
    given = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert not [name for name in given if name.startswith("PREFECT_") or name == "POINTSMAN_WEBHOOK_SECRET"]
    assert (given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"]) == ("AKIABLOCK", "block-secret")
    assert not given.keys() & {"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "TF_CLI_CONFIG_FILE"}
    assert given["POINTSMAN_ATTEMPT"] == worker.owner.attempt
    assert given["https_proxy"] == "http://proxy.example.com:3128"


def test_credentials_are_issued_for_each_command_and_kept_nowhere(worker: Operation, tmp_path: Path) -> None:
    root = root_with_state(tmp_path / "slot", lock=OTHER_LOCK)
    worker.terraform.initialise(root, {"path": "terraform.tfstate"})
    assert b"block-secret" not in cloudpickle.dumps(root)
    renewed = worker.block.aws_credentials.model_copy(update={"aws_access_key_id": "AKIARENEWED"})
    terraform = worker.terraform.terraform(root)
    worker.block.aws_credentials = renewed  # type: ignore[misc]
    assert terraform._environment()["AWS_ACCESS_KEY_ID"] == "AKIARENEWED"


def test_a_public_load_balancer_waits_for_its_way_to_the_internet(operation: Operation, tmp_path: Path) -> None:
    copied = tmp_path / "environment"
    shutil.copytree(PROJECT / "terraform/environment", copied, ignore=shutil.ignore_patterns(".terraform", "tests"))
    (copied / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    operation.block.aws_credentials = AwsCredentials(region_name="eu-west-1")  # type: ignore[misc]
    terraform = operation.terraform.terraform(Root("environment", copied, ""))
    terraform.run("init", input=False, lockfile="readonly")
    edges = [re.findall(r'"([^"]+)"', line) for line in terraform.run("graph", quiet=True) if "->" in line]
    awaited = {"aws_lb.main"}
    while more := {to for since, to in edges if since in awaited} - awaited:
        awaited |= more
    assert {"aws_internet_gateway.main", "aws_route.internet"} <= awaited


@pytest.mark.parametrize("root", ["account", "environment", "slot"])
def test_each_root_locks_its_provider_for_every_platform(root: str) -> None:
    lock = (PROJECT / "terraform" / root / ".terraform.lock.hcl").read_text()
    assert lock == (PROJECT / "terraform/slot/.terraform.lock.hcl").read_text()
    assert lock.count('"h1:') == 14
    assert f'version = "= {VERSION}"' in (PROJECT / "terraform" / root / "versions.tf").read_text()


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        (f"terraform/plugins/registry.terraform.io/hashicorp/aws/{VERSION}/{PLATFORM}/provider", True),
        (
            f"terraform/plugins/registry.terraform.io/hashicorp/aws/terraform-provider-aws_{VERSION}_{PLATFORM}.zip",
            True,
        ),
        (f"terraform/plugins/registry.terraform.io/hashicorp/aws/5.99.1/{PLATFORM}/provider", False),
        (f"elsewhere/registry.terraform.io/hashicorp/aws/{VERSION}/{PLATFORM}/provider", False),
    ],
)
def test_a_provider_is_kept_where_terraform_looks_and_in_the_locked_version(
    tmp_path: Path, file: str, kept: bool
) -> None:
    place = tmp_path / "share" / file
    place.parent.mkdir(parents=True)
    place.touch()
    assert kept_provider(VERSION, {"HOME": str(tmp_path), "XDG_DATA_DIRS": str(tmp_path / "share")}) is kept


def test_where_providers_come_from_is_not_doubted_once_somebody_configured_it(tmp_path: Path) -> None:
    nothing = {"HOME": str(tmp_path), "XDG_DATA_DIRS": str(tmp_path)}
    assert not kept_provider(VERSION, nothing)
    (tmp_path / ".terraformrc").touch()
    assert kept_provider(VERSION, nothing)


def test_a_configuration_file_that_is_named_and_missing_is_not_passed_on(tmp_path: Path) -> None:
    present = tmp_path / "rc"
    present.touch()
    assert "TF_CLI_CONFIG_FILE" in child_environment({"TF_CLI_CONFIG_FILE": str(present)}, {})
    assert "TF_CLI_CONFIG_FILE" not in child_environment({"TF_CLI_CONFIG_FILE": str(tmp_path / "none")}, {})


def test_an_identity_of_the_parent_never_joins_another() -> None:
    parent = {"AWS_SESSION_TOKEN": "theirs", "AWS_PROFILE": "theirs", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "theirs"}
    given = child_environment({**parent, "PATH": os.defpath}, {"AWS_ACCESS_KEY_ID": "ours"})
    assert "theirs" not in given.values()
